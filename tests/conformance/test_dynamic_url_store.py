"""Stores behind HTTP pass the suite: on Antiphon's own server, and on one that knows the manual."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_suite import (
    Concurrency,
    Content,
    Hostile,
    Journalling,
    MakeStore,
    Progressing,
    Reading,
    Seed,
    Streaming,
    Telling,
    Versioning,
    Waiting,
    Writing,
)
from http_media import Web, client, running_web
from web_server import running


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """One server for all tests; each has a store of its own on it."""
    with running_web() as web:
        yield web


class TestOverSqlite(
    Reading,
    Writing,
    Streaming,
    Hostile,
    Telling,
    Progressing,
    Concurrency,
    Versioning,
    Journalling,
    Waiting,
):
    """A sqlite store, served: all but transactions, which HTTP has none of."""

    @pytest.fixture
    def make_store(self, web: Web, tmp_path: Path) -> Iterator[MakeStore]:
        """All stores of a test talk to one server."""
        with web.serving(SqliteStore(tmp_path / "store.db", durable=False)) as url:
            yield lambda: client(url)

    @pytest.fixture
    def seed(self, store: Any, tmp_path: Path) -> Seed:
        """Straight into the database, past client and server: thousands of keys take no time."""

        def put(contents: Content) -> None:
            with SqliteStore(tmp_path / "store.db", durable=False) as raw:
                raw.multiset(contents, [StringValue(*value) for value in contents.values()])

        return put


class TestOverPlainServer(Reading, Writing, Streaming, Telling, Progressing):
    """A server that knows the manual's protocol and nothing else."""

    @pytest.fixture
    def make_store(self) -> Iterator[MakeStore]:
        """All stores of a test talk to one server."""
        with running() as web:
            yield lambda: client(web.url)

    def test_a_value_knows_size_and_times(self, store: Any, seed: Any) -> None:  # type: ignore[override]
        """The manual's protocol tells the size and when it was changed, nothing else."""
        seed({"a": (b"three", {})})
        value = store.get("a")

        assert (5, None, 784903526.0) == (value.size, value.created, value.modified)
        assert value.version is None

    def test_a_large_result_is_not_collected(self, store: Any, seed: Any) -> None:
        """Metadata are asked for one by one, each when its turn has come."""
        seed({f"k{number}": (b"", {"n": 1}) for number in range(50)})
        found = store.query(n=1)
        next(found)
        store.update_metadata("k49", {"m": 2})

        assert {"n": 1, "m": 2} == dict(found)["k49"]

    def test_keys_may_be_changed_while_a_query_is_read(self, store: Any) -> None:
        """What is there all the while is found once; what was deleted meanwhile is left out."""
        for number in range(20):
            store.set_metadata(f"{number:02}", {"n": 1})
        found = store.query(n=1)
        seen = [next(found)[0]]
        store.delete("19")

        assert [f"{number:02}" for number in range(19)] == seen + [key for key, _ in found]
