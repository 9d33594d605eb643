"""Stores in files.

    .venv/bin/python -m benchmarks.stores.files [--keys 100000] [--save]

The limit is two files a key, one of data and one of metadata as JSON, each
written aside, synced and renamed.  It has no commits of two files at once, no
index and so no queries, no journal, no lock.  It is filled without syncs.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import encore.events.api
import encore.storage.filesystem_store
import encore.storage.string_value
from minimalkv.fs import FilesystemStore as MinimalFilesystemStore

from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.string_value import StringValue
from benchmarks.stores import harness
from benchmarks.stores.harness import ByHand, Call, Item
from benchmarks.stores.minimal import MinimalKV


class Limit(ByHand):
    """Two files a key."""

    name = "by hand"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = str(folder)

    def fill(self, items: Iterator[Item]) -> None:
        for item in items:
            self._set(item, synced=False)
        os.sync()

    def operations(self) -> Mapping[str, Call]:
        return {
            "set": self._set,
            "set, new key": self._set,
            "get": self._get,
            "get_metadata": self._get_metadata,
            "multiset": lambda item: [self._set(each) for each in item.bulk],
        }

    def _set(self, item: Item, *, synced: bool = True) -> None:
        path = f"{self._folder}/{quote(item.key, safe='')}"
        _replace(f"{path}.data", item.data, synced=synced)
        _replace(f"{path}.metadata", json.dumps(item.metadata).encode(), synced=synced)

    def _get(self, item: Item) -> object:
        path = f"{self._folder}/{quote(item.key, safe='')}"
        with open(f"{path}.data", "rb") as stream:
            data = stream.read()
        return data, self._get_metadata(item)

    def _get_metadata(self, item: Item) -> object:
        path = f"{self._folder}/{quote(item.key, safe='')}"
        with open(f"{path}.metadata", "rb") as stream:
            return json.loads(stream.read())

    def close(self) -> None:
        pass


def _replace(path: str, content: bytes, *, synced: bool) -> None:
    aside = f"{path}.new"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        os.write(fd, content)
        if synced:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(aside, path)


class Encore(harness.StoreContender):
    """Encore's store, in which a key with a slash needs a directory."""

    def prepare(self, operation: str, item: Item) -> object:
        return super().prepare(operation, _flat(item))

    def fill(self, items: Iterator[Item]) -> None:
        super().fill(map(_flat, items))


def _flat(item: Item) -> Item:
    bulk = tuple(map(_flat, item.bulk))
    return Item(item.key.replace("/", "."), item.data, item.metadata, item.group, bulk)


def contenders(keys: int) -> list[harness.Contender]:
    """Return those who take part."""
    folder = harness.scratch_folder()
    minimal = folder / "minimalkv"
    minimal.mkdir()
    for name in ("ours", "lazy", "theirs"):
        init_shared_store(folder / name)
    ours = FileSystemStore(folder / "ours")
    lazy = FileSystemStore(folder / "lazy", durable=False)
    theirs = encore.storage.filesystem_store.FileSystemStore(str(folder / "theirs"))
    theirs.event_manager = encore.events.api.EventManager()
    for store in (ours, lazy, theirs):
        store.connect()
    return [
        Limit(folder / "limit"),
        harness.StoreContender("Antiphon", ours, StringValue),
        harness.StoreContender("not durable", lazy, StringValue),
        Encore("Encore", theirs, encore.storage.string_value.StringValue),
        MinimalKV(MinimalFilesystemStore(str(minimal))),
    ]


def main() -> None:
    """Measure."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("encore", "minimalkv")
    )
    harness.main(
        "files",
        contenders,
        harness.operations(set=0.7, get=0.8),
        libraries=f"Antiphon this commit, {versions}",
        remarks=[
            "The limit: two files a key, each written aside, synced and renamed.  It has no",
            "index, so no query.  Antiphon is to answer 1,000 queries a second: query_keys and",
            f"query find {harness.HITS} keys each.  Encore and minimalkv sync nothing, and Encore",
            "writes in place; 'not durable' is Antiphon's durable=False, which is as they are",
            "about power cuts.",
        ],
        keys=100_000,
    )


if __name__ == "__main__":
    main()
