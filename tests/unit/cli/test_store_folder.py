"""A folder of files that others change while it is an end of a copy."""

from __future__ import annotations

import fcntl
import os
import shutil
from io import BytesIO
from pathlib import Path

import pytest

from antiphon.cli.store_folder import Folder
from antiphon.errors import KeyNotFound
from tests.unit.cli.store_helpers import Scene


@pytest.mark.parametrize("key", ["x" * 300, "loop/a", "\ud800", "file/below"])
def test_what_no_file_can_be_called_is_not_there(tmp_path: Path, key: str) -> None:
    """A look at it ends no copy: whether it can be written is seen when it is."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"1")

    with Folder(str(tmp_path)) as folder, pytest.raises(KeyNotFound):
        folder.get(key)


def test_one_key_that_is_too_long_does_not_stop_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, and the others are files."""
    scene = Scene(tmp_path, monkeypatch)
    scene.fill({"x" * 300: b"1", "a": b"2", "z": b"3"})

    status = scene.run("cp", scene.url, f"{tmp_path}/out")

    assert 1 == status
    assert "not copied: xxx" in capsys.readouterr().err
    assert ["a", "z"] == sorted(os.listdir(tmp_path / "out"))


def test_a_folder_may_go_while_its_files_are_listed(tmp_path: Path) -> None:
    """The keys in it are gone, and the others are told."""
    for name in ("a/1", "b/2", "c/3"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"1")
    with Folder(str(tmp_path)) as folder:
        keys = folder.query_keys()
        first = next(keys)
        shutil.rmtree(tmp_path / "b")

        assert ["a/1", "c/3"] == [first, *keys]


def test_the_folder_itself_may_not_go(tmp_path: Path) -> None:
    """No keys would look as if there had been none."""
    where = tmp_path / "in"
    where.mkdir()
    with Folder(str(where)) as folder:
        where.rmdir()

        with pytest.raises(FileNotFoundError):
            list(folder.query_keys())


def test_a_file_that_went_after_the_look_is_a_key_that_is_gone(tmp_path: Path) -> None:
    """Whoever copies goes on with the next one."""
    (tmp_path / "a").write_bytes(b"1")
    with Folder(str(tmp_path)) as folder:
        value = folder.get("a")
        (tmp_path / "a").unlink()

        with pytest.raises(KeyNotFound):
            _ = value.data


def test_a_target_that_changes_while_it_is_compared_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that another one deletes there just then is not taken for one that is gone here."""
    scene = Scene(tmp_path, monkeypatch)
    scene.fill({"a": b"1"})
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_bytes(b"1")
    get = Folder.get

    def deleting(folder: Folder, key: str) -> object:
        value = get(folder, key)
        (target / key).unlink()
        return value

    monkeypatch.setattr(Folder, "get", deleting)
    status = scene.run("cp", scene.url, str(target))

    assert (0, "copied 1 key, 1 B\n") == (status, capsys.readouterr().out)
    assert b"1" == (target / "a").read_bytes()


def test_a_file_that_is_just_begun_may_be_taken_for_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock another process may remove it; another is begun."""
    lock = fcntl.flock
    removed: list[str] = []

    def late(file: object, how: int) -> None:
        if not removed:
            removed.extend(os.listdir(tmp_path))
            os.unlink(tmp_path / removed[0])
        lock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr("antiphon.cli.store_folder.fcntl.flock", late)
    with Folder(str(tmp_path)) as folder:
        folder.set("a", (BytesIO(b"1"), {}))

    assert (1, ["a"]) == (len(removed), os.listdir(tmp_path))
