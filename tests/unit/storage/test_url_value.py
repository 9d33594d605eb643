"""Values behind URLs, and an index that is fetched again: with files, which need no server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import AuthorizationError, KeyNotFound
from antiphon.events.api import EventManager
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.static_url_store import StaticURLStore
from antiphon.storage.url_value import URLValue


@pytest.fixture
def url(tmp_path: Path) -> str:
    """URL of a file."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    os.utime(path, (1e9, 1e9))
    return path.as_uri()


def test_a_url_value_reads_when_it_is_asked(url: str, tmp_path: Path) -> None:
    """One stream, any number of ranges, and metadata that are a copy."""
    given = {"n": 1}
    value = URLValue(url, given)
    given["n"] = 2
    value.metadata["m"] = 3
    for start, end in [(None, None), (2, 5), (-3, None), (None, -3), (5, 2), (8, 99)]:
        with value.range(start, end) as stream:
            assert b"0123456789"[start:end] == stream.read()
    with value.data as stream:
        assert b"01" == stream.read(2)
        assert value.data is stream
        assert [b"2345", b"6789"] == list(value.iterdata(4))
    with URLValue(url).open() as stream:
        assert b"0123456789" == stream.read()

    assert {"n": 1} == value.metadata
    assert {} == URLValue(url).metadata


def test_a_url_value_knows_what_the_answer_says(url: str) -> None:
    """Size and time of the last change; when it was created nobody says."""
    value = URLValue(url)
    with value.data:
        assert (10, 1e9, None) == (value.size, value.modified, value.created)


def test_a_url_value_has_no_permissions_and_may_not_be_there(url: str) -> None:
    """Errors as those of a key."""
    with pytest.raises(AuthorizationError):
        URLValue(url).permissions
    with pytest.raises(KeyNotFound):
        URLValue(url + "-none").data


def test_updating_the_index_tells_the_differences(tmp_path: Path) -> None:
    """Set, update and delete events, with metadata, only for what differs; then it is known."""

    def publish(index: dict[str, dict[str, Any]]) -> None:
        (tmp_path / "index.json").write_text(json.dumps(index))

    publish({"same": {"n": 1}, "changed": {"n": 1}, "gone": {"n": 1}})
    store = StaticURLStore(tmp_path.as_uri() + "/", "data/", "index.json", poll=0)
    store.event_manager = EventManager()
    events: list[Any] = []

    def hear(event: Any) -> None:
        events.append((event.action, event.key, event.metadata))

    store.event_manager.connect(StoreModificationEvent, hear)
    with store:
        store.update_index()
        assert [] == events
        publish({"same": {"n": 1}, "changed": {"n": 2}, "new": {"n": 3}})
        assert {"same", "changed", "gone"} == set(store.query_keys())
        store.update_index()

        assert {"same", "changed", "new"} == set(store.query_keys())
        assert [
            ("delete", "gone", {"n": 1}),
            ("set", "new", {"n": 3}),
            ("update", "changed", {"n": 2}),
        ] == sorted(events, key=lambda event: event[0])
