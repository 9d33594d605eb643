"""Which ``ANTIPHON_…`` variables of the environment there are; any other is a mistake."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import pkgutil
import re
from collections.abc import Iterable, Mapping

from pydantic_settings import BaseSettings

import services
from antiphon.environment import AMQP_PASSWORD, AMQP_URL, AMQP_USER
from services.skeleton.complaints import PREFIX

#: Names the settings file where no argument does.
SETTINGS_VARIABLE = "ANTIPHON_SETTINGS"

#: Read by the library and the command line, and so often set for all programs at once.
_PROGRAMS = frozenset(
    {AMQP_URL, AMQP_USER, AMQP_PASSWORD, "ANTIPHON_REDIS_URL", "ANTIPHON_ARCHIVE_URL"}
)

#: Read by docker compose only: ports on the host (.env.example).
_COMPOSE = frozenset(
    {
        "ANTIPHON_AMQP_PORT",
        "ANTIPHON_RABBITMQ_UI_PORT",
        "ANTIPHON_REDIS_PORT",
        "ANTIPHON_INVALIDATOR_PORT",
        "ANTIPHON_RECORDER_PORT",
        "ANTIPHON_STORE_SERVER_PORT",
        "ANTIPHON_STORE_SERVER_HEALTH_PORT",
    }
)

#: What Kubernetes sets in every container for a Service whose name begins with "antiphon".
_OF_KUBERNETES = re.compile(
    r"ANTIPHON_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)


def unknown_variables(
    settings_class: type[BaseSettings], environment: Mapping[str, str] | None = None
) -> list[str]:
    """Return what is wrong with each variable that names no setting, one text each.

    Args:
        settings_class: of the service; the settings of the other services are no
            mistake either, since one file of variables may serve all of them.
        environment: the process's if None.
    """
    environment = os.environ if environment is None else environment
    own = _with_files(_variables_of(settings_class) | _PROGRAMS) | {SETTINGS_VARIABLE}
    # As pydantic reads them: in any case.
    suspects = {name: value for name, value in environment.items() if _is_ours(name)}
    unknown = [
        name
        for name, value in sorted(suspects.items())
        if name.upper() not in own | _COMPOSE and not _is_of_kubernetes(name, value)
    ]
    if unknown:
        others = _with_files(_variables_of_all_services())
        unknown = [name for name in unknown if name.upper() not in others]
    return [f"{name}: there is no such setting{_hint(name, own)}; unset it" for name in unknown]


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)


def _is_of_kubernetes(name: str, value: str) -> bool:
    is_port = name.endswith("_PORT") and _KUBERNETES_PORT.match(value) is not None
    return is_port or _OF_KUBERNETES.fullmatch(name) is not None


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.upper(), sorted(known), 1, 0.8)
    return f" (did you mean {near[0]}?)" if near else ""


def _with_files(names: Iterable[str]) -> frozenset[str]:
    return frozenset(each for name in names for each in (name, f"{name}_FILE"))


def _variables_of(settings_class: type[BaseSettings]) -> frozenset[str]:
    return frozenset(f"{PREFIX}{name.upper()}" for name in settings_class.model_fields)


def _variables_of_all_services() -> frozenset[str]:
    """Return the variables of every service beside this one."""
    found: set[str] = set()
    for package in pkgutil.iter_modules(services.__path__, "services."):
        if not package.ispkg or importlib.util.find_spec(f"{package.name}.settings") is None:
            continue
        module = importlib.import_module(f"{package.name}.settings")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseSettings):
                found |= _variables_of(value)
    return frozenset(found)
