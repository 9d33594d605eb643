"""Settings of a service: a TOML file, and variables of the environment that win over it.

Secrets are in neither file nor image: ``${NAME}`` in the TOML file stands for the
environment variable NAME, or for the content of the file that NAME_FILE names, as
Docker and Kubernetes give secrets.  Each setting can be given in both ways as well:
``ANTIPHON_AMQP_URL`` or ``ANTIPHON_AMQP_URL_FILE``.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from antiphon.environment import AMQP_PASSWORD, AMQP_URL, URLOfFile, read_variable
from antiphon.errors import AntiphonError, InvalidEnvironment
from antiphon.messaging.transport import transports
from services.skeleton.complaints import PREFIX, problems_in, with_variable
from services.skeleton.variables import unknown_variables

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

#: As open_bus wants it.
_SYSTEM = re.compile(r"(?!amq\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_T = TypeVar("_T", bound="ServiceSettings")


class BadSettings(AntiphonError, ValueError):
    """The settings make no sense; says which, where, and what is allowed."""


@contextlib.contextmanager
def in_setting(name: str) -> Iterator[None]:
    """Say of errors in the block that they come from what the setting *name* says.

    Raises:
        BadSettings: in place of any other error of ours.
    """
    try:
        yield
    except AntiphonError as exc:
        raise BadSettings(f"{with_variable(name)}: {exc}") from None


class ServiceSettings(BaseSettings):
    """What every service can be told.

    Attributes:
        amqp_url: the broker, ``amqp://user:password@host:port/virtual-host``.
        system: name of the system of buses that the service belongs to.
        origin: origin of events that the service emits itself.
        http_host: address on which health and metrics are served.
        http_port: its port; 0 takes a free one, which is logged.
        log_level: the least level that is logged.
        stop_timeout_s: seconds for a clean end after SIGTERM.
        canary_interval_s: seconds between two messages of the bus to itself, which
            show that the broker delivers; 0 sends none.
        heal_timeout_s: seconds that the bus may be out of order before the service
            ends with status 1, so that it is started anew; 0 waits for ever.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,  # as everywhere: set to nothing is not set
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    amqp_url: str = "amqp://localhost"
    system: str = "antiphon"
    origin: str | None = None
    http_host: str = Field(default="127.0.0.1", min_length=1)
    http_port: int = Field(default=8080, ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    stop_timeout_s: float = Field(default=8.0, gt=0, le=300)
    canary_interval_s: float = Field(default=5.0, ge=0, le=300)
    heal_timeout_s: float = Field(default=600.0, ge=0)

    @field_validator("system")
    @classmethod
    def _is_a_system(cls, system: str) -> str:
        if not _SYSTEM.fullmatch(system):
            raise ValueError(
                "a system is 1 to 100 letters, digits, '_', '-' and '.', and begins with a letter"
                " or digit and not with 'amq.'"
            )
        return system

    def check(self) -> None:
        """Look at what only those know who use it, such as URLs; connect to nothing.

        A service that has more such settings extends it.

        Raises:
            BadSettings: names the setting.
        """
        if self.amqp_url:
            with in_setting("amqp_url"):
                transports.load(self.amqp_url)(self.amqp_url, name="check")

    @property
    def bus_url(self) -> str:
        """``amqp_url``, for ``open_bus``: one from a file is read again when that was replaced."""
        is_file = bool(os.environ.get(f"{AMQP_URL}_FILE"))
        return URLOfFile(self.amqp_url, AMQP_URL) if is_file else self.amqp_url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content comes as arguments."""
        return env_settings, _FileVariables(settings_cls), init_settings


class _FileVariables(PydanticBaseSettingsSource):
    """Settings from the files that ``ANTIPHON_<SETTING>_FILE`` name."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the content of the setting's file, None if there is none."""
        variable = f"{PREFIX}{field_name.upper()}"
        is_file = bool(os.environ.get(f"{variable}_FILE"))
        value = read_variable(variable) if is_file else None
        return value, field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, _, is_complex = self.get_field_value(field, name)
            if value is not None:
                found[name] = self._decoded(name, field, value) if is_complex else value
        return found

    def _decoded(self, name: str, field: FieldInfo, value: str) -> Any:
        try:
            return self.decode_complex_value(name, field, value)
        except ValueError:
            raise BadSettings(_no_json(f"{name.upper()}_FILE")) from None


def load(settings_class: type[_T], path: Path | None) -> tuple[_T, frozenset[str]]:
    """Return the settings, and the secrets in them, which must never be shown.

    Args:
        settings_class: what they are.
        path: the TOML file; None if there is none.

    Raises:
        BadSettings: a file cannot be read, a setting makes no sense, or a variable of the
            environment that begins as ours do names none.
    """
    secrets: set[str] = set()
    where = place_of(path)
    if unknown := unknown_variables(settings_class):
        raise BadSettings(f"the environment: {'; '.join(unknown)}")
    try:
        data = _resolved(_read_toml(path), "", secrets) if path is not None else {}
        settings = settings_class(**data)
    except ValidationError as exc:
        raise BadSettings(f"{where}: {problems_in(exc, settings_class, secrets)}") from None
    except SettingsError as exc:
        raise BadSettings(f"the environment: {_without_json(exc)}") from None
    except (BadSettings, InvalidEnvironment) as exc:
        raise BadSettings(f"{where}: {exc}") from None
    for value in _texts(settings.model_dump()):
        secrets |= _passwords(value)
    secrets |= _environment_secrets(where)
    return settings, frozenset(secrets)


def _without_json(exc: SettingsError) -> str:
    """Return what is wrong with a variable whose setting is a table."""
    found = re.search(r'field "(\w+)"', str(exc))
    if found is None:
        return str(exc)
    return _no_json(found[1].upper())


def _no_json(name: str) -> str:
    return f"{PREFIX}{name} is no JSON: it is easier to write in the settings file"


def place_of(path: Path | None) -> str:
    """Return where settings are, as messages name it."""
    return str(path) if path is not None else "the environment (no settings file is named)"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise BadSettings(f"cannot be read: {exc.strerror}") from None
    except RecursionError:
        raise BadSettings("is no TOML for settings: it is nested too deeply") from None
    except ValueError as exc:  # also of UTF-8, and of numbers that are too long for Python
        raise BadSettings(f"is no TOML: {exc}") from None


def _resolved(value: Any, name: str, secrets: set[str]) -> Any:
    """Return *value* with every ``${NAME}`` in its texts replaced."""
    if isinstance(value, dict):
        return {
            key: _resolved(item, f"{name}.{key}" if name else key, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_resolved(item, f"{name}[{i}]", secrets) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        secret = _variable(match.group(1), name, os.environ)
        secrets.add(secret)
        # In a URL a password may have any character once it is escaped.
        return quote(secret, safe="") if "://" in value else secret

    return _REFERENCE.sub(replacement, value)


def _variable(variable: str, name: str, environment: Mapping[str, str]) -> str:
    if value := read_variable(variable, environment):
        return value
    raise BadSettings(
        f"{name} needs {variable}: set {variable} in the environment, "
        f"or {variable}_FILE to the name of a file that has it"
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [text for item in value for text in _texts(item)]
    return []


def _environment_secrets(where: str) -> set[str]:
    """Return the broker's password from the environment, which a URL without one takes."""
    try:
        password = read_variable(AMQP_PASSWORD)
    except InvalidEnvironment as exc:
        raise BadSettings(f"{where}: {exc}") from None
    return {password} if password else set()


def _passwords(url: str) -> set[str]:
    """Return the password in a URL, as it is and as it is written there."""
    if "://" not in url:
        return set()
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
