"""Commits to Redis: changes become words, the answer of a script what became of them.

One commit is one round trip, in which travel together: what has to be staged;
then the commit is written down as a whole, by one command (the intent); and
``apply.lua``, which does what is written down.  Most commits are written down
as they are (a request); ``prepare.lua`` makes a plan of those that delete, or
change a key twice.  Why two steps is in ``prepare.lua``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from antiphon.errors import (
    IncompatibleStore,
    InvalidValue,
    StoreError,
    TransactionTooLarge,
)
from antiphon.storage.changes import Change, Committed, Staged, conflict, missing
from antiphon.storage.journal import ABSENT, JournalEntry, Version
from antiphon.storage.metadata import MAX_TEXT, copied
from antiphon.storage.portions import Portion, text_size
from antiphon.storage.redis_calls import PackedCall, ScriptCall
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
from antiphon.storage.redis_wire import begin_list, pack_command, pack_list

#: Seconds for which Redis remembers the answer to a writer's last commit; longer
#: than any repetition of it can take.
_REMEMBER_S = 60

#: Bytes of data that travel with one commit; what is above is staged before, so
#: that no commit keeps Redis from its other work for long.
_MAX_COMMIT_BYTES = 8 << 20

#: Data that is no longer than this never is: the words around it weigh as much.
_TINY_BYTES = 1024

_PREPARE = load_script("prepare", "lines")
_APPLY = load_script("apply", "lines")

#: Words of a request that are no change's, and words of each change (``apply.lua``).
_REQUEST_WORDS = 10
_CHANGE_WORDS = 7


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
        store: named in errors.
    """

    def __init__(
        self, client: RedisClient, layout: Layout, values: Values, store_id: UUID, store: object
    ) -> None:
        self._client = client
        self._layout = layout
        self._values = values
        self._store_id = store_id
        self._store = store
        self._writers = Writers()
        address = client.address
        self._remember_s = _REMEMBER_S + int(4 * address.timeout_s + address.retry_s)
        meta, journal, keys, intent = (
            layout.name(name) for name in ("meta", "journal", "keys", "intent")
        )
        self._intent = intent
        self._plan_keys = [meta, journal, keys, intent]
        apply: ScriptCall = (_APPLY, [meta, intent, journal, keys], [])
        self._apply = PackedCall(apply)
        #: What all requests of this store begin with.
        self._beginning = pack_list(
            str(word).encode() if not isinstance(word, bytes) else word
            for word in (
                b"",
                store_id.hex,
                layout.prefix,
                values.grace_s,
                self._remember_s,
                MAX_TEXT - len("{}"),
            )
        )
        # What a crash has left half done is done before anybody reads it.
        self._finishing = apply
        client.on_connect.append(self._finish)
        client.run(*apply)

    def commit(self, changes: Sequence[Change], most: Portion) -> list[Committed]:
        """Apply *changes*, all or none; the contract is that of ``BackendStore._commit``.

        Args:
            changes: what to do.
            most: what may be done at once; one change may always.

        Raises:
            TransactionTooLarge: it is more; nothing was written.
        """
        if not changes:
            return []
        if len(changes) > 1:
            self._check_weight(changes, most)
        words, aside = self._words(changes)
        stagings = [c for token, data in aside.items() for c in self._values.staging(token, data)]
        if self._is_simple(changes):
            answer = self._request(changes, words, stagings)
        else:
            answer = self._plan(changes, words, stagings)
        if answer[0] == b"OK":
            return _committed(changes, answer)
        for token in aside:
            # Their time ends anyway, and the refusal is what the caller must hear of.
            with contextlib.suppress(StoreError):
                self._values.discard(token)
        raise self._refusal(changes, answer)

    def _finish(self, call: Callable[..., Any]) -> None:
        script, keys, args = self._finishing
        call("EVAL", script.source, len(keys), *keys, *args)

    def _is_simple(self, changes: Sequence[Change]) -> bool:
        """Return whether the changes can be decided anew from a half that a crash left.

        Of a deleted key nothing is left to decide from, and of two changes of
        one key only the second.
        """
        if any(change.delete for change in changes):
            return False
        return len(changes) == 1 or len({change.key for change in changes}) == len(changes)

    def _request(
        self, changes: Sequence[Change], words: list[bytes], stagings: list[ScriptCall | bytes]
    ) -> list[Any]:
        """Have Redis decide and do at once; return the answer."""
        token, number = writer = self._writers.take()
        name = token.encode()
        owner = changes[0].event_id.publisher.hex().encode()
        length = begin_list(_REQUEST_WORDS + _CHANGE_WORDS * len(changes))
        change_words = pack_list(words)

        def calls(is_repetition: bool) -> list[ScriptCall | PackedCall | bytes]:
            own = pack_list((name, b"%d" % number, b"1" if is_repetition else b"0", owner))
            request = b"".join((length, self._beginning, own, change_words))
            return [*stagings, pack_command("SET", self._intent, request, "NX"), self._apply]

        while True:
            applied = self._client.run_all(calls)[-1]
            answer = _own_answer(applied, name, number)
            if answer is not None:
                self._writers.give_back(writer)
                return answer

    def _plan(
        self, changes: Sequence[Change], words: list[bytes], stagings: list[ScriptCall | bytes]
    ) -> list[Any]:
        """Have Redis decide, write down what it will do, and do that; return the answer."""
        token, number = writer = self._writers.take()
        keys = [
            *self._plan_keys,
            *(self._layout.record(change.key) for change in changes),
        ]
        owner = changes[0].event_id.publisher.hex()

        def calls(is_repetition: bool) -> list[ScriptCall | PackedCall | bytes]:
            fixed: list[Any] = [
                self._layout.prefix,
                self._store_id.hex,
                token,
                number,
                owner,
                self._values.grace_s,
                self._remember_s,
                "1" if is_repetition else "0",
                MAX_TEXT - len("{}"),
            ]
            return [*stagings, (_PREPARE, keys, [*fixed, *words]), self._apply]

        # A writer without an answer is not given back: its call may still arrive.
        answer: list[Any] | None = None
        while answer is None:
            prepared, applied = self._client.run_all(calls)[-2:]
            answer = _answer_of(prepared, applied, token.encode(), number)
        self._writers.give_back(writer)
        return answer

    # -- Words ---------------------------------------------------------------

    def _words(self, changes: Sequence[Change]) -> tuple[list[bytes], dict[str, bytes]]:
        """Return what a script takes for each change, and by token what to stage before."""
        words: list[bytes] = []
        aside: dict[str, bytes] = {}
        room = _MAX_COMMIT_BYTES
        for change in changes:
            letter, data = self._data(change, room, aside)
            room -= len(change.data) if isinstance(change.data, bytes) else 0
            words += (
                change.key.encode(),
                change.entry_id.hex().encode(),
                str(change.event_id).encode(),
                (("x" if change.must_exist else "") + _kind(change) + letter).encode(),
                b"" if change.expect is None else str(change.expect).encode(),
                metadata_lines(change.metadata).encode() if change.metadata else b"",
                data,
            )
        return words, aside

    def _data(self, change: Change, room: int, aside: dict[str, bytes]) -> tuple[str, bytes]:
        data = change.data
        if data is None or change.delete:
            return "", b""
        if isinstance(data, Staged):
            return "g", f"{data.token} {data.size} {CHUNK_BYTES}".encode()
        if len(data) <= max(_TINY_BYTES, min(INLINE_BYTES, room)):
            return "b", data
        token = change.entry_id.hex()
        if len(data) > room:
            # Too much for one round trip: a call of its own.
            self._values.stage_at_once(token, data)
        else:
            aside[token] = data
        return "g", f"{token} {len(data)} {CHUNK_BYTES}".encode()

    # -- Refusals ------------------------------------------------------------

    def _check_weight(self, changes: Sequence[Change], most: Portion) -> None:
        weight = Portion(len(changes))
        if len(changes) <= most.changes:
            weight = Portion(
                len(changes),
                sum(len(change.metadata or ()) for change in changes),
                sum(map(text_size, changes)),
            )
        if weight.exceeds(most):
            # Redis does nothing else while it commits, and after five seconds gives up on all.
            raise TransactionTooLarge(
                f"a transaction of {self._store!r} changes {weight.changes} keys with"
                f" {weight.entries} metadata entries and {weight.size} bytes of keys and metadata;"
                f" at once may be {most.changes}, {most.entries} and {most.size}. Nothing was"
                " written: make several transactions of it, or leave it to multiset(), outside"
                " of any transaction, to do so"
            )

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
        if code == "TORN":
            return IncompatibleStore(
                f"{where}: the meta hash has {answer[1].decode()} as newest entry of the journal,"
                f" and the journal has {answer[2].decode()}; one of them was changed by hand."
                " Nothing was written"
            )
        if code == "STALE":
            return StoreError(f"{where}: this commit was overtaken by a later one; nothing written")
        change = changes[int(answer[1]) - 1]
        if code == "MISSING":
            return missing(change.key, self._store)
        if code == "LARGE":
            return InvalidValue(
                f"metadata of {change.key!r:.80} would have {int(answer[2])} characters, too much"
                f" (at most {MAX_TEXT}); nothing was written: put into the data what no query"
                " asks for"
            )
        if code == "UNSTAGED":
            return StoreError(
                f"the staged data of {change.key!r} are no longer in {where}: they wait an hour"
                " for their commit, or Redis lost its last writes. Nothing was written;"
                " set the value again"
            )
        found = Version.parse(answer[2].decode()) if answer[2] else None
        return conflict(change.key, change.expect or ABSENT, found, self._store)


