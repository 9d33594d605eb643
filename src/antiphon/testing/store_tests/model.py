"""A store against a dictionary: random histories, written and checked by Hypothesis."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import contextlib
import io
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from antiphon.storage.events import StoreModificationEvent
from antiphon.testing.store_tests.base import MakeStore, SuiteBase, everything, journal_of, listen
from antiphon.testing.store_tests.strategies import items

#: Histories tried, and steps of each, unless the caller says otherwise.
EXAMPLES, STEPS = 12, 25

_keys = st.sampled_from(["", "a", "b", "a/b", "ü\n\x00", "%_*"])
_data = st.sampled_from([b"", b"x", b"\x00\xff" * 40, b"y" * ((1 << 20) + 3)])
_metadata = st.dictionaries(st.sampled_from(["x", "y", "X", "!z", "a b"]), items, max_size=3)

_Model = dict[str, tuple[bytes, dict[str, Any]]]


class StoreMachine(RuleBasedStateMachine):
    """One random history; ``make_store`` gives a fresh connected store for each."""

    make_store: Callable[[], Any]
    emitter: Callable[[Any], Any]
    transacts: bool
    journals: bool

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).make_store()
        self.events = listen(type(self).emitter(self.store), StoreModificationEvent)
        self.model: _Model = {}
        self.committed: _Model = {}
        self.block: contextlib.AbstractContextManager[Any] | None = None

    def teardown(self) -> None:
        if self.block is not None:
            self.block.__exit__(None, None, None)
        self.store.disconnect()

    @rule(key=_keys, data=_data, metadata=_metadata)
    def set(self, key: str, data: bytes, metadata: dict[str, Any]) -> None:
        self.store.set(key, (io.BytesIO(data), metadata))
        self.model[key] = (data, metadata)

    @rule(key=_keys, data=_data)
    def set_data(self, key: str, data: bytes) -> None:
        self.store.set_data(key, io.BytesIO(data))
        self.model[key] = (data, self.model.get(key, (b"", {}))[1])

    @rule(key=_keys, metadata=_metadata)
    def set_metadata(self, key: str, metadata: dict[str, Any]) -> None:
        self.store.set_metadata(key, metadata)
        self.model[key] = (self.model.get(key, (b"", {}))[0], metadata)

    @rule(key=_keys, metadata=_metadata)
    def update_metadata(self, key: str, metadata: dict[str, Any]) -> None:
        if self._refused(key, lambda: self.store.update_metadata(key, metadata)):
            return
        data, before = self.model[key]
        self.model[key] = (data, {**before, **metadata})

    @rule(key=_keys)
    def delete(self, key: str) -> None:
        if not self._refused(key, lambda: self.store.delete(key)):
            del self.model[key]

    def _refused(self, key: str, change: Callable[[], object]) -> bool:
        try:
            change()
        except KeyError:
            assert key not in self.model
            return True
        assert key in self.model
        return False

    @precondition(lambda self: self.transacts and self.block is None)
    @rule()
    def begin(self) -> None:
        self.committed = dict(self.model)
        self.block = self.store.transaction("model")
        self.block.__enter__()

    @precondition(lambda self: self.block is not None)
    @rule(fail=st.booleans())
    def end(self, fail: bool) -> None:
        block, self.block = self.block, None
        assert block is not None
        error = ValueError("roll back") if fail else None
        block.__exit__(type(error) if error else None, error, None)
        if fail:
            self.model = self.committed

    @rule(metadata=_metadata)
    def query(self, metadata: dict[str, Any]) -> None:
        conditions = dict(list(metadata.items())[:1])
        found = dict(self.store.query(**conditions))
        assert found == {
            key: held
            for key, (_, held) in self.model.items()
            if all(repr(held.get(name, ...)) == repr(item) for name, item in conditions.items())
        }

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert self.model == everything(self.store)

    @precondition(lambda self: self.journals)
    @invariant()
    def tells_what_the_journal_has(self) -> None:
        entries = journal_of(self.store)
        assert [e.event_id for e in entries] == [e._event_id for e in self.events]
        assert list(range(1, len(entries) + 1)) == [e.version.sequence for e in entries]


def check_against_model(
    suite: SuiteBase,
    make_store: MakeStore,
    *,
    transacts: bool = True,
    journals: bool = True,
    examples: int = EXAMPLES,
    steps: int = STEPS,
) -> None:
    """Try random histories; ``AssertionError`` with the shortest wrong one found.

    Args:
        suite: connects stores, and says which one emits.
        make_store: returns an unconnected store on a fresh, empty medium.
        transacts: whether the store has transactions.
        journals: whether it has a journal.
        examples: histories to try.
        steps: steps of each.
    """
    attributes = {
        "make_store": staticmethod(lambda: suite.connected(make_store())),
        "emitter": staticmethod(suite.emitter),
        "transacts": transacts,
        "journals": journals,
    }
    run_machine(
        type("Machine", (StoreMachine,), attributes),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
