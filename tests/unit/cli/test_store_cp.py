"""``antiphon store cp``."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from antiphon.cli import store_copier
from antiphon.cli.store_folder import Folder
from antiphon.errors import InvalidKey, StoreFull, StoreUnavailable, VersionConflict
from antiphon.storage.journal import ABSENT
from antiphon.storage.sqlite_store import SqliteStore
from tests.unit.cli.store_helpers import Scene, content, opened

#: Longer than what is held in memory.
LONG = random.Random(5).randbytes(3 << 20)

SHOP = {
    "prices/eur": (b"1.09", {"currency": "EUR", "raw": b"\0"}),
    "prices/usd": (b"1", {"currency": "USD"}),
    "logo": (LONG, {}),
    "": (b"no name", {"n": 1}),
}


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path, monkeypatch)
    scene.fill(SHOP)
    return scene


def copy(scene: Scene, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, int]:
    """Run the command, and return what it counted, without noughts."""
    capsys.readouterr()
    scene.run("cp", *arguments, "--json")
    told: dict[str, int] = json.loads(capsys.readouterr().out)
    return {name: count for name, count in told.items() if count}


def versions(url: str) -> dict[str, object]:
    """Return the versions of all keys."""
    with opened(url) as store:
        return {key: store.get(key).version for key in store.query_keys()}


@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_a_copy_is_the_same(scene: Scene, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All keys with data and metadata, in a store of whatever kind."""
    target = scene.other("copy", scheme)
    size = sum(len(data) for data, _ in SHOP.values())

    assert {"copied": 4, "copied_bytes": size} == copy(scene, capsys, scene.url, target)
    assert SHOP == content(target)


