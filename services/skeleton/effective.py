"""Shows settings as they are in effect: as TOML or as plain values, without any secret."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, SecretStr

from antiphon.schemes import MASK
from services.skeleton.complaints import is_secret_name, masked, variable_of


def shown(settings: BaseModel, secrets: Iterable[str]) -> dict[str, Any]:
    """Return the settings as values that JSON and TOML know, but for None.

    Args:
        settings: of a service.
        secrets: texts that must not be shown, wherever they stand.
    """
    return {name: _plain(name, value, tuple(secrets)) for name, value in settings}


def as_toml(settings: BaseModel, secrets: Iterable[str]) -> str:
    """Return the settings as a TOML file: the same again, but for the secrets.

    Args:
        settings: of a service.
        secrets: texts that must not be shown.

    Beside each setting stands where it comes from, if not from the settings file.
    """
    notes = {name: _source(settings, name) for name, _ in settings}
    return "\n".join(_table(shown(settings, secrets), (), notes)) + "\n"


def _source(settings: BaseModel, name: str) -> str:
    is_given = name in settings.model_fields_set
    notes = [variable_of(name)] if is_given else ["default"]
    if name == "amqp_url" and getattr(settings, name):
        # What a URL leaves out comes from these.
        notes += [variable_of("amqp_user"), variable_of("amqp_password")]
    found = ", ".join(note for note in notes if note)
    return f"  # {found}" if found else ""


def _plain(name: str, value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, BaseModel):
        return shown(value, secrets)
    if isinstance(value, Mapping):
        return {str(key): _plain(str(key), item, secrets) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(name, item, secrets) for item in value]
    if isinstance(value, SecretStr) or (isinstance(value, str) and is_secret_name(name)):
        return MASK if value else ""
    if isinstance(value, PurePath):
        return masked(str(value), secrets)
    return masked(value, secrets) if isinstance(value, str) else value


def _table(
    values: Mapping[str, Any], place: tuple[str, ...], notes: Mapping[str, str]
) -> Iterator[str]:
    """Yield the lines of a table: what is on one line first, then the tables in it."""
    for name, value in values.items():
        if value is None:
            yield f"# {_key(name)} is not set"
        elif not _is_table(value) and not _is_tables(value):
            yield f"{_key(name)} = {_value(value)}{notes.get(name, '')}"
    for name, value in values.items():
        below = (*place, name)
        path = ".".join(_key(part) for part in below)
        if _is_table(value):
            has_only_tables = value and all(map(_is_table, value.values()))
            yield from () if has_only_tables else ("", f"[{path}]")
            yield from _table(value, below, {})
        elif _is_tables(value):
            for item in value:
                yield from ("", f"[[{path}]]", *_table(item, below, {}))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_table(item) for item in value)


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        inner = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return f"{{{', '.join(inner)}}}"
    return _text(str(value))


def _text(text: str) -> str:
    # A basic string of TOML is one of JSON, but for U+007F and pairs of surrogates.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)
