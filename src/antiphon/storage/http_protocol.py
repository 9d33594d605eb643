"""What the HTTP protocol says, taken apart and put together: pure functions.

The protocol is in ``docs/reference/http-protocol.md``.
"""

from __future__ import annotations

import email.utils
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit
from uuid import UUID

from antiphon import errors
from antiphon.errors import (
    AuthenticationError,
    AuthorizationError,
    IncompatibleStore,
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    PositionLost,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
    VersionConflict,
)
from antiphon.events.event_id import EventId
from antiphon.storage import metadata as codec
from antiphon.storage.http_answer import HttpAnswer
from antiphon.storage.journal import ABSENT, JournalEntry, PledgedVersion, Position, Version

#: The version of the protocol that is spoken here.
PROTOCOL = "1"

#: What may stand in the path of a key besides letters, digits and ``_.-``.
SAFE_IN_KEYS = "/~!$&'()*+,;=:@"

#: Characters of base64 up to which metadata go into a header.
MAX_HEADER_METADATA = 1 << 12

_ERROR_BYTES = 1 << 16

_ERROR_OF_STATUS: dict[int, type[StoreError]] = {
    400: InvalidValue,
    401: AuthenticationError,
    403: AuthorizationError,
    404: KeyNotFound,
    405: ReadOnlyStore,
    408: StoreUnavailable,
    409: IncompatibleStore,
    410: PositionLost,
    412: VersionConflict,
    413: InvalidValue,
    414: InvalidKey,
    416: InvalidValue,
    429: StoreUnavailable,
    502: StoreUnavailable,
    503: StoreUnavailable,
    504: StoreUnavailable,
    507: StoreFull,
}


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server of ours says about the store behind it.

    Attributes:
        store_id: identity of the data; None if it has none.
        origin: readable name of the store.
        readonly, authorizing, versions, journal: what it is and can.
        user_tag: who we are there; None if nobody asked.
        max_value_bytes: largest value that it takes; None if it does not say.
        wait_s: seconds for which it lets clients wait for a change; 0: not at all.
    """

    store_id: UUID | None
    origin: str | None
    readonly: bool
    authorizing: bool
    versions: bool
    journal: bool
    user_tag: str | None
    max_value_bytes: int | None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a write.

    Attributes:
        action: ``set``, ``update`` or ``delete``.
        key: the key.
        metadata: after the change; before it, for a delete.
        version, event_id, position: of the change; None where unknown.
        link: beginning of the id of the journal's entry before it; b"" if unknown.
    """

    action: str
    key: str
    metadata: dict[str, Any]
    version: Version | None = None
    event_id: EventId | None = None
    position: Position | None = None
    link: bytes = b""


# -- URLs ----------------------------------------------------------------------


def quoted(key: str) -> str:
    """Return *key* as a part of a path."""
    return quote(key, safe=SAFE_IN_KEYS)


def is_odd(key: str) -> bool:
    """Return whether paths mangle *key*: clients and proxies change ``..``, ``//`` and the like."""
    return any(part in ("", ".", "..") for part in key.split("/"))


def has_dots(key: str) -> bool:
    """Return whether a path with *key* in it leads elsewhere."""
    return not key or any(part in (".", "..") for part in key.split("/"))


def info_url(query_url: str, told: str | None) -> str:
    """Return where the server tells of itself; never on another server than asked."""
    own = f"{query_url.rpartition('/')[0]}/info"
    if told is None:
        return own
    there = urljoin(query_url, told)
    # Credentials go there; and behind a proxy the server may not know its own name.
    return there if urlsplit(there)[:2] == urlsplit(query_url)[:2] else own


# -- Answers -------------------------------------------------------------------


