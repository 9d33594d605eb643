"""What the writers do that are killed: steps, and all states that there may be after them."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from antiphon.errors import VersionConflict
from antiphon.events.api import EventManager
from antiphon.storage.changes import Change, Committed
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.journal import ABSENT, Position
from antiphon.storage.portions import Portion
from antiphon.storage.string_value import StringValue

#: Bytes of a value that lies in a row or record, in a file or generation, and of a staged one.
SMALL, MEDIUM, LARGE = 50, 100_000, 1_300_000

_BYTES = random.Random(7).randbytes(LARGE)


class Step(NamedTuple):
    """One commit, or a refusal, or a bulk: commits of which some may be all that is done.

    Attributes:
        name: for messages.
        do: does it to a store.
    """

    name: str
    do: Callable[[Any], object]


class State(NamedTuple):
    """What a store holds, and what its journal says.

    Attributes:
        contents: data and metadata by key.
        journal: key, action and whether it ends its commit, of each entry.
    """

    contents: dict[str, tuple[bytes, dict[str, Any]]]
    journal: list[tuple[str | None, str, bool]]


def data(size: int, mark: int = 0) -> bytes:
    """Return *size* bytes that begin with *mark*."""
    return (b"%d " % mark + _BYTES)[:size]


def _stream(size: int) -> Any:
    """Return a value whose size nobody knows before it is read."""

    class Value(StringValue):
        @property
        def data(self) -> Any:
            return io.BufferedReader(_Raw(data(size)))

    return Value(b"", {"n": 5})


class _Raw(io.RawIOBase):
    def __init__(self, content: bytes) -> None:
        self._left = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._left.readinto(buffer)


def _conditional(store: Any) -> None:
    """Change keys on conditions that hold."""
    store.set("a", StringValue(b"as expected", {"n": 3}), expect=store.get("a").version)


def _refused(store: Any) -> None:
    """Try to change keys on conditions that do not hold."""
    with contextlib.suppress(VersionConflict):
        store.set("a", StringValue(data(MEDIUM), {"n": 9}), expect=ABSENT)


def _several(store: Any) -> None:
    """Change keys of every kind in one commit."""
    with store.transaction("several"):
        store.set("a", StringValue(b"in a transaction", {"n": 7}))
        store.set("many/new", StringValue(data(MEDIUM), {"n": 7}))
        store.set_metadata("b", {"n": 7})
        store.delete("c")
        store.set("many/large", StringValue(data(LARGE, 7), {"n": 7}))
        store.delete("d", expect=store.get("d").version)


def _bulk(store: Any, keys: Sequence[str] = "abcdefgh", mark: int = 0) -> None:
    """Change several keys in portions, with values of every kind."""
    store._portion = Portion(changes=3, entries=100, size=1 << 20)
    sizes = (SMALL, SMALL, MEDIUM, SMALL, LARGE)
    values = (StringValue(data(sizes[n % 5], mark), {"n": 8, "m": mark}) for n in range(len(keys)))
    store.multiset(keys, values)


SEED = Step(
    "seed",
    lambda store: store.multiset(
        "abcd", [StringValue(b"old " + key.encode(), {"n": 1}) for key in "abcd"]
    ),
)

#: One commit with everything in it.
SEVERAL = Step("several", _several)

#: Several commits, of one call.
BULK = Step("bulk", _bulk)

#: A commit of each kind.
EVERYDAY = (
    Step("new", lambda store: store.set("New/key", StringValue(data(SMALL), {"n": 2}))),
    Step("update", lambda store: store.set("b", StringValue(data(MEDIUM), {"n": 2}))),
    Step("create", lambda store: store.set("e", StringValue(b"", {"n": 2}), expect=ABSENT)),
    Step("conditional", _conditional),
    Step("refused", _refused),
    Step("metadata", lambda store: store.set_metadata("a", {"n": 4})),
    Step("merge", lambda store: store.update_metadata("b", {"m": 4})),
    Step("large", lambda store: store.set("e", _stream(LARGE))),
    Step("data", lambda store: store.set_data("a", io.BytesIO(data(SMALL)))),
    Step("replace large", lambda store: store.set("e", StringValue(b"small", {"n": 6}))),
    Step("delete", lambda store: store.delete("e")),
)


def random_steps(seed: int, count: int, *, transactions: bool = True) -> list[Step]:
    """Return *count* steps that are drawn from *seed*."""
    dice = random.Random(seed)
    sizes = (1, 1, 1, 3, 8) if transactions else (1,)
    return [_random_step(dice, number, dice.choice(sizes)) for number in range(count)]


def _random_step(dice: random.Random, number: int, size: int) -> Step:
    if size > 1 and dice.random() < 0.3:
        keys = dice.sample("abcdefgh", size)
        return Step(f"bulk {''.join(keys)}", lambda store: _bulk(store, keys, number))
    single = [_random_change(dice, number) for _ in range(size)]
    if len(single) == 1:
        return single[0]

    def do(store: Any) -> None:
        with store.transaction(f"step {number}"):
            for change in single:
                change.do(store)

    return Step(" + ".join(change.name for change in single), do)


def _random_change(dice: random.Random, number: int) -> Step:
    key = dice.choice("abcdefgh") * dice.choice((1, 1, 1, 120))
    size = dice.choice((0, SMALL, SMALL, 5000, MEDIUM, LARGE))
    metadata = {"n": dice.randrange(4), "step": number}

    def delete(store: Any) -> None:
        if store.exists(key):
            store.delete(key, expect=store.get(key).version)

    def merge(store: Any) -> None:
        if store.exists(key):
            store.update_metadata(key, {"n": number})

    changes = {
        f"set {key:.3}({size})": lambda store: store.set(
            # Made anew each time, for its stream is read once.
            key,
            StringValue(data(size, number), metadata),
        ),
        f"data {key:.3}({size})": lambda store: store.set_data(key, io.BytesIO(data(size, number))),
        f"metadata {key:.3}": lambda store: store.set_metadata(key, {"n": number}),
        f"merge {key:.3}": merge,
        f"delete {key:.3}": delete,
    }
    name = dice.choice(sorted(changes))
    return Step(name, changes[name])


class _Witnessed(DictMemoryStore):
    """Remembers its state after each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[State] = []

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        committed = super()._commit(changes)
        self.moments.append(state_of(self))
        return committed


def states(steps: Sequence[Step]) -> list[list[State]]:
    """Return for each number of *steps* that are over the states that there may be, in order.

    That is as it was after the last of them, and after each commit of the next one.
    """
    store = _Witnessed()
    store.event_manager = EventManager()
    with store:
        SEED.do(store)
        found = []
        for step in (*steps, None):
            before = store.moments[-1]
            store.moments = [before]
            if step is not None:
                step.do(store)
            found.append(store.moments)
    return found


def state_of(store: Any) -> State:
    """Return what *store* holds and says."""
    while True:
        head = store.head()
        found = _state_at(store, head)
        # What a killed writer had sent to a server may arrive meanwhile.
        if store.head() == head:
            return found


def _state_at(store: Any, head: Position) -> State:
    entries = store.since(Position(head.store_id, head.epoch, 0, b""))
    contents = {key: _content(store.get(key)) for key in _keys(store.query_keys())}
    return State(contents, [(entry.key, entry.action, entry.last) for entry in entries])


def _keys(keys: Iterable[str]) -> list[str]:
    return sorted(keys)


def _content(value: Any) -> tuple[bytes, dict[str, Any]]:
    with value.data as stream:
        return stream.read(), value.metadata
