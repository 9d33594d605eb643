"""Stores by URL."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import AntiphonError, InvalidURL, UnknownScheme
from antiphon.events.api import EventManager, get_event_manager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.opening import open_store, stores
from antiphon.storage.sqlite_store import SqliteStore


def test_a_memory_store_opens() -> None:
    """Not connected, with the global event manager and no origin."""
    store = open_store("memory:")

    assert isinstance(store, DictMemoryStore)
    assert (False, None) == (store.is_connected(), store.origin)
    assert store.event_manager is get_event_manager()


def test_an_event_manager_can_be_given() -> None:
    """It is the store's from the start."""
    manager = EventManager()

    assert open_store("memory:", event_manager=manager).event_manager is manager


def test_a_url_is_no_event_manager() -> None:
    """It is refused at once, not when the first event is emitted; its password is not shown."""
    manager: Any = "amqp://me:hunter2@localhost"

    with pytest.raises(InvalidURL, match=r"open_bus\(url\).*amqp://me:\*\*\*@localhost"):
        open_store("memory:", event_manager=manager)


def test_an_origin_can_be_given() -> None:
    """In the URL, or as an option, which wins."""
    origins = [
        open_store("memory:?origin=a.b").origin,  # type: ignore[attr-defined]
        open_store("memory:?origin=a.b", origin="c").origin,  # type: ignore[attr-defined]
        open_store("sqlite::memory:?origin=a").origin,  # type: ignore[attr-defined]
    ]

    assert ["a.b", "c", "a"] == origins


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("sqlite:///var/data/x.db", "/var/data/x.db"),
        ("sqlite:////var/data/x.db", "/var/data/x.db"),
        ("sqlite:x.db", "x.db"),
        ("sqlite:dir/x.db", "dir/x.db"),
        ("sqlite::memory:", ":memory:"),
        ("sqlite:///a%20b%3F%23.db", "/a b?#.db"),
    ],
)
def test_a_sqlite_store_opens(url: str, location: str) -> None:
    """With absolute and relative paths."""
    store = open_store(url)

    assert isinstance(store, SqliteStore)
    assert (location, "store") == (store.location, store.table)


def test_parameters_of_a_sqlite_store_are_read() -> None:
    """All of its constructor's, by the same names."""
    url = (
        "sqlite:///x?table=my%20table&index=static&index_columns=a,b&timeout_s=1.5&durable=no"
        "&journal_length=7"
    )
    store: Any = open_store(url, journal_length=9)

    assert ("my table", {"a", "b"}) == (store.table, store.index_columns)
    assert ("static", 1.5, False, 9) == (
        store._index, store._timeout_s, store._durable, store._journal_length
    )  # fmt: skip
    assert open_store("sqlite:///x?index=none")._index is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("sqlite://x.db", "three slashes"),
        ("sqlite:", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a%00b", "names no file"),
        ("sqlite:///x?tabel=y", "'tabel'.*known: table"),
        ("sqlite:///x?table=a&table=b", "twice"),
        ("sqlite:///x?timeout_s=soon", "timeout_s='soon'"),
        ("sqlite:///x?durable=perhaps", "yes or no"),
        ("sqlite:///x?index=some", "index"),
        ("sqlite:///x?journal_length=0", "journal_length"),
        ("sqlite:///x#y", "%23"),
        ("memory://name", "no name or place"),
        ("memory:name", "no name or place"),
        ("memory:?size=5", "'size'.*known: origin"),
    ],
)
def test_a_url_that_makes_no_sense_says_what_would(url: str, hint: str) -> None:
    """One error of ours, with the part that is wrong."""
    with pytest.raises(InvalidURL, match=hint) as caught:
        open_store(url)
    assert isinstance(caught.value, AntiphonError)


@pytest.mark.parametrize(
    "url", ["memory:", "sqlite::memory:", "redis:", "file:x", "static+http://h", "dynamic+http://h"]
)
def test_an_unknown_option_names_those_that_are_known(url: str) -> None:
    """An option beside the URL is checked as one in it is."""
    with pytest.raises(InvalidURL, match=r"unknown option 'nmespace'.*known: .*origin"):
        open_store(url, nmespace="x")


def test_an_unknown_scheme_names_those_that_are_known() -> None:
    """And the one that may have been meant."""
    with pytest.raises(UnknownScheme, match=r"known: .*memory, redis.*did you mean 'sqlite'"):
        open_store("sqllite:///x")


def test_another_distribution_adds_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a name and a callable that gets the URL and the options."""
    module = types.ModuleType("mystores")
    module.from_url = lambda url, size: DictMemoryStore(origin=f"{url} {size}")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mystores", module)
    monkeypatch.setitem(stores._builtin, "mine", "mystores:from_url")

    assert "mine:x 5" == open_store("mine:x", size=5).origin  # type: ignore[attr-defined]


def test_a_store_opened_by_url_works(tmp_path: Path) -> None:
    """As a context manager, too."""
    with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        store.from_bytes("a", b"data")

        assert b"data" == store.to_bytes("a")
    assert (tmp_path / "store.db").exists()
