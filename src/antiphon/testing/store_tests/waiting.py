"""The suite's part on waiting for changes."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from antiphon.errors import InvalidValue, NotConnected
from antiphon.storage.journal import Position, WaitingJournal
from antiphon.testing.store_tests.base import MakeStore, SuiteBase, value

#: Seconds that nothing here takes unless it is broken.
_LONG_S = 30.0


class Waiter:
    """A thread that waits, and what it got."""

    def __init__(self, wait: Callable[[], Position]) -> None:
        self._wait = wait
        self.got: list[Position] = []
        self.raised: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.got.append(self._wait())
        except Exception as exc:  # whoever started it looks
            self.raised.append(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether it has got nothing yet."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Return when it waits no more; fails if it does for too long."""
        self._thread.join(_LONG_S / 2)
        assert not self._thread.is_alive(), "it still waits"


class Waiting(SuiteBase):
    """``wait`` returns as soon as somebody commits, whoever it is."""

    #: Seconds after which one who waits has heard of others' commits.
    heard_within_s: ClassVar[float] = 2.0

    def test_it_can_be_waited_for(self, store: Any) -> None:
        """The store is a ``WaitingJournal``."""
        assert isinstance(store, WaitingJournal)

    def test_another_head_is_returned_at_once(self, store: Any) -> None:
        """Who is behind, or follows another history, does not wait."""
        first = store.head()
        store.set("a", value())
        head = store.head()
        begun = time.monotonic()
        others = [
            first,
            head._replace(entry_id=b"otherone"),
            head._replace(sequence=head.sequence + 5),
            head._replace(epoch=head.epoch + 1),
            head._replace(store_id=uuid.uuid4()),
        ]

        assert [head] * len(others) == [store.wait(other, _LONG_S) for other in others]
        assert time.monotonic() - begun < _LONG_S

    def test_the_time_limit_ends_it(self, store: Any) -> None:
        """With nothing new the position itself is returned, and no earlier."""
        store.set("a", value())
        head = store.head()
        begun = time.monotonic()

        assert head == store.wait(head, 0)
        assert head == store.wait(head, 0.2)
        assert 0.19 < time.monotonic() - begun < _LONG_S

    @pytest.mark.parametrize("timeout_s", [-1, float("nan"), "1", None])
    def test_a_time_limit_is_a_number(self, store: Any, timeout_s: Any) -> None:
        """What is none is refused."""
        head = store.head()

        with pytest.raises(InvalidValue):
            store.wait(head, timeout_s)

    def test_an_own_commit_ends_it(self, store: Any) -> None:
        """One thread waits without end, another one commits."""
        head = store.head()
        waiter = Waiter(lambda: store.wait(head, float("inf")))
        store.set("a", value())
        waiter.join()

        assert [store.head()] == waiter.got

    def test_a_commit_by_others_ends_it(self, store: Any, other: Any) -> None:
        """They may be in another process."""
        head = store.head()
        waiter = Waiter(lambda: store.wait(head, _LONG_S))
        begun = time.monotonic()
        other.set("a", value())
        waiter.join()

        assert [other.head()] == waiter.got
        assert time.monotonic() - begun < self.heard_within_s

    def test_every_one_who_waits_hears_of_it(self, store: Any, other: Any) -> None:
        """One commit wakes all, each where it is."""
        old = store.head()
        store.set("a", value())
        head = store.head()
        waiters = [Waiter(lambda: store.wait(head, _LONG_S)) for _ in range(5)]
        late = Waiter(lambda: store.wait(old, _LONG_S))
        late.join()
        assert all(waiter.is_waiting for waiter in waiters)
        other.delete("a")
        for waiter in waiters:
            waiter.join()

        assert [head] == late.got
        assert [[other.head()]] * 5 == [waiter.got for waiter in waiters]

    def test_no_commit_is_missed(self, store: Any, other: Any) -> None:
        """Whoever waits again and again comes to the last one, whenever they happen."""
        count = 40
        begin = store.head()

        def follow() -> Position:
            at: Position = begin
            while at.sequence < begin.sequence + count:
                at = store.wait(at, _LONG_S)
            return at

        waiter = Waiter(follow)
        for number in range(count):
            (store, other)[number % 2].set("a", value(n=number))
        waiter.join()

        assert [other.head()] == waiter.got

    def test_a_failed_write_ends_nothing(self, store: Any) -> None:
        """What was not committed is nothing new."""
        head = store.head()
        waiter = Waiter(lambda: store.wait(head, 0.2))
        with pytest.raises(KeyError):
            store.delete("a")
        waiter.join()

        assert [head] == waiter.got

    def test_it_can_be_woken(self, store: Any) -> None:
        """Who is about to stop need not wait for the end of a wait, where the store can do it."""
        if not hasattr(store, "wake"):
            return
        head = store.head()
        begun = time.monotonic()
        waiter = Waiter(lambda: store.wait(head, _LONG_S))
        # As often as it takes: it may not have begun to wait.
        while waiter.is_waiting and time.monotonic() < begun + _LONG_S / 2:
            store.wake()
            time.sleep(0.01)
        waiter.join()

        assert [head] == waiter.got
        assert time.monotonic() - begun < _LONG_S / 2
        assert head == store.wait(head, 0.01)

    def test_disconnecting_ends_it(self, make_store: MakeStore) -> None:
        """Who waits is told, and soon."""
        if not self.needs_connecting:
            return
        store = self.connected(make_store())
        head = store.head()
        waiter = Waiter(lambda: store.wait(head, float("inf")))
        assert waiter.is_waiting
        store.disconnect()
        waiter.join()

        assert [NotConnected] == [type(exc) for exc in waiter.raised]
        with pytest.raises(NotConnected):
            store.wait(head, 0)
