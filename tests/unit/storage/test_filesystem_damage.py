"""A file store whose hidden files were damaged: by a bad disk, a bad copy, or a tidy person."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import IncompatibleStore, StoreUnavailable
from antiphon.events.api import EventManager
from antiphon.storage import file_medium
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import everything, journal_of

EXPECTED: dict[str, Any] = {f"key {n}": (b"data %d" % n, {"n": n}) for n in range(4, 14)}


def connected(path: Path) -> FileSystemStore:
    """Return a connected store with an event manager of its own."""
    store = FileSystemStore(path, durable=False)
    store.event_manager = EventManager()
    store.connect()
    return store


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a store in the second generation of its log."""
    monkeypatch.setattr(file_medium, "CHECKPOINT_BYTES", 1000)
    monkeypatch.setattr(file_medium, "sync_all", lambda layout, log, end: None)
    path = tmp_path / "store"
    init_shared_store(path)
    with connected(path) as store:
        for key, (data, metadata) in EXPECTED.items():
            store.set(key, StringValue(b"old" * 5))
            store.set(key, StringValue(data, metadata))
        # Beside the log, for it grows to half of the snapshot.
        monkeypatch.undo()
        for key, (data, metadata) in EXPECTED.items():
            store.set(key, StringValue(b"older", {"n": 0}))
            store.set(key, StringValue(data, metadata))
    return path


def log_of(path: Path) -> Path:
    """Return the log of the store."""
    (log,) = (path / ".antiphon").glob("log-*")
    return log


def cut(log: Path) -> None:
    """Take away the second half."""
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def flip(log: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip])
def test_a_damaged_log_takes_no_data_with_it(path: Path, damage: Callable[[Path], None]) -> None:
    """What it does not say any more is taken from the files, as others' changes."""
    damage(log_of(path))

    with connected(path) as store:
        assert EXPECTED == everything(store)
        entries = journal_of(store)
        assert list(range(1, len(entries) + 1)) == [entry.version.sequence for entry in entries]
        store.set("new", StringValue(b"new"))
        assert 0 == store.rescan()
    with connected(path) as again:
        assert {**EXPECTED, "new": (b"new", {})} == everything(again)


def test_a_store_in_use_does_not_cut_a_damaged_log(path: Path) -> None:
    """It says that connecting repairs it, and it does."""
    with connected(path) as store:
        cut(log_of(path))
        with pytest.raises(StoreUnavailable, match="connect again, which repairs it"):
            store.set("new", StringValue(b"new"))
        store.disconnect()
        store.connect()
        store.set("new", StringValue(b"new"))

        assert {**EXPECTED, "new": (b"new", {})} == everything(store)


def test_after_a_power_cut_files_are_compared_with_the_index(path: Path) -> None:
    """The end of the log may be lost where the files that it was about are not."""
    log = log_of(path)
    before = log.read_bytes()
    with connected(path) as store:
        store.delete("key 4")
        store.set("new", StringValue(b"new", {"n": 20}))
    log.write_bytes(before)
    (path / ".antiphon" / "boot").write_bytes(b"another")

    with connected(path) as store:
        assert {"new"} == set(store.query_keys(n=20))
        found = dict(everything(store))
        assert found == dict(everything(store))
        assert 0 == store.rescan()


def test_whatever_is_damaged_the_error_says_how_to_go_on(path: Path) -> None:
    """Connecting repairs it, or tells what to remove; then all keys are there."""
    pick = random.Random(5)
    names = ["mark", log_of(path).name, log_of(path).name.replace("log", "snapshot"), "boot"]
    refused = 0
    for _ in range(60):
        copy = path.with_name("copy")
        shutil.copytree(path, copy)
        file = copy / ".antiphon" / pick.choice(names)
        content = bytearray(file.read_bytes())
        match pick.randrange(4):
            case 0:
                file.unlink()
            case 1:
                file.write_bytes(content[: pick.randrange(len(content))])
            case 2:
                content[pick.randrange(len(content))] ^= 1 << pick.randrange(8)
                file.write_bytes(content)
            case _:
                file.write_bytes(pick.randbytes(len(content)))
        try:
            store = connected(copy)
        except IncompatibleStore as exc:
            told = str(exc)
            refused += f"{copy}/.antiphon" in told and "or remove it whole" in told
            shutil.rmtree(copy / ".antiphon")
            store = connected(copy)
        with store:
            assert EXPECTED == everything(store)
        shutil.rmtree(copy)
    assert 0 < refused < 60


def test_an_identity_of_odd_types_is_refused(path: Path) -> None:
    """As one that is no JSON is."""
    for text in ('{"format": 1, "store_id": 5, "system": null}', "[" * 100_000, "[1]"):
        (path / ".antiphon" / "identity.json").write_text(text)
        with pytest.raises(IncompatibleStore, match=r"identity\.json cannot be read"):
            connected(path)
