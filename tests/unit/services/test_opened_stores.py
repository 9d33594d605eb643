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