def parse_info(raw: Any) -> ServerInfo:
    """Return what ``/info`` answered; raises ``IncompatibleStore`` if it is nothing of ours."""
    try:
        if str(raw["protocol"]) != PROTOCOL:
            raise IncompatibleStore(
                f"the server speaks version {raw['protocol']!r} of the protocol, and this version"
                f" of Antiphon version {PROTOCOL}: use versions that fit"
            )
        store_id, limit = raw.get("store_id"), raw.get("max_value_bytes")
        return ServerInfo(
            store_id=None if store_id is None else UUID(store_id),
            origin=_text_or_none(raw.get("origin")),
            readonly=bool(raw.get("readonly")),
            authorizing=bool(raw.get("authorizing")),
            versions=bool(raw.get("versions")),
            journal=bool(raw.get("journal")),
            user_tag=_text_or_none(raw.get("user_tag")),
            max_value_bytes=None if limit is None else int(limit),
            wait_s=max(0.0, float(raw.get("wait_s") or 0)),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise IncompatibleStore(
            f"the server tells of itself in no way we know: {raw!r:.200}"
        ) from None


def _text_or_none(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(value)
    return value


def parse_done(raw: Any, key: str) -> Done:
    """Return what a write was answered; raises ``StoreError`` if it is nothing of ours."""
    try:
        version, event_id, position = raw["version"], raw["event_id"], raw["position"]
        action = raw["action"]
        if action not in ("set", "update", "delete"):
            raise ValueError(action)
        return Done(
            action,
            key,
            metadata_of(raw["metadata"]),
            None if version is None else Version.parse(version),
            None if event_id is None else EventId.parse(event_id),
            None if position is None else parse_position(position),
            bytes.fromhex(raw.get("link") or ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreError(
            f"the change of {key!r:.200} was answered with {raw!r:.200}, which makes no sense;"
            " it may have happened: reading tells"
        ) from None


def parse_position(text: str) -> Position:
    """Return the position that ``str()`` wrote as *text*; ``ValueError`` if it is none."""
    store_id, _, version = text.partition("@")
    return Position(UUID(store_id), *Version.parse(version))


def position_in(raw: Any, store: object) -> Position:
    """Return the position in the answer to a question for the head; raises ``StoreError``."""
    try:
        return parse_position(raw["position"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StoreError(f"{store!r} answered no position: {raw!r:.200}") from None


def parse_entry(raw: Any) -> JournalEntry:
    """Return a journal entry; raises ``StoreError`` if *raw* is none."""
    try:
        epoch, sequence, entry_id, key, action, event_id, owner, last, time_ns = raw
        if action not in ("set", "update", "delete"):
            raise ValueError(action)
        return JournalEntry(
            version=Version(int(epoch), int(sequence), bytes.fromhex(entry_id)),
            key=_text_or_none(key),
            action=action,
            event_id=None if event_id is None else EventId.parse(event_id),
            owner=bytes.fromhex(owner),
            last=bool(last),
            time_ns=int(time_ns),
        )
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise StoreError(f"no journal entry: {raw!r:.200}") from None


def parse_key(raw: Any) -> str:
    """Return the key in a line of a query's answer; raises ``StoreError`` if there is none."""
    if not isinstance(raw, str):
        raise StoreError(f"a query was answered with {raw!r:.200}, which is no key")
    return raw


def parse_row(raw: Any) -> tuple[str, dict[str, Any]]:
    """Return key and metadata in a line of a query's answer; raises ``StoreError``."""
    if not isinstance(raw, list) or len(raw) != 2:
        raise StoreError(f"a query was answered with {raw!r:.200}: no key and metadata")
    return parse_key(raw[0]), metadata_of(raw[1])


def metadata_of(raw: Any) -> dict[str, Any]:
    """Return the metadata that parsed JSON stands for; ``IncompatibleStore`` if it is none."""
    try:
        return codec.decode(json.dumps(raw))
    except RecursionError:
        raise IncompatibleStore(f"metadata that are nested too deep: {raw!r:.80}") from None


def counted_lines(answer: HttpAnswer) -> Iterator[Any]:
    """Yield the lines of an answer in NDJSON, parsed, the last one with the count included.

    Raises:
        StoreUnavailable: the answer was cut short.
    """
    count = 0
    last: Any = None
    for line in answer.lines():
        try:
            last = json.loads(line)
        except (ValueError, RecursionError):
            raise StoreError(f"{answer.url}: no line of JSON: {line[:80]!r}") from None
        if isinstance(last, dict):
            break
        count += 1
        yield last
    if not isinstance(last, dict) or last.get("count") != count:
        raise StoreUnavailable(f"{answer.url}: the answer was cut short after {count} lines")
    yield last


def version_of(answer: HttpAnswer) -> Version | None:
    """Return the version in an ETag; None if there is none of ours."""
    tag = answer.header("ETag") or ""
    try:
        return Version.parse(tag[1:-1]) if tag[:1] == tag[-1:] == '"' else None
    except ValueError:
        return None


def times_of(answer: HttpAnswer) -> tuple[float | None, float | None]:
    """Return when a key was created and changed, in seconds since 1970, as far as is told."""
    modified = _seconds(answer.header("Antiphon-Modified"))
    if modified is None and (date := answer.header("Last-Modified")) is not None:
        try:
            modified = email.utils.parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            modified = None
    return _seconds(answer.header("Antiphon-Created")), modified


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


# -- Requests ------------------------------------------------------------------


def condition(expect: Version | None) -> dict[str, str]:
    """Return the headers of a write that expects a version."""
    if expect is None:
        return {}
    named = {"If-None-Match": "*"} if expect == ABSENT else {"If-Match": f'"{expect}"'}
    if isinstance(expect, PledgedVersion):
        named["Antiphon-Entry-Id"] = expect.entry_id_to_be.hex()
    return named


def query_body(
    conditions: Mapping[str, str], select: list[str] | None, *, keys_only: bool
) -> bytes:
    """Return the body of a query; *conditions* are encoded."""
    where = {name: json.loads(text) for name, text in conditions.items()}
    return json.dumps({"where": where, "select": select, "keys_only": keys_only}).encode()


def permissions_body(permissions: Mapping[str, Iterable[str]]) -> bytes:
    """Return *permissions* as JSON; raises ``InvalidValue`` if they are none."""
    try:
        plain = {str(name): sorted(tags) for name, tags in permissions.items()}
        if any(isinstance(tags, str) for tags in permissions.values()):
            raise TypeError
    except (AttributeError, TypeError):
        raise InvalidValue(
            f"permissions are a dictionary of names and sets of tags, not {permissions!r:.80}"
        ) from None
    return json.dumps(plain).encode()


def parse_permissions(raw: Any) -> dict[str, set[str]]:
    """Return the permissions in parsed JSON."""
    try:
        return {name: set(tags) for name, tags in raw.items()}
    except (AttributeError, TypeError):
        raise StoreError(f"no permissions: {raw!r:.200}") from None


# -- Errors --------------------------------------------------------------------


def error_of(
    answer: HttpAnswer,
    what: str,
    *,
    has_key: bool = True,
    unsupported: type[StoreError] = StoreError,
) -> StoreError:
    """Return the error that an answer of status 400 and above stands for, and close it.

    Args:
        answer: whose body may say more.
        what: what was asked for, with the key and the store.
        has_key: whether it was a key that was asked for.
        unsupported: what status 501 stands for, if the body says nothing else.
    """
    with answer:
        try:
            body = answer.read(_ERROR_BYTES)
        except StoreUnavailable:
            body = b""
    name, message = _told(body)
    kind = getattr(errors, name, None) if name.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, StoreError)):
        kind = {**_ERROR_OF_STATUS, 501: unsupported}.get(answer.status, StoreError)
    if kind is KeyNotFound and not has_key:
        kind = StoreError
    said = f": {message}" if message else ""
    return kind(f"{what}: the server answered {answer.status}{said}")


def _told(body: bytes) -> tuple[str, str]:
    try:
        raw = json.loads(body)
        return str(raw.get("error", "")), str(raw.get("message", ""))[:1000]
    except (ValueError, AttributeError, RecursionError):
        return "", ""
