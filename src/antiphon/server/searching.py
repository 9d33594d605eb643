"""Answers to requests about many keys: queries, the index, the journal, the store itself."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from antiphon.errors import InvalidValue
from antiphon.server.answers import (
    JSON_TYPE,
    LINES_TYPE,
    TEXT_TYPE,
    Answer,
    Headers,
    LinePieces,
    Refused,
    content_headers,
    json_answer,
)
from antiphon.server.calls import (
    Call,
    conditions_from,
    journal_in,
    json_object,
    metadata_text,
)
from antiphon.server.conditions import matches_any
from antiphon.server.routing import parameters
from antiphon.server.waiting import MAX_WAIT_S
from antiphon.storage import metadata as codec
from antiphon.storage.conditions import honours_expect
from antiphon.storage.journal import Journal, JournalEntry, Position, Version
from antiphon.storage.metadata import MAX_INTEGER
from antiphon.storage.value import select_from

#: The number of the protocol that is spoken.
PROTOCOL = 1

#: Journal entries in one answer, if the client names no limit, and at most.
DEFAULT_ENTRIES = 1000
MAX_ENTRIES = 100_000

#: Names of metadata entries that cannot be keyword arguments of ``query``.
_NO_KEYWORDS = frozenset({"self", "select"})


# -- Queries -------------------------------------------------------------------


def get_query(call: Call) -> Answer:
    """Answer with the keys that match the parameters, one a line."""
    conditions = conditions_from(parameters(call.query_string))
    keys = _query_keys(call, conditions)
    vary: Headers = [(b"vary", b"accept"), (b"cache-control", b"private, no-cache")]
    if LINES_TYPE.decode() in (call.header(b"accept") or ""):
        return _lines(_counted(map(json.dumps, keys)), LINES_TYPE, vary)
    lines = (f"{key}\n" for key in keys if "\n" not in key and "\r" not in key)
    return _lines(lines, TEXT_TYPE, vary)


def post_query(call: Call) -> Answer:
    """Answer with keys, or keys and metadata, as JSON, one a line."""
    wanted = json_object(call.body.read(-1))
    unknown = set(wanted) - {"where", "select", "keys_only"}
    if unknown:
        raise InvalidValue(f"a query has where, select and keys_only, not {sorted(unknown)[0]!r}")
    where, select = wanted.get("where") or {}, wanted.get("select")
    if not isinstance(where, dict):
        raise InvalidValue("where must be an object: names of metadata entries and their values")
    if select is not None and not (
        isinstance(select, list) and all(isinstance(name, str) for name in select)
    ):
        raise InvalidValue("select must be null or a list of names of metadata entries")
    conditions = conditions_from([(name, json.dumps(value)) for name, value in where.items()])
    if wanted.get("keys_only"):
        return _lines(_counted(map(json.dumps, _query_keys(call, conditions))), LINES_TYPE)
    rows = _query(call, select, conditions)
    return _lines(_counted(_row_text(key, metadata) for key, metadata in rows), LINES_TYPE)


def _query(
    call: Call, select: list[str] | None, conditions: dict[str, Any]
) -> Iterable[tuple[str, dict[str, Any]]]:
    if _NO_KEYWORDS & conditions.keys():
        return _query_by_hand(call, select, conditions)
    found: Iterable[tuple[str, dict[str, Any]]] = call.store.query(select, **conditions)
    return found


def _query_keys(call: Call, conditions: dict[str, Any]) -> Iterable[str]:
    if _NO_KEYWORDS & conditions.keys():
        return (key for key, _ in _query_by_hand(call, [], conditions))
    found: Iterable[str] = call.store.query_keys(**conditions)
    return found


def _query_by_hand(
    call: Call, select: list[str] | None, conditions: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Query for entries whose names cannot be keyword arguments of ``query``."""
    encoded = codec.encode_conditions(conditions)
    easy = {name: conditions[name] for name in conditions.keys() - _NO_KEYWORDS}
    for key, metadata in call.store.query(None, **easy):
        if codec.matches(codec.normalise(metadata), encoded):
            yield key, select_from(metadata, select)


def _row_text(key: str, metadata: dict[str, Any]) -> str:
    return f"[{json.dumps(key)},{metadata_text(metadata)}]"


def _counted(lines: Iterable[str]) -> Iterator[str]:
    """Yield *lines* with their ends, and one that tells how many there were."""
    count = 0
    for line in lines:
        count += 1
        yield f"{line}\n"
    yield f'{{"count": {count}}}\n'


def _lines(lines: Iterable[str], kind: bytes, more: Headers | None = None) -> Answer:
    pieces = LinePieces(lines)
    # What fits one piece is sent at once, and whatever fails at once has a status.
    first = pieces.next()
    second = pieces.next() if first else b""
    if not second:
        return Answer(200, content_headers(kind, len(first), more), first)
    return Answer(200, content_headers(kind, None, more), first + second, pieces)


# -- The static layout ---------------------------------------------------------


def get_index(call: Call) -> Answer:
    """Answer with all keys and their metadata as one JSON object."""
    headers: Headers = [(b"cache-control", b"private, no-cache"), (b"vary", b"authorization")]
    journal = journal_in(call.store)
    if journal is not None:
        # Read before the keys: what changes meanwhile may be in it or not, and
        # is asked for again next time.
        etag = _index_tag(call, journal.head())
        headers.append((b"etag", etag.encode()))
        if matches_any(call.header(b"if-none-match") or "", etag):
            return Answer(304, headers)
    return _lines(_index_text(call.store.query()), JSON_TYPE, headers)


