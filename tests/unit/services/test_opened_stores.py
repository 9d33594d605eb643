"""Stores as the store server opens them."""

from __future__ import annotations

import pytest

from services.store_server.opened import OpenedStore


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
