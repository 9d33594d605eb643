"""Stores as the store server opens them."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from patience import wait_until
from services.store_server.opened import OpenedStore

#: Seconds that anything here may take.
DEADLINE_S = 10.0


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("memory:", "notes"),
        ("memory:?origin=letters", "letters"),
        ("redis://localhost/0?namespace=catalogue", "catalogue"),
    ],
)
def test_events_are_routed_by_the_name_of_the_store(url: str, origin: str) -> None:
    """As those who listen for a store expect; a name of the URL's wins."""
    opened = OpenedStore("notes", url, None)

    assert origin == opened.store.info()["origin"]


def test_a_thread_that_has_ended_is_noticed() -> None:
    """A store that nobody looks after any more is told, unless it was to be so."""
    opened = OpenedStore("catalogue", "memory:", None)
    assert opened.is_alive()
    opened.start()
    assert opened.is_alive()
    opened.stop()
    assert opened.is_alive()
    opened._stopping.clear()

    assert not opened.is_alive()


def test_a_store_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its own timeout raises, /readyz says that it does not answer, and since when."""
    monkeypatch.setattr("services.store_server.opened._CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr("services.store_server.opened._ANSWER_WITHIN_S", 0.1)
    opened = OpenedStore("catalogue", "memory:", None)
    store: Any = opened.store
    hangs, goes_on = threading.Event(), threading.Event()
    answer = store.exists

    def exists(key: str) -> bool:
        if hangs.is_set():
            assert goes_on.wait(DEADLINE_S)
        return bool(answer(key))

    store.exists = exists
    opened.start()
    try:
        wait_until(lambda: opened.problem() is None, "it answers")
        hangs.set()
        wait_until(lambda: opened.problem() is not None, "the silence is noticed")
        problem = opened.problem()
        hangs.clear()
        goes_on.set()
        wait_until(lambda: opened.problem() is None, "it answers again")
    finally:
        goes_on.set()
        opened.stop()

    assert re.fullmatch(r"it has not answered for \d+ s", problem or "")
