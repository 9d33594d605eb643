"""A store that is known to be down costs one caller at a time its timeout."""

from __future__ import annotations

import threading

import pytest

from antiphon.errors import StoreUnavailable
from antiphon.storage.outage import HANG_S, MAX_PAUSE_S, SLOW_S, Outage


class Store:
    """A store that is down, and takes its time to say so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.takes_s = 3.0
        self.is_down = True
        self.asked = 0
        self.outage = Outage(lambda: self.now)

    def answer(self) -> str:
        self.asked += 1
        if self.is_down:
            self.now += self.takes_s
            raise StoreUnavailable("nobody there")
        return "here"

    def call(self) -> str:
        return self.outage.call(self.answer)


@pytest.fixture
def store() -> Store:
    return Store()


def fails(store: Store, told: str) -> None:
    with pytest.raises(StoreUnavailable, match=told):
        store.call()


def test_after_one_long_failure_others_fail_at_once(store: Store) -> None:
    """The reason is the same, and the store is not asked."""
    fails(store, "^nobody there$")
    before = store.now
    for _ in range(5):
        fails(store, "nobody there .that was a moment ago")

    assert (1, 5, before) == (store.asked, store.outage.spared, store.now)


def test_it_is_tried_again_after_a_pause(store: Store) -> None:
    """At its return reads fail for no longer than the pause."""
    fails(store, "nobody there")
    store.is_down = False
    store.now += MAX_PAUSE_S - 0.01
    fails(store, "a moment ago")
    store.now += 0.02

    assert "here" == store.call()
    assert store.outage.why is None
    assert "here" == store.call()


def test_one_tries_and_others_do_not_wait(store: Store) -> None:
    """While somebody finds out whether it is back, the others fail at once."""
    fails(store, "nobody there")
    store.now += MAX_PAUSE_S
    told: list[str] = []

    def while_one_tries() -> str:
        def other() -> None:
            try:
                store.call()
            except StoreUnavailable as exc:
                told.append(str(exc))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)
        return "tried"

    assert "tried" == store.outage.call(while_one_tries)
    assert ["nobody there (that was a moment ago; it is tried again soon)"] == told


def test_quick_failures_change_nothing(store: Store) -> None:
    """A refused connection costs nobody anything, and the next one may be accepted."""
    store.takes_s = SLOW_S / 2
    fails(store, "^nobody there$")
    store.is_down = False

    assert "here" == store.call()


def test_another_error_is_an_answer(store: Store) -> None:
    """A store that says that it has no such key is there."""
    fails(store, "nobody there")
    store.now += MAX_PAUSE_S

    def missing() -> str:
        raise KeyError("k")

    with pytest.raises(KeyError):
        store.outage.call(missing)
    assert store.outage.why is None


def test_a_trier_that_died_is_no_obstacle(store: Store) -> None:
    """Its thread has ended without a result; another one may try."""
    fails(store, "nobody there")
    store.now += MAX_PAUSE_S
    thread = threading.Thread(target=store.outage._take_turn)
    thread.start()
    thread.join(20)
    store.is_down = False

    assert "here" == store.call()


def test_a_store_that_hangs_is_not_waited_for_by_all(store: Store) -> None:
    """Its client's time-out may be half a minute; one call waits for that."""
    store.is_down = False
    told: list[str] = []

    def hang() -> str:
        store.now += HANG_S - 0.1
        told.append(store.call())
        store.now += 0.2
        with pytest.raises(StoreUnavailable, match="has not answered for 3 s"):
            store.call()
        return "late"

    assert "late" == store.outage.call(hang, is_small=True)
    assert ["here"] == told
    assert "here" == store.call()


def test_a_large_call_may_take_its_time(store: Store) -> None:
    """A value that takes long to come is no sign of an outage."""
    store.is_down = False

    def read() -> str:
        store.now += 10 * HANG_S
        return store.call()

    assert "here" == store.outage.call(read)
