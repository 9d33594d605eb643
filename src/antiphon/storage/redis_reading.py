"""Reading a namespace: records, keys and queries in pages, and the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from antiphon.errors import IncompatibleStore, PositionLost
from antiphon.storage.changes import Record
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import (
    Header,
    Layout,
    condition_lines,
    fulfils,
    is_exact,
    metadata_of,
    parse_entry,
)
from antiphon.storage.redis_values import Values
from antiphon.storage.redis_wire import pack_command

#: The command for what a record has, packed once; for a key's length and name.
_ASKING = pack_command("HMGET", "\0", "h", "m", "d").replace(b"$1\r\n\0", b"$%d\r\n%b")

#: Keys, or journal entries, fetched in one round trip.
_PAGE = 500


def pages(
    client: RedisClient, name: bytes, begin: bytes = b"-", end: bytes = b"+"
) -> Iterator[list[bytes]]:
    """Yield the members of a sorted set, from *begin* to *end* as ``ZRANGEBYLEX`` has them.

    The next page begins after the last member seen, so whatever stays in the
    set meanwhile is met exactly once.
    """
    while True:
        page = client.call("ZRANGEBYLEX", name, begin, end, "LIMIT", 0, _PAGE)
        if page:
            yield page
        if len(page) < _PAGE:
            return
        begin = b"(" + page[-1]


class Reader:
    """Reads one namespace."""

    def __init__(self, client: RedisClient, layout: Layout, values: Values) -> None:
        self._client = client
        self._layout = layout
        self._values = values
        #: The command that asks for what ``position_of`` takes.
        self.asking_head = pack_command("HMGET", layout.name("meta"), "store_id", "head")

    def record(self, key: str) -> Record | None:
        """Return what is under *key*, in one round trip; large data come when they are read."""
        return self._record(key, self._client.call_packed(self._asking(key)))

    def records(self, keys: Iterable[str]) -> list[Record | None]:
        """Return what is under each of *keys*, in one round trip; see ``record``."""
        asked = list(keys)
        found = self._client.calls_packed([self._asking(key) for key in asked])
        return [self._record(key, fields) for key, fields in zip(asked, found, strict=True)]

    def _asking(self, key: str) -> bytes:
        name = self._layout.record(key)
        return _ASKING % (len(name), name)

    def _record(self, key: str, fields: list[bytes | None]) -> Record | None:
        header_text, lines, inline = fields
        if header_text is None:
            return None
        header = Header.parse(header_text)
        if header.version is None or header.created is None or header.modified is None:
            raise IncompatibleStore(f"the record of {key!r:.200} is not complete: {header_text!r}")
        return Record(
            header.size,
            metadata_of(lines or b""),
            header.created,
            header.modified,
            header.version,
            self._values.opener(key, header, inline),
        )

    def metadata(self, key: str) -> dict[str, Any] | None:
        """Return the metadata of *key*, or None."""
        return self.metadata_of_many([key])[0]

    def metadata_of_many(self, keys: Iterable[str]) -> list[dict[str, Any] | None]:
        """Return the metadata of each of *keys*, or None, in one round trip."""
        asked = [pack_command("HGET", self._layout.record(key), "m") for key in keys]
        found = self._client.calls_packed(asked)
        return [None if lines is None else metadata_of(lines) for lines in found]

    def exists(self, key: str) -> bool:
        """Return whether there is *key*."""
        return bool(self._client.call("EXISTS", self._layout.record(key)))

    # -- Keys and queries ----------------------------------------------------

    def keys(self) -> Iterator[str]:
        """Yield all keys, sorted by their bytes."""
        for page in pages(self._client, self._layout.name("keys")):
            for key in page:
                yield key.decode()

    def query(self, conditions: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield key and metadata of what matches *conditions*, page by page."""
        lines = condition_lines(conditions)
        return self._matching(lines)

    def matching_keys(self, conditions: Mapping[str, Any]) -> Iterator[str]:
        """Yield the keys of what ``query`` yields."""
        lines = condition_lines(conditions)
        if len(lines) == 1 and all(map(is_exact, lines)):
            # One look at the index is one moment, in which index and records agree.
            return (key.decode() for page in self._candidates(lines) for key in page)
        return (key for key, _ in self._matching(lines))

    def _matching(self, lines: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        encoded = {line.encode() for line in lines}
        for page in self._candidates(lines):
            asked = [pack_command("HGET", self._layout.record_of(key), "m") for key in page]
            found = self._client.calls_packed(asked)
            for key, metadata in zip(page, found, strict=True):
                # The index is asked in another moment than the record, and has
                # digests in place of long values: the metadata decide.
                if metadata is not None and fulfils(metadata, encoded):
                    yield key.decode(), metadata_of(metadata)

    def _candidates(self, lines: Iterable[str]) -> Iterator[list[bytes]]:
        names = [self._layout.index(line) for line in lines] or [self._layout.name("keys")]
        name = names[0]
        if len(names) > 1:
            # The rarest condition leaves the fewest records to look at.
            sizes = self._client.calls([("ZCARD", name) for name in names])
            name = min(zip(sizes, names, strict=True))[1]
        return pages(self._client, name)

    # -- The journal ---------------------------------------------------------

    def head(self) -> Position:
        """Return the position of the newest commit."""
        return self.position_of(self._client.call_packed(self.asking_head))

    def position_of(self, meta: list[bytes | None]) -> Position:
        """Return the head that the answer to ``asking_head`` names."""
        store_id, head = meta
        if store_id is None or head is None:
            raise IncompatibleStore(
                f"namespace {self._client.address.namespace!r} of Redis at {self._client.address}"
                " has no store any more: Redis was emptied. Connect again to begin a new one"
            )
        return Position(UUID(store_id.decode()), *Version.parse(head.decode()))

    def since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*; see ``Journal.since``."""
        head, entries = self._page(position)
        if position.store_id != head.store_id or position.epoch != head.epoch:
            raise PositionLost(f"{position} is not of the store and epoch of {head}")
        if position.sequence > head.sequence:
            raise PositionLost(f"{position} is later than the newest commit, {head}")
        return self._read_on(self._checked(position, head, entries), head)

    def _page(self, after: Position) -> tuple[Position, list[JournalEntry]]:
        """Return the head, and the entries from *after* on, itself included."""
        begin = f"{after.epoch}-{after.sequence}"
        journal = self._layout.name("journal")
        entries = pack_command("XRANGE", journal, begin, "+", "COUNT", _PAGE + 1)
        meta, raw = self._client.calls_packed([self.asking_head, entries])
        return self.position_of(meta), [parse_entry(*entry) for entry in raw]

    def _checked(
        self, position: Position, head: Position, entries: list[JournalEntry]
    ) -> list[JournalEntry]:
        """Return the entries after *position*, if they go on from just there."""
        if position.sequence == 0:
            # Nothing stands there; whatever is, has to begin with the first entry.
            is_known = position.entry_id == b"" and (
                entries[0].version.sequence == 1 if entries else head.sequence == 0
            )
            rest = entries
        else:
            is_known = bool(entries) and entries[0].version == position.version
            rest = entries[1:]
        if not is_known:
            raise PositionLost(
                f"the journal has no entry {position} (any more): it was truncated after it,"
                " or Redis lost its last writes and history was rewritten"
            )
        return rest

    def _read_on(self, entries: list[JournalEntry], head: Position) -> Iterator[JournalEntry]:
        while True:
            for entry in entries:
                yield entry
                # The head was read before, and is the end of a commit.
                if entry.version.sequence >= head.sequence:
                    return
            if not entries:
                return
            last = Position(head.store_id, *entries[-1].version)
            entries = self._checked(last, *self._page(last))