def test_what_is_the_same_is_left_alone(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """A second copy writes nothing, so nobody hears of it, but what is new."""
    target = scene.other("copy")
    copy(scene, capsys, scene.url, target)
    before = versions(target)
    changed = LONG[:-1] + bytes([LONG[-1] ^ 1])
    scene.fill({"logo": changed, "prices/usd": (b"1", {"currency": "usd"})})

    told = copy(scene, capsys, scene.url, target)
    after = versions(target)
    assert {"copied": 2, "copied_bytes": len(LONG) + 1, "same": 2} == told
    assert {"logo", "prices/usd"} == {key for key in after if after[key] != before[key]}
    assert changed == content(target)["logo"][0]


def test_a_quick_copy_reads_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Size, metadata and time tell it that nothing is to be done."""
    target = scene.other("copy")
    copy(scene, capsys, scene.url, target)
    monkeypatch.setattr(store_copier, "_all_if_small", None)

    assert {"same": 4} == copy(scene, capsys, scene.url, target, "--quick")


def test_a_quick_copy_sees_what_is_newer(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """A value of the same size that was changed after the copy is copied again."""
    target = scene.other("copy")
    copy(scene, capsys, scene.url, target)
    scene.fill({"prices/usd": (b"2", {"currency": "USD"})})

    told = copy(scene, capsys, scene.url, target, "--quick")
    assert {"copied": 1, "copied_bytes": 1, "same": 3} == told


def test_keys_that_are_there_may_be_left(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever they hold."""
    target = scene.other("copy")
    scene.run("set", target, "prices/eur", "--text", "other")

    told = copy(scene, capsys, scene.url, target, "--if-absent")
    assert (3, 1) == (told["copied"], told["present"])
    assert (b"other", {}) == content(target)["prices/eur"]


@pytest.mark.parametrize("key", ["prices/eur", "logo"])
def test_who_writes_a_key_first_keeps_it(
    scene: Scene, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that comes between the look and the write is there, too."""
    target = scene.other("copy")
    scene.run("set", target, "x", "--text", "x")
    look = store_copier.Copier._look

    def late(self: Any, name: str, value: Any) -> Any:
        result = look(self, name, value)
        if name == key:
            with opened(target) as store:
                store.set_data(key, BytesIO(b"quicker"))
        return result

    monkeypatch.setattr(store_copier.Copier, "_look", late)
    told = copy(scene, capsys, scene.url, target, "--if-absent")
    assert (3, 1) == (told["copied"], told["present"])
    assert b"quicker" == content(target)[key][0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--prefix", "prices/"], {"prices/eur", "prices/usd"}),
        (["--prefix", "prices/", "--to-prefix", "p."], {"p.eur", "p.usd"}),
        (["--filter", "currency=USD", "--to-prefix", "x/"], {"x/prices/usd"}),
        (["logo", ""], {"logo", ""}),
    ],
)
def test_keys_are_chosen_and_renamed(
    scene: Scene, arguments: list[str], expected: set[str]
) -> None:
    """By prefix, by metadata or by name."""
    target = scene.other("copy")

    assert 0 == scene.run("cp", scene.url, target, *arguments)
    assert expected == set(content(target))


def test_a_store_is_copied_into_itself(scene: Scene) -> None:
    """Copies of copies are not made."""
    assert 0 == scene.run(
        "cp", scene.url, scene.url, "--prefix", "prices/", "--to-prefix", "prices/o/"
    )
    assert {*SHOP, "prices/o/eur", "prices/o/usd"} == set(content(scene.url))


def test_a_missing_key_that_is_named_stops_all(scene: Scene) -> None:
    """Nothing is copied then, and no store is made."""
    assert 3 == scene.run("cp", scene.url, scene.other("copy"), "logo", "none")
    assert ["shop.db"] == os.listdir(scene.folder)


@pytest.mark.parametrize("is_source", [True, False])
def test_one_file_is_no_folder(
    scene: Scene, capsys: pytest.CaptureFixture[str], is_source: bool
) -> None:
    """Who means the value of one key is told how that is done."""
    file = f"{scene.folder}/note.txt"
    with open(file, "w", encoding="utf-8") as stream:
        stream.write("hello")

    assert 2 == scene.run("cp", *((file, scene.url) if is_source else (scene.url, file)))
    assert f"'{file}' is a file, and cp copies stores and folders" in capsys.readouterr().err
    with open(file, encoding="utf-8") as stream:
        assert "hello" == stream.read()


def test_files_are_not_found_by_metadata(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Who asks for that gets an error, and not nothing."""
    assert 2 == scene.run("cp", scene.folder, scene.url, "--filter", "n=1")
    assert "files have no metadata" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """It names what would be written."""
    target = scene.other("copy")
    scene.run("set", target, "logo", "--text", "x")
    before = content(target)
    capsys.readouterr()

    assert 0 == scene.run("cp", scene.url, target, "--prefix", "prices/", "--dry-run")
    assert before == content(target)
    told = set(capsys.readouterr().out.splitlines())
    assert {"would copy prices/eur", "would copy prices/usd", "would copy 2 keys, 5 B"} == told


@pytest.mark.parametrize("options", [[], ["--if-absent"]])
def test_far_stores_are_asked_for_several_keys_at_once(
    scene: Scene,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each key is copied once, and counted once, whichever thread it falls to."""
    scene.fill({f"many/{number}": bytes([number]) for number in range(200)})
    folder = scene.folder / "out"
    at_once: list[int] = []
    write = Folder.set

    def set_(self: Folder, *arguments: Any, **options: Any) -> Any:
        at_once.append(sum(t.name.startswith("antiphon-copy") for t in threading.enumerate()))
        return write(self, *arguments, **options)

    monkeypatch.setattr(Folder, "set", set_)
    monkeypatch.setattr(store_copier, "_is_near", lambda store: False)
    told = copy(scene, capsys, scene.url, str(folder), *options)

    assert (203, 1) == (told["copied"], told["failed"])
    assert len(at_once) == 203
    assert 1 < max(at_once) <= store_copier.JOBS
    assert all((folder / f"many/{n}").read_bytes() == bytes([n]) for n in range(200))


#: Runs a command that is killed when it begins its third commit.
KILLED = """
import os, signal, sys
from antiphon.cli.main import run
from antiphon.storage.filesystem_store import FileSystemStore
commit, commits = FileSystemStore._commit, []
def dying(self, changes):
    commits.append(changes)
    if len(commits) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return commit(self, changes)
FileSystemStore._commit = dying
run(["store", *sys.argv[1:]])
"""


def test_a_copy_that_was_killed_goes_on(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in the target is whole, and is not written again."""
    scene.fill({f"many/{number}": LONG[:5000] for number in range(500)})
    target = scene.other("copy", "file")
    killed = subprocess.run([sys.executable, "-c", KILLED, "cp", scene.url, target], check=False)
    all_of_it = content(scene.url)
    done = content(target)

    assert -signal.SIGKILL == killed.returncode
    assert 0 < len(done) < len(all_of_it)
    assert all(all_of_it[key] == value for key, value in done.items())
    told = copy(scene, capsys, scene.url, target)
    assert (len(all_of_it) - len(done), len(done)) == (told["copied"], told["same"])
    assert all_of_it == content(target)


def test_a_store_that_goes_away_ends_the_copy(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said how far it came; the same command goes on."""

    def fail(self: SqliteStore, *_: object) -> None:
        raise StoreUnavailable("the disk is gone")

    target = scene.other("copy", "file")
    scene.run("cp", scene.url, target, "prices/eur", "prices/usd")
    monkeypatch.setattr("antiphon.storage.filesystem_store.FileSystemStore._stage", fail)

    assert 1 == scene.run("cp", scene.url, target)
    told = capsys.readouterr().err
    assert "of 4 keys are there; the same command goes on" in told
    assert "antiphon: the disk is gone" in told


@pytest.mark.parametrize("keys", [[], ["prices/eur", "logo"]])
def test_one_key_that_cannot_be_copied_does_not_stop_the_rest(
    scene: Scene,
    keys: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is named, with the reason, and makes the status 1."""
    set_ = SqliteStore.set

    def refuse(self: SqliteStore, key: str, *arguments: Any, **options: Any) -> Any:
        if key == "prices/eur":
            raise InvalidKey("no euros here")
        return set_(self, key, *arguments, **options)

    target = scene.other("copy")
    monkeypatch.setattr(SqliteStore, "set", refuse)

    assert 1 == scene.run("cp", scene.url, target, *keys)
    assert "not copied: prices/eur: no euros here" in capsys.readouterr().err
    assert set(keys or SHOP) - {"prices/eur"} == content(target).keys()


# -- Folders --------------------------------------------------------------------


def test_a_folder_and_back(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Paths are keys; what no file can have is told; metadata in a store stay."""
    folder = scene.folder / "out"
    assert 1 == scene.run("cp", scene.url, folder)
    assert "not copied: : no file below" in capsys.readouterr().err
    assert (b"1.09", LONG) == ((folder / "prices/eur").read_bytes(), (folder / "logo").read_bytes())

    (folder / "prices/eur").write_bytes(b"1.10")
    told = copy(scene, capsys, str(folder), scene.url)
    assert {"copied": 1, "copied_bytes": 4, "same": 2} == told
    assert (b"1.10", SHOP["prices/eur"][1]) == content(scene.url)["prices/eur"]


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../x", "a/../../x", "/etc/x", "a//b", "a/", "a\0b"]
)
def test_no_key_leads_out_of_a_folder(tmp_path: Path, key: str) -> None:
    """Nor is one changed into another."""
    with Folder(str(tmp_path / "in"), makes=True) as folder, pytest.raises(InvalidKey):
        folder.set(key, (BytesIO(b"x"), {}))

    assert [["in"], []] == [os.listdir(tmp_path), os.listdir(tmp_path / "in")]


def test_a_file_and_a_folder_of_one_name(tmp_path: Path) -> None:
    """The first one stays; nothing else is left there."""
    with Folder(str(tmp_path)) as folder:
        folder.set("a", (BytesIO(b"1"), {}))
        folder.set("b/c", (BytesIO(b"2"), {}))
        for key in ("a/b", "b", "x" * 300):
            with pytest.raises(InvalidKey):
                folder.set(key, (BytesIO(b"3"), {}))

        assert ["a", "b/c"] == list(folder.query_keys())
        assert {"a", "b"} == set(os.listdir(tmp_path))


def test_a_condition_of_a_folder(tmp_path: Path) -> None:
    """What is there is not replaced."""
    with Folder(str(tmp_path)) as folder:
        folder.set("a", (BytesIO(b"1"), {}), expect=ABSENT)
        with pytest.raises(VersionConflict):
            folder.set("a", (BytesIO(b"2"), {}), expect=ABSENT)

    assert b"1" == (tmp_path / "a").read_bytes()
    assert ["a"] == os.listdir(tmp_path)


def test_leftovers_are_removed_once_their_writer_is_dead(tmp_path: Path) -> None:
    """A file that another process is writing stays; neither is a key."""
    with Folder(str(tmp_path)) as folder, folder._temporary() as (_, living):
        (tmp_path / ".antiphon-dead").write_bytes(b"half")
        with Folder(str(tmp_path), makes=True) as other:
            assert [os.path.basename(living)] == os.listdir(tmp_path)
            assert [] == list(other.query_keys())


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is what it was."""

    class Full:
        def read(self, size: int = -1) -> bytes:
            raise OSError(28, "No space left on device")

    with Folder(str(tmp_path)) as folder:
        folder.set("a", (BytesIO(b"1"), {}))
        with pytest.raises(StoreFull):
            folder.set("a", (Full(), {}))

    assert {"a": b"1"} == {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
