"""Stores behind plain URLs pass the suite of those that can only be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.storage import metadata as codec
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.static_url_store import StaticURLStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_suite import Content, MakeStore, Peek, ReadingOnly, Seed
from http_media import Web, running_web
from web_server import PlainWeb, running


def index_of(contents: Content) -> dict[str, Any]:
    """The index of *contents*, as it is in JSON."""
    return {
        key: json.loads(codec.encode(codec.normalise(metadata)))
        for key, (_, metadata) in contents.items()
    }


class TestInDirectory(ReadingOnly):
    """Files in a directory."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """All stores of a test read one directory."""
        (tmp_path / "index.json").write_text("{}")
        root = tmp_path.as_uri() + "/"
        return lambda: StaticURLStore(root, "data/", "index.json", poll=0)

    @pytest.fixture
    def contents(self) -> dict[str, tuple[bytes, Any]]:
        """All that is there."""
        return {}

    @pytest.fixture
    def peek(self, contents: Content) -> Peek:
        """What was put there is all that is there."""
        return lambda: contents

    @pytest.fixture
    def seed(self, store: Any, tmp_path: Path, contents: dict[str, Any]) -> Seed:
        """Write files, and the index after them."""

        def put(more: Content) -> None:
            contents.update(more)
            for key, (data, _) in more.items():
                path = tmp_path / "data" / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            (tmp_path / "index.json").write_text(json.dumps(index_of(contents)))
            store.update_index()

        return put


class TestOnWebServer(ReadingOnly):
    """Files on a web server."""

    @pytest.fixture
    def files(self) -> Iterator[PlainWeb]:
        """A server with an empty index."""
        with running() as web:
            web.files["/index.json"] = ({}, b"{}")
            yield web

    @pytest.fixture
    def make_store(self, files: PlainWeb) -> MakeStore:
        """All stores of a test read from one server."""
        return lambda: StaticURLStore(f"{files.url}/", "data/", "index.json", poll=0)

    @pytest.fixture
    def contents(self) -> dict[str, tuple[bytes, Any]]:
        """All that is there."""
        return {}

    @pytest.fixture
    def peek(self, contents: Content) -> Peek:
        """What was put there is all that is there."""
        return lambda: contents

    @pytest.fixture
    def seed(self, store: Any, files: PlainWeb, contents: dict[str, Any]) -> Seed:
        """Put files on the server, and the index after them."""

        def put(more: Content) -> None:
            contents.update(more)
            for key, (data, _) in more.items():
                files.files[f"/data/{key}"] = ({}, data)
            files.files["/index.json"] = ({}, json.dumps(index_of(contents)).encode())
            store.update_index()

        return put


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """One server for all tests; each has a store of its own on it."""
    with running_web() as web:
        yield web


class TestOnAntiphonServer(ReadingOnly):
    """The static layout of Antiphon's own server."""

    @pytest.fixture
    def medium(self) -> DictMemoryStore:
        """The store that is served."""
        return DictMemoryStore()

    @pytest.fixture
    def make_store(self, web: Web, medium: DictMemoryStore) -> Iterator[MakeStore]:
        """All stores of a test talk to one server."""
        with web.serving(medium) as url:
            yield lambda: StaticURLStore(f"{url}/", "data/", "index.json", poll=0)

    @pytest.fixture
    def peek(self, medium: DictMemoryStore) -> Peek:
        """Read the store that is served."""
        return lambda: {
            key: (medium.to_bytes(key), medium.get_metadata(key)) for key in medium.query_keys()
        }

    @pytest.fixture
    def seed(self, store: Any, medium: DictMemoryStore) -> Seed:
        """Write into the store that is served."""

        def put(more: Content) -> None:
            for key, (data, metadata) in more.items():
                medium.set(key, StringValue(data, metadata))
            store.update_index()

        return put
