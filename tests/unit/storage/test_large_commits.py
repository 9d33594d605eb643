"""A commit that is larger than the journal: readers find everything, or that it is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import open_store
from antiphon.errors import PositionLost
from antiphon.events.api import EventManager
from antiphon.storage import dict_memory_store
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.string_value import StringValue

KEPT, CHANGED = 50, 400


@pytest.fixture(params=["memory", "sqlite", "files"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A store whose journal is short."""
    monkeypatch.setattr(dict_memory_store, "JOURNAL_ENTRIES", KEPT)
    urls = {
        "memory": "memory:",
        "sqlite": f"sqlite:///{tmp_path}/store.db?journal_length={KEPT}",
        "files": f"file://{tmp_path}/files?journal_length={KEPT}",
    }
    opened: Any = open_store(urls[request.param], event_manager=EventManager())
    with opened:
        yield opened


def test_a_commit_that_is_larger_than_the_journal(store: Any) -> None:
    """All of it is there and told; the journal gives no part of it, and goes on after it."""
    told: list[str] = []
    store.event_manager.connect(StoreModificationEvent, lambda event: told.append(event.key))
    store.set("before", StringValue(b"1"))
    before = store.head()
    keys = [f"k{number:04}" for number in range(CHANGED)]
    with store.transaction():
        for key in keys:
            store.set(key, StringValue(b"1"))
    after = store.head()
    try:
        found = [entry.key for entry in store.since(before)]
    except PositionLost:
        found = []
    store.set("after", StringValue(b"1"))

    assert found in ([], keys)  # some media drop old entries only now and then
    assert ["before", *keys, "after"] == told
    assert sorted(told) == sorted(store.query_keys())
    assert (CHANGED + 1, ["after"]) == (
        after.sequence,
        [entry.key for entry in store.since(after)],
    )
