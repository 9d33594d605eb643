"""Commits to Redis: changes become the words of one script call, its answer what became of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from antiphon.errors import (
    IncompatibleStore,
    KeyNotFound,
    StoreError,
    VersionConflict,
)
from antiphon.storage.changes import STAGE_ABOVE_BYTES, Change, Committed, Staged
from antiphon.storage.journal import JournalEntry, Version
from antiphon.storage.metadata import copied
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import (
    CHUNK_BYTES,
    INLINE_BYTES,
    Layout,
    metadata_lines,
    metadata_of,
)
from antiphon.storage.redis_scripts import load_script
from antiphon.storage.redis_values import Values

#: Seconds for which Redis remembers the answer to a writer's last commit; longer
#: than any repetition of it can take.
_REMEMBER_S = 60

#: Bytes of data that travel with one commit; what is above is staged before, so
#: that no commit keeps Redis from its other work for long.
_MAX_COMMIT_BYTES = 8 << 20

#: Data that is no longer than this never is: the words around it weigh as much.
_TINY_BYTES = 1024

_COMMIT = load_script("commit")


class Writers:
    """Names under which Redis remembers the last answer: one for each commit under way."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._free: list[tuple[str, int]] = []

    def take(self) -> tuple[str, int]:
        """Return a writer and the number of its next commit; nobody else has it now."""
        if self._pid != os.getpid():
            # A child that went on with its parent's writers would get its answers.
            self._pid, self._free = os.getpid(), []
        try:
            return self._free.pop()
        except IndexError:
            return os.urandom(8).hex(), 1

    def give_back(self, writer: tuple[str, int]) -> None:
        """Return a writer whose commit was answered; its next one has the next number."""
        self._free.append((writer[0], writer[1] + 1))


class Committer:
    """Commits the changes of one store.

    Args:
        client: the connections.
        layout: the names of the keys.
        values: where data goes that is too large for a record.
        store_id: the identity that the namespace must still have.
    """

    def __init__(self, client: RedisClient, layout: Layout, values: Values, store_id: UUID) -> None:
        self._client = client
        self._layout = layout
        self._values = values
        self._store_id = store_id
        self._writers = Writers()
        address = client.address
        self._remember_s = _REMEMBER_S + int(4 * address.timeout_s + address.retry_s)
        self._fixed_keys = [layout.name(n) for n in ("meta", "journal", "keys", "index")]

    def commit(self, changes: Sequence[Change]) -> list[Committed]:
        """Apply *changes*, all or none; the contract is that of ``BackendStore._commit``."""
        if not changes:
            return []
        staged: list[Staged] = []
        try:
            words = self._words(changes, staged)
            answer = self._run(changes, words)
        except BaseException:
            self._discard(staged)
            raise
        return _committed(changes, answer)

    def _discard(self, staged: list[Staged]) -> None:
        for value in staged:
            try:
                self._values.discard(value.token)
            except StoreError:
                return  # its time ends anyway, and the first error is the one to hear of

    def _run(self, changes: Sequence[Change], words: list[Any]) -> list[Any]:
        writer = self._writers.take()
        token, number = writer
        keys = [
            *self._fixed_keys,
            self._layout.writer(token),
            *(self._layout.record(change.key) for change in changes),
        ]
        owner = changes[0].event_id.publisher.hex()

        def args(is_repetition: bool) -> list[Any]:
            return [
                self._layout.prefix,
                self._store_id.hex,
                number,
                owner,
                self._values.grace_s,
                self._remember_s,
                "1" if is_repetition else "0",
                *words,
            ]

        # A writer without an answer is not given back: its call may still arrive.
        answer: list[Any] = self._client.run_twice_safe(_COMMIT, keys, args)
        self._writers.give_back(writer)
        if answer[0] != b"OK":
            raise self._refusal(changes, answer)
        return answer

    # -- Words ---------------------------------------------------------------

    def _words(self, changes: Sequence[Change], staged: list[Staged]) -> list[Any]:
        words: list[Any] = []
        room = _MAX_COMMIT_BYTES
        for change in changes:
            letter, data = self._data(change, room, staged)
            room -= len(data)
            letters = ("x" if change.must_exist else "") + _kind(change) + letter
            lines = metadata_lines(change.metadata) if change.metadata else ""
            expect = "" if change.expect is None else str(change.expect)
            ids = f"{change.entry_id.hex()} {change.event_id}"
            words += (change.key.encode(), ids, letters, expect, lines, data)
        return words

    def _data(self, change: Change, room: int, staged: list[Staged]) -> tuple[str, bytes]:
        data = change.data
        if data is None or change.delete:
            return "", b""
        if isinstance(data, bytes):
            if len(data) <= max(_TINY_BYTES, min(INLINE_BYTES, room)):
                return "b", data
            if len(data) <= min(STAGE_ABOVE_BYTES, room):
                return "c", data
            data = self._values.stage([data])
            staged.append(data)
        return "g", f"{data.token} {data.size} {CHUNK_BYTES}".encode()

    # -- Refusals ------------------------------------------------------------

    def _refusal(self, changes: Sequence[Change], answer: list[Any]) -> StoreError:
        code = answer[0].decode()
        where = f"namespace {self._client.address.namespace!r} of Redis at {self._client.address}"
        if code == "LOST":
            present = answer[1].decode()
            now = f"now it is {UUID(present)}" if present else "it has none any more"
            return IncompatibleStore(
                f"{where} is no longer the store {self._store_id} ({now}); Redis was emptied or"
                " restored. Nothing was written; connect again to go on with what is there"
            )
        if code == "STALE":
            return StoreError(f"{where}: this commit was overtaken by a later one; nothing written")
        change = changes[int(answer[1]) - 1]
        if code == "MISSING":
            return KeyNotFound(f"no key {change.key!r} in {where}; nothing was written")
        if code == "UNSTAGED":
            return StoreError(
                f"the staged data of {change.key!r} are no longer in {where}: they wait an hour"
                " for their commit, or Redis lost its last writes. Nothing was written;"
                " set the value again"
            )
        return VersionConflict(
            f"{change.key!r} in {where} has version {answer[2].decode() or 'none'}, and"
            f" {change.expect} was expected; nothing was written; read it again, then decide"
        )


def _kind(change: Change) -> str:
    if change.delete:
        return "d"
    if change.metadata is None:
        return ""
    return "u" if change.merge else "m"


def _committed(changes: Sequence[Change], answer: list[Any]) -> list[Committed]:
    epoch, first, time_ns = int(answer[1]), int(answer[2]), int(answer[3])
    owner = changes[0].event_id.publisher
    results = []
    for number, change in enumerate(changes):
        action, told = answer[4 + 2 * number], answer[5 + 2 * number]
        is_known = change.metadata is not None and not change.merge and not change.delete
        entry = JournalEntry(
            version=Version(epoch, first + number, change.entry_id),
            key=change.key,
            action=action.decode(),
            event_id=change.event_id,
            owner=owner,
            last=number == len(changes) - 1,
            time_ns=time_ns,
        )
        metadata = copied(change.metadata or {}) if is_known else metadata_of(told)
        results.append(Committed(entry, metadata))
    return results