def _answer_of(prepared: list[Any], applied: bytes, writer: bytes, number: int) -> list[Any] | None:
    """Return the answer to a commit; None if it has to be asked again."""
    code = prepared[0]
    if code == b"DONE":
        answer: list[Any] = prepared[1].split(b"\0")
        return answer
    if code not in (b"READY", b"PENDING"):
        return prepared
    return _own_answer(applied, writer, number)


def _own_answer(applied: bytes, writer: bytes, number: int) -> list[Any] | None:
    words = applied.split(b"\0")
    if words[0] == writer and int(words[1]) == number:
        return words[2:]
    # Another writer's commit stood in the way and was finished first, or
    # another writer has finished ours: the next answer tells.
    return None


def _kind(change: Change) -> str:
    if change.delete:
        return "d"
    if change.metadata is None:
        return ""
    return "u" if change.merge else "m"


def _committed(changes: Sequence[Change], answer: list[Any]) -> list[Committed]:
    epoch, first, time_ns = int(answer[1]), int(answer[2]), int(answer[3])
    owner = changes[0].event_id.publisher
    # An answer that is remembered may be of an older version, which says less.
    before = bytes.fromhex(b"".join(answer[4 + 2 * len(changes) :]).decode())
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
        results.append(Committed(entry, metadata, before))
        before = change.entry_id
    return results
