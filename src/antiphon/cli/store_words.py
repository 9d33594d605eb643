"""Keys, metadata and sizes as people write and read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NoReturn, TypeVar

import click

from antiphon.errors import AntiphonError
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.storage.journal import Version, version_of
from antiphon.storage.metadata import decode, encode, normalise

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

#: Keys whose values are looked at at a time.
READ_AT_ONCE = 50

#: Names of metadata entries that Python's own words for arguments hide.
_UNASKABLE = ("self", "select")


def choice_options(command: F) -> F:
    """Add ``--prefix`` and ``--filter``, which choose keys, to a command."""
    filters = click.option(
        "--filter",
        "filters",
        multiple=True,
        metavar="NAME=VALUE",
        help="Keys with this metadata entry: currency=EUR, n=5.  VALUE is JSON where it can be, "
        "else text, and its type counts: n=5 is not n='\"5\"'.  Several must all hold.",
    )
    prefix = click.option("--prefix", default="", metavar="TEXT", help="Keys that begin with TEXT.")
    return prefix(filters(command))


def parse_entries(texts: Sequence[str], option: str) -> dict[str, Any]:
    """Return the metadata that *texts* say, each as ``NAME=VALUE``.

    A value is JSON where it can be, with ``{"!bytes": "aGk="}`` and the like for
    what JSON lacks; else text.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"'{text}' is not of the form NAME=VALUE", param_hint=option)
        found[name] = _value_of(value, option)
    return found


def parse_conditions(texts: Sequence[str]) -> dict[str, Any]:
    """Return what a query is asked with, from the texts of ``--filter``."""
    found = parse_entries(texts, "--filter")
    for name in _UNASKABLE:
        if name in found:
            raise click.BadParameter(f"no store can be asked for '{name}'", param_hint="--filter")
    return found


def parse_metadata(text: str, option: str) -> dict[str, Any]:
    """Return the metadata that *text* is as a JSON object."""
    try:
        return decode(text)
    except AntiphonError:
        raise click.BadParameter(
            f"this is no JSON object of metadata: {text!r:.80}", param_hint=option
        ) from None


def parse_version(text: str) -> Version:
    """Return the version that *text* names."""
    try:
        return Version.parse(text)
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no version; 'antiphon store ls --json' shows those of keys",
            param_hint="--if-version",
        ) from None


def _value_of(text: str, option: str) -> Any:
    try:
        plain = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    try:
        return decode(json.dumps({"value": plain}))["value"]
    except AntiphonError:
        raise click.BadParameter(
            f"'{text}' is JSON, and no metadata: what begins with '!' is a type, as in "
            '{"!bytes": "aGk="}; quote text: \'"…"\'',
            param_hint=option,
        ) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are text


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Return *metadata* as a line of JSON, which ``parse_metadata`` reads back."""
    return encode(normalise(metadata))


def chosen_keys(
    store: AbstractReadOnlyStore, prefix: str, conditions: Mapping[str, Any]
) -> Iterator[str]:
    """Return the keys of *store* that begin with *prefix* and fulfil *conditions*."""
    keys = store.query_keys(**conditions)
    return (key for key in keys if key.startswith(prefix)) if prefix else keys


def portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield *items* in lists of up to *size*."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def values_of(store: AbstractReadOnlyStore, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield each of *keys* with its value; None if it is gone."""
    for some in portions(keys, READ_AT_ONCE):
        done = 0
        try:
            # Not as a list: each value may have a MiB.
            for key, value in zip(some, store.multiget(some), strict=True):
                yield key, value
                done += 1
        except KeyError:
            yield from ((key, _value_if_any(store, key)) for key in some[done:])


def facts(key: str, value: Any) -> dict[str, Any]:
    """Return what JSON says of *key*, whose value is *value*."""
    version = version_of(value)
    return {
        "key": key,
        "size": value.size,
        "created": _iso(value.created),
        "modified": _iso(value.modified),
        "version": None if version is None else str(version),
        "metadata": json.loads(metadata_text(value.metadata)),
    }


def count_text(count: int, noun: str) -> str:
    """Return as in ``1 key`` and ``2 keys``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def _value_if_any(store: AbstractReadOnlyStore, key: str) -> Any:
    try:
        return store.get(key)
    except KeyError:
        return None
