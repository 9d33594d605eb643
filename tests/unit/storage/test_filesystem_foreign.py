"""Directories of Encore's, and files that other programs or people change."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import encore.storage.filesystem_store as encore_files
import pytest
from encore.storage.string_value import StringValue as EncoreValue

from antiphon.errors import IncompatibleStore, KeyNotFound, StoreUnavailable
from antiphon.storage import file_medium
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import content, everything, journal_of, listen

#: Keys that Encore can keep, with metadata that look like marks of ours.
ENCORE = {
    "Plain": (b"plain", {"title": "x", "n": 1}),
    "two words": (b"", {}),
    "é.txt": ("é".encode(), {"é": "ü", "deep": {"x": [1, None, True, 1.5]}}),
    "%41": (b"percent", {"!bytes": "x"}),
    "A": (b"A", {"big": 2**60}),
    ".hidden": (b"hidden", {"!!": 1}),
    "below/key": (b"below", {"n": 2}),
    "large": (b"L" * 3_000_000, {"n": 1}),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory that Encore made."""
    path = tmp_path / "store"
    (path / "below").mkdir(parents=True)
    encore_files.init_shared_store(str(path))
    theirs = encore_files.FileSystemStore(str(path))
    theirs.connect()
    for key, (data, metadata) in ENCORE.items():
        theirs.set(key, EncoreValue(data, metadata))
    theirs.disconnect()
    return path


@pytest.fixture
def store(path: Path) -> Iterator[FileSystemStore]:
    """Our store on it."""
    with FileSystemStore(path) as store:
        yield store


def change(file: Path, new: bytes) -> None:
    """Write a file as another program does, some time later."""
    file.write_bytes(new)
    times = file.stat()
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 5 * 10**9))


# -- Encore --------------------------------------------------------------------


def test_all_keys_of_encore_are_there(store: FileSystemStore) -> None:
    """With data and metadata as Encore gives them, and journalled as found."""
    assert ENCORE == everything(store)
    assert {"Plain", "large"} == set(store.query_keys(n=1))
    entries = journal_of(store)
    assert set(ENCORE) == {entry.key for entry in entries}
    assert {("set", None, b"")} == {(e.action, e.event_id, e.owner) for e in entries}
    assert store.get("Plain").version is not None
    modified = store.get("Plain").modified
    assert modified is not None
    assert modified > 1.5e9


def test_opening_changes_no_file_of_encore(path: Path, store: FileSystemStore) -> None:
    """Encore can still read what nobody changed."""
    theirs = encore_files.FileSystemStore(str(path))
    theirs.connect()
    found = {}
    for key in ENCORE:
        with theirs.get_data(key) as stream:
            found[key] = stream.read(), theirs.get_metadata(key)

    assert ENCORE == found


def test_keys_of_encore_are_worked_on_in_place(path: Path, store: FileSystemStore) -> None:
    """Changed ones keep their files, deleted ones lose them, new ones get ours."""
    store.set("Plain", StringValue(b"new", {"n": 3}))
    store.set_data("below/key", io.BytesIO(b"new"))
    store.update_metadata("%41", {"n": 3})
    store.delete("A")
    store.set("a", StringValue(b"a"))
    store.set("B", StringValue(b"B"))

    assert b"new" == (path / "Plain.data").read_bytes()
    assert b"new" == (path / "below" / "key.data").read_bytes()
    assert {"!!bytes": "x", "n": 3} == json.loads((path / "%41.metadata").read_bytes())
    assert {"a.data", "%42.data"} <= set(os.listdir(path))
    assert not (path / "A.data").exists()
    expected = {
        **ENCORE, "Plain": (b"new", {"n": 3}), "below/key": (b"new", {"n": 2}),
        "%41": (b"percent", {"!bytes": "x", "n": 3}), "a": (b"a", {}), "B": (b"B", {}),
    }  # fmt: skip
    del expected["A"]
    assert expected == everything(store)
    with FileSystemStore(path) as again:
        assert expected == everything(again)
        assert 0 == again.rescan()


@pytest.mark.parametrize("later", [False, True])
def test_no_new_key_takes_the_files_of_one_of_encore(
    path: Path, store: FileSystemStore, later: bool
) -> None:
    """On a disk that ignores case neither: ``Plain.data`` would be ``plain.data``."""
    if later:
        # When the log of the opening is gone.
        assert store._parts is not None
        with store._parts.medium.locked():
            store._parts.medium.checkpoint()
    with FileSystemStore(path) as other:
        other.set("plain", StringValue(b"small"))
        other.set("%41%", StringValue(b"percents"))

    assert (b"plain", b"small") == (store.to_bytes("Plain"), store.to_bytes("plain"))
    names = [name.casefold() for name in os.listdir(path)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "text", [b"", b'{"n": 1', b"[1]", b"\xff", b'{"n": 1e999999999999999999}x']
)
def test_a_spoiled_metadata_file_concerns_its_key_only(path: Path, text: bytes) -> None:
    """The error names the file; the others can be read, searched and written."""
    (path / "Plain.metadata").write_bytes(text)
    with FileSystemStore(path) as store:
        for read in (store.get, store.get_metadata, store.get_data):
            with pytest.raises(IncompatibleStore, match=r"'Plain' .*Plain\.metadata"):
                read("Plain")
        with pytest.raises(IncompatibleStore, match=r"Plain\.metadata"):
            store.update_metadata("Plain", {"n": 2})
        assert store.exists("Plain")
        assert set(ENCORE) - {"Plain"} == {key for key, _ in store.query()}
        assert set(ENCORE) == set(store.query_keys())
        assert b"A" == store.to_bytes("A")
        assert text == (path / "Plain.metadata").read_bytes()
        store.set("Plain", StringValue(b"mended", {"n": 5}))
        assert (b"mended", {"n": 5}) == content(store, "Plain")