def _index_tag(call: Call, head: Position) -> str:
    tag = str(head)
    if call.user is not None:
        # Users may see different keys.
        tag += "-" + hashlib.sha256(call.user.tag.encode()).hexdigest()[:16]
    return f'"{tag}"'


def _index_text(rows: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    separator = "{"
    for key, metadata in rows:
        yield f"{separator}\n{json.dumps(key)}: {metadata_text(metadata)}"
        separator = ","
    yield "{}\n" if separator == "{" else "\n}\n"


# -- The journal ---------------------------------------------------------------


def get_head(call: Call) -> Answer:
    """Answer with the position of the newest commit."""
    return _head_answer(_journalling(call).head())


def _head_answer(head: Position) -> Answer:
    return json_answer({"position": str(head)})


def get_since(call: Call) -> Answer:
    """Answer with the journal's entries after a position."""
    journal = _journalling(call)
    asked = dict(parameters(call.query_string))
    limit = _limit(asked.get("limit", str(DEFAULT_ENTRIES)))
    entries = iter(journal.since(position_from(asked.get("position", ""))))
    return _lines(_entry_lines(call, entries, limit), LINES_TYPE)


def _journalling(call: Call) -> Journal:
    journal = journal_in(call.store)
    if journal is None:
        raise Refused(501, "the store has no journal")
    return journal


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client waits for.

    Attributes:
        journal: that it waits for.
        position: where the client is.
        wait_s: seconds that it would wait at most.
    """

    journal: Journal
    position: Position
    wait_s: float

    def is_met_by(self, answer: Answer) -> bool:
        """Return whether *answer* tells the client anything new."""
        return answer.body not in (_NOTHING_NEW, _head_answer(self.position).body)


def wish_of(call: Call) -> Wish | None:
    """Return what the client of a request about the journal waits for; None if it does not.

    Raises:
        InvalidValue: position or seconds make no sense.
        Refused: there is no journal.
    """
    asked = dict(parameters(call.query_string))
    text = asked.get("wait_s")
    if text is None:
        return None
    wait_s = _seconds(text)
    position = position_from(asked.get("position", ""))
    return Wish(_journalling(call), position, min(wait_s, MAX_WAIT_S)) if wait_s > 0 else None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
        if len(text) < 32 and 0 <= seconds < math.inf:
            return seconds
    except ValueError:
        pass
    raise InvalidValue(f"wait_s must be a number of seconds from 0 on, not {text!r:.80}")


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 12 and int(text) > 0):
        raise InvalidValue(f"limit must be a number above 0, not {text!r:.80}")
    return min(int(text), MAX_ENTRIES)


def position_from(text: str) -> Position:
    """Return the position that ``str()`` wrote; raises ``InvalidValue`` if *text* is none."""
    store_id, _, version = text.partition("@")
    try:
        position = Position(UUID(store_id), *Version.parse(version))
        if max(position.epoch, position.sequence) > MAX_INTEGER:
            raise ValueError(text)
        return position
    except ValueError:
        raise InvalidValue(
            f"{text!r:.80} is no position; take one that this server answered"
        ) from None


def _entry_lines(call: Call, entries: Iterator[JournalEntry], limit: int) -> Iterator[str]:
    count = 0
    more = False
    for entry in entries:
        if more:
            break
        count += 1
        yield _entry_text(call, entry)
        # Whole commits only, so the limit may be passed by the rest of one.
        more = entry.last and count >= limit
    else:
        more = False
    yield _end_of_entries(count, more)


def _end_of_entries(count: int, more: bool) -> str:
    return f'{{"count": {count}, "more": {json.dumps(more)}}}\n'


_NOTHING_NEW = _end_of_entries(0, False).encode()


def _entry_text(call: Call, entry: JournalEntry) -> str:
    epoch, sequence, entry_id = entry.version
    # A user who may not see the key learns that something changed, and not what.
    # Antiphon's own authorizing store sees to that itself, and knows more.
    is_hidden = entry.key is None or (
        call.is_authorizing
        and not getattr(call.store, "shields_events", False)
        and not call.store.exists(entry.key)
    )
    line = [
        epoch,
        sequence,
        entry_id.hex(),
        None if is_hidden else entry.key,
        entry.action,
        None if entry.event_id is None else str(entry.event_id),
        entry.owner.hex(),
        entry.last,
        entry.time_ns,
    ]
    return json.dumps(line, separators=(",", ":")) + "\n"


# -- The store -----------------------------------------------------------------


def get_info(call: Call) -> Answer:
    """Answer with what the store is and can."""
    about = call.store.info()
    journal = journal_in(call.store)
    store_id = about.get("store_id") if journal is None else journal.store_id
    return json_answer(
        {
            "protocol": PROTOCOL,
            "store_id": None if store_id is None else str(store_id),
            "origin": about.get("origin"),
            "readonly": bool(about.get("readonly")),
            "authorizing": call.is_authorizing,
            "versions": honours_expect(call.store),
            "journal": journal is not None,
            "wait_s": MAX_WAIT_S if journal is not None else 0,
            "user_tag": None if call.user is None else call.user.tag,
            "max_value_bytes": call.max_value_bytes,
        }
    )


def probe(call: Call) -> Answer:
    """Answer ``OPTIONS``: which protocol this is, and where to learn more."""
    return Answer(
        204,
        [
            (b"allow", b"GET, HEAD, POST, OPTIONS"),
            (b"antiphon-protocol", b"%d" % PROTOCOL),
            # Relative to the URL of the query, so that it holds behind proxies.
            (b"antiphon-info", b"info"),
        ],
    )