def test_an_interrupted_opening_is_begun_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one takes the keys as Encore's all the same."""

    def fail(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(file_medium, "write_identity", fail)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        FileSystemStore(path).connect()
    monkeypatch.undo()
    with FileSystemStore(path) as store:
        assert ENCORE == everything(store)


def test_a_mended_metadata_file_is_read_at_once(path: Path) -> None:
    """Whoever mends it need not tell."""
    (path / "Plain.metadata").write_bytes(b"{")
    with FileSystemStore(path) as store:
        with pytest.raises(IncompatibleStore):
            store.get("Plain")
        change(path / "Plain.metadata", b'{"n": 7}')

        assert (b"plain", {"n": 7}) == content(store, "Plain")
        assert ["Plain"] == list(store.query_keys(n=7))


def test_data_that_are_missing_are_none(path: Path) -> None:
    """Metadata alone are a key, as in Encore; data alone are none."""
    (path / "Plain.data").unlink()
    (path / "A.metadata").unlink()
    with FileSystemStore(path) as store:
        assert (b"", {"title": "x", "n": 1}) == content(store, "Plain")
        assert not store.exists("A")
        store.set_metadata("A", {})
        assert b"" == store.to_bytes("A")


# -- Foreign changes -----------------------------------------------------------


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[FileSystemStore]:
    """A store of our own with three keys."""
    init_shared_store(tmp_path / "ours")
    with FileSystemStore(tmp_path / "ours") as store:
        for key in "abc":
            store.set(key, StringValue(key.encode(), {"n": 1}))
        yield store


def test_a_rescan_finds_what_others_did(ours: FileSystemStore, tmp_path: Path) -> None:
    """New, changed and removed files become journal entries without event and owner."""
    path = tmp_path / "ours"
    change(path / "a.data", b"by hand")
    change(path / "b.metadata", b'{"n": 2, "by": "hand"}')
    (path / "c.metadata").unlink()
    (path / "Photo.data").write_bytes(b"photo")
    (path / "Photo.metadata").write_bytes(b"{}")
    (path / "no metadata.data").write_bytes(b"x")
    heard = listen(ours, StoreModificationEvent)
    before = ours.get("b").version

    with FileSystemStore(path) as other:
        assert 4 == other.rescan()
        assert 0 == other.rescan()
    entries = journal_of(ours)[3:]
    assert {("a", "update"), ("b", "update"), ("c", "delete"), ("Photo", "set")} == {
        (entry.key, entry.action) for entry in entries
    }
    assert {(None, b"")} == {(entry.event_id, entry.owner) for entry in entries}
    assert [False, False, False, True] == [entry.last for entry in entries]
    assert {
        "a": (b"by hand", {"n": 1}),
        "b": (b"b", {"n": 2, "by": "hand"}),
        "Photo": (b"photo", {}),
    } == everything(ours)
    assert ["b"] == list(ours.query_keys(by="hand"))
    assert before != ours.get("b").version
    assert [] == heard


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_reader_meets_changed_data_and_takes_them_up(
    ours: FileSystemStore, tmp_path: Path, how: str
) -> None:
    """A key that was changed behind the store's back has a new version once it is read."""
    file = tmp_path / "ours" / "a.data"
    before = ours.get("a").version
    if how == "replaced":
        file.unlink()
    change(file, b"by hand")
    found = ours.get("a")

    assert (b"by hand", 7) == (found.data.read(), found.size)
    assert before != found.version
    assert ours.get("a").version == found.version
    assert ("a", "update", None) == (
        journal_of(ours)[-1].key,
        journal_of(ours)[-1].action,
        journal_of(ours)[-1].event_id,
    )


def test_a_key_whose_files_were_removed_is_gone_once_it_is_read(
    ours: FileSystemStore, tmp_path: Path
) -> None:
    """And is journalled as deleted."""
    for file in (tmp_path / "ours").glob("a.*"):
        file.unlink()
    with pytest.raises(KeyNotFound):
        ours.get("a")

    assert not ours.exists("a")
    assert "delete" == journal_of(ours)[-1].action


def test_a_copied_directory_is_the_same_store(ours: FileSystemStore, tmp_path: Path) -> None:
    """Other numbers of files are no changes, if the times were copied too."""
    ours.disconnect()
    shutil.copytree(tmp_path / "ours", tmp_path / "copy")
    with FileSystemStore(tmp_path / "copy") as store:
        assert 0 == store.rescan()
        assert b"a" == store.to_bytes("a")
        assert 3 == len(journal_of(store))


def test_an_open_stream_stays_what_it_was(ours: FileSystemStore, tmp_path: Path) -> None:
    """Another program that replaces the file does not reach it."""
    ours.set("a", StringValue(b"x" * 200_000))
    with ours.get_data("a") as stream:
        begin = stream.read(10)
        (tmp_path / "ours" / "a.data").unlink()
        change(tmp_path / "ours" / "a.data", b"new")

        assert b"x" * 200_000 == begin + stream.read()


def test_a_foreign_change_survives_a_reboot(ours: FileSystemStore, tmp_path: Path) -> None:
    """What was taken up is not put back from the log."""
    path = tmp_path / "ours"
    change(path / "a.data", b"by hand")
    ours.rescan()
    ours.disconnect()
    times = (path / "a.data").stat().st_atime_ns, 10**18
    os.utime(path / "a.data", ns=times)
    (path / ".antiphon" / "boot").write_bytes(b"another")
    with FileSystemStore(path) as store:
        assert b"by hand" == store.to_bytes("a")
