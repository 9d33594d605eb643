"""Locks made of files: one object, several objects, and many processes that die."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.errors import AntiphonError, LockTimeout, LockUnavailable
from antiphon.storage import lock_files, lock_holder
from antiphon.storage.file_lock import FileLock, LockError, SharedFileLock

PATIENCE_S = 60.0

#: Prints what the process of a lock would write into it, and ends.
DEAD = "import sys; from antiphon.storage.lock_holder import identity; print(identity(1).decode())"


@pytest.fixture
def lock(tmp_path: Path) -> FileLock:
    """An exclusive lock that nobody holds."""
    return FileLock("lock", tmp_path, poll_interval=0.001)


@pytest.fixture(scope="module")
def dead() -> bytes:
    """What a process that has ended wrote into its locks."""
    done = subprocess.run([sys.executable, "-c", DEAD], capture_output=True, check=True)
    return done.stdout.rstrip(b"\n")


def left(directory: Path) -> list[str]:
    """Return what locks left in a directory."""
    return sorted(path.name for path in directory.iterdir())


# -- One holder ------------------------------------------------------------------


def test_a_lock_is_a_file_that_names_its_holder(lock: FileLock, tmp_path: Path) -> None:
    """Host, process, user and uid, a line each, as in Encore; and nothing is left of it."""
    with lock:
        data = lock.get_data() or b""
        assert (True, True) == (lock.locked(), lock.acquired())
        assert ["lock.lock"] == left(tmp_path)
        assert str(tmp_path / "lock.lock") == lock.full_path

    lines = data.decode().split("\n")
    assert [lock_holder.host(), str(os.getpid()), lock_holder.user()] == lines[:3]
    assert [str(lock.uid), "LOCK"] == lines[3:5]
    assert (False, False, None) == (lock.locked(), lock.acquired(), lock.get_data())
    assert [] == left(tmp_path)


def test_a_name_may_be_a_path(tmp_path: Path) -> None:
    """Without a directory the name says where; with one it lies below it."""
    assert f"{tmp_path}/a.lock" == FileLock(f"{tmp_path}/a").full_path
    assert f"{tmp_path}/a.lock" == FileLock("/a", str(tmp_path)).full_path


def test_data_of_ones_own_is_kept_exactly(tmp_path: Path) -> None:
    """It is the whole content, and tells whose the lock is."""
    lock = FileLock("lock", tmp_path, data=b"job 7\n")
    other = FileLock("lock", tmp_path, data=b"job 8\n", timeout=0.01)
    with lock:
        assert b"job 7\n" == other.get_data()
        assert (True, False, False) == (lock.acquired(), other.acquired(), other.acquire())

    assert [] == left(tmp_path)


def test_a_second_lock_waits_until_its_time_is_over(lock: FileLock, tmp_path: Path) -> None:
    """acquire() says False; a with block, which could not say so, raises."""
    other = FileLock("lock", tmp_path, timeout=0.02)
    with lock:
        assert (True, False) == (other.locked(), other.acquired())
        assert other.acquire() is False
        with pytest.raises(LockTimeout, match=r"not free within 0\.02 s"), other:
            pass

    assert other.acquire() is True
    other.release()


def test_a_lock_is_not_recursive(lock: FileLock) -> None:
    """Taking it twice is waiting for oneself."""
    lock.timeout = 0.01
    with lock:
        assert lock.acquire() is False


def test_only_the_holder_releases(lock: FileLock, tmp_path: Path) -> None:
    """Others, and one who has it no more, are told so, and change nothing."""
    other = FileLock("lock", tmp_path)
    with pytest.raises(LockError, match="nobody holds it"):
        lock.release()
    with lock:
        with pytest.raises(LockError, match="another holds it"):
            other.release()
        assert lock.acquired()


def test_locks_with_one_uid_are_one_lock(tmp_path: Path) -> None:
    """A store makes a lock object for each use, and any of them may give it back."""
    first, second = (FileLock("lock", tmp_path, uid="store 1", timeout=0.01) for _ in range(2))
    first.acquire()

    assert second.acquired()
    assert not second.acquire()
    second.release()
    assert not first.locked()


def test_waiting_is_until_nobody_holds_it(lock: FileLock, tmp_path: Path) -> None:
    """wait() takes nothing, and has the same time limit."""
    other = FileLock("lock", tmp_path, poll_interval=0.001, timeout=0.02)
    with lock:
        assert other.wait() is False

    assert other.wait() is True
    assert [] == left(tmp_path)


def test_a_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    """At once, in both trees of errors."""
    for cls in (FileLock, SharedFileLock):
        with pytest.raises(LockUnavailable, match=r"lock\.lock.*No such file") as caught:
            cls("lock", tmp_path / "none").acquire()

        assert isinstance(caught.value, OSError)
        assert isinstance(caught.value, AntiphonError)


def test_a_file_system_without_links_will_do(
    lock: FileLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the file is made exclusively."""

    def refuse(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    other = FileLock("lock", tmp_path, timeout=0.01)
    shared = SharedFileLock("lock", tmp_path, timeout=0.01)
    with lock:
        assert (False, False) == (other.acquire(), shared.acquire())
    with shared:
        assert other.acquire() is False

    assert [] == left(tmp_path)


def test_an_answer_that_got_lost_is_no_failure(
    lock: FileLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS may make a link and report that it was there: two names tell the truth."""
    link = os.link

    def lose(source: str, target: str) -> None:
        link(source, target)
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", lose)

    assert lock.acquire() is True
    assert lock.acquired()
    lock.release()
    assert [] == left(tmp_path)


# -- Many readers or one writer ------------------------------------------------------


def test_a_shared_lock_has_many_holders(tmp_path: Path) -> None:
    """Shared by both; locked() asks for an exclusive holder."""
    first, second = SharedFileLock("lock", tmp_path), SharedFileLock("lock", tmp_path)
    with first, second:
        assert (True, True) == (first.acquired(), second.acquired())
        assert (False, False) == (first.locked(), second.locked())
        assert Path(first.full_path).exists()

    assert [] == left(tmp_path)


def test_readers_keep_the_writer_out_and_the_writer_them(lock: FileLock, tmp_path: Path) -> None:
    """Exclusive and shared locks of one name know of each other."""
    lock.timeout = 0.01
    shared = SharedFileLock("lock", tmp_path, timeout=0.01)
    with shared:
        assert lock.acquire() is False
        assert lock.locked()
    with lock:
        assert shared.acquire() is False
        assert (True, False) == (shared.locked(), shared.acquired())

    assert shared.acquire() is True
    shared.release()


def test_a_shared_lock_is_recursive(tmp_path: Path) -> None:
    """It is given back as often as it was taken."""
    shared = SharedFileLock("lock", tmp_path)
    with shared:
        with shared:
            pass
        assert shared.acquired()

    assert not shared.acquired()
    with pytest.raises(LockError, match="not held"):
        shared.release()


# -- Breaking ----------------------------------------------------------------------


def test_a_lock_is_broken_after_its_time(lock: FileLock, tmp_path: Path) -> None:
    """The old holder is told at its release, and does not free the new one's lock."""
    other = FileLock("lock", tmp_path, poll_interval=0.001, force_timeout=0.02)
    lock.acquire()
    with other:
        assert (False, True) == (lock.acquired(), other.acquired())
        with pytest.raises(LockError, match="another holds it"):
            lock.release()
        assert other.acquired()

    assert [] == left(tmp_path)


def test_a_lock_that_changes_hands_is_not_broken(lock: FileLock, tmp_path: Path) -> None:
    """Each holder has the whole time, however long somebody has waited."""
    other = FileLock("lock", tmp_path, poll_interval=0.001, force_timeout=0.3, timeout=0.9)
    lock.acquire()
    done = threading.Event()

    def pass_on() -> None:
        while not done.wait(0.03):
            (tmp_path / "next").write_bytes(lock._data)
            os.replace(tmp_path / "next", lock.full_path)

    thread = threading.Thread(target=pass_on)
    thread.start()
    taken = other.acquire()
    done.set()
    thread.join(PATIENCE_S)

    assert taken is False


def test_breaking_by_hand_frees_both_kinds(lock: FileLock, tmp_path: Path) -> None:
    """It says whether there was anything to break."""
    shared = [SharedFileLock("lock", tmp_path) for _ in range(3)]
    lock.acquire()
    assert [True, False] == [shared[0].force_break(), shared[0].force_break()]
    for each in shared:
        each.acquire()
    assert [True, False] == [lock.force_break(), lock.force_break()]

    assert (False, [False] * 3) == (lock.locked(), [each.acquired() for each in shared])


def test_the_lock_of_a_dead_process_is_taken_at_once(
    lock: FileLock, tmp_path: Path, dead: bytes
) -> None:
    """Nobody needs a time limit for that."""
    Path(lock.full_path).write_bytes(dead)
    with lock:
        assert lock.acquired()
    shared = tmp_path / "lock.lock"
    shared.mkdir()
    (shared / "reader.lock").write_bytes(dead)
    with lock:
        assert lock.acquired()

    assert [] == left(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(lock_holder.host().encode(), b"elsewhere"),
        lambda data: data.replace(b"pid:[", b"pid:[9"),
        lambda data: data[: data.rindex(b"\n")],
        lambda data: data[: data.rindex(b" ")],
        lambda data: data.replace(b"\n", b"\nx", 1),
        lambda data: b"",
        lambda data: b"\xff\n" * 6,
    ],
)
def test_who_cannot_be_judged_is_not_dead(change: Callable[[bytes], bytes], dead: bytes) -> None:
    """Another host, container or boot, and locks that Encore or a user wrote."""
    assert lock_holder.is_dead(dead)

    assert not lock_holder.is_dead(change(dead))


def test_a_process_number_used_again_is_another_process() -> None:
    """The start time tells them apart."""
    alive = lock_holder.identity(1)
    started = alive.rsplit(b" ", 1)[1]

    assert not lock_holder.is_dead(alive)
    assert lock_holder.is_dead(alive.replace(b" " + started, b" 17"))


def test_after_a_fork_the_child_holds_nothing(lock: FileLock) -> None:
    """The lock is the parent's; the child can neither use it nor give it back."""
    with lock:
        child = os.fork()
        if child == 0:
            code = 1 if lock.acquired() else 0
            try:
                lock.release()
                code += 2
            except LockError:
                pass
            os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert lock.acquired()


def test_two_who_break_one_lock_break_one(lock: FileLock, tmp_path: Path, dead: bytes) -> None:
    """The slower one does not remove what the quicker one has taken since."""
    Path(lock.full_path).write_bytes(dead)
    quick = slow = lock_files.look(lock.full_path)
    assert quick
    assert slow
    assert lock_files.take_away(quick, str(tmp_path))
    with lock:
        assert not lock_files.take_away(slow, str(tmp_path))
        assert lock.acquired()

    assert [] == left(tmp_path)


def test_a_late_release_leaves_the_next_holder_alone(lock: FileLock, tmp_path: Path) -> None:
    """A lock broken between the holder's look and its release is another's by then."""
    lock.acquire()
    mine = lock_files.look(lock.full_path)
    assert mine
    other = FileLock("lock", tmp_path)
    other.force_break()
    with other:
        assert not lock_files.give_back(mine, str(tmp_path))
        assert other.acquired()

    assert [] == left(tmp_path)


def test_while_one_breaks_a_lock_its_holder_cannot_release_it(
    lock: FileLock, tmp_path: Path
) -> None:
    """Whoever claimed it first removes it."""
    lock.acquire()
    mine = lock_files.look(lock.full_path)
    assert mine
    claim = lock_files._claim_of(mine, str(tmp_path))
    assert lock_files.make(claim, lock_holder.identity("claim"), str(tmp_path))

    assert not lock_files.give_back(mine, str(tmp_path))
    assert not lock_files.take_away(mine, str(tmp_path))
    assert lock.acquired()


def test_who_dies_while_breaking_a_lock_does_not_save_it(
    lock: FileLock, tmp_path: Path, dead: bytes
) -> None:
    """A dead process's claim is broken like any lock; what it left is cleared away."""
    lock.acquire()
    mine = lock_files.look(lock.full_path)
    assert mine
    Path(lock_files._claim_of(mine, str(tmp_path))).write_bytes(dead)
    (tmp_path / ".lock-0123456789abcdef.new").write_bytes(dead)
    other = FileLock("lock", tmp_path)

    assert other.force_break()
    assert [] == left(tmp_path)


def test_who_dies_while_releasing_a_lock_does_not_keep_it(
    lock: FileLock, tmp_path: Path, dead: bytes
) -> None:
    """Its claim is a link to the lock itself."""
    Path(lock.full_path).write_bytes(dead)
    its = lock_files.look(lock.full_path)
    assert its
    os.link(lock.full_path, lock_files._claim_of(its, str(tmp_path)))

    with lock:
        assert lock.acquired()
    assert [] == left(tmp_path)


def test_an_old_claim_is_a_dead_ones(
    lock: FileLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that went down while it broke a lock does not keep it for ever."""
    lock.acquire()
    mine = lock_files.look(lock.full_path)
    assert mine
    claim = Path(lock_files._claim_of(mine, str(tmp_path)))
    claim.write_bytes(b"elsewhere\n1\nuser\n1\nLOCK")
    os.utime(claim, (time.time() - 31, time.time() - 31))

    assert lock_files.take_away(mine, str(tmp_path))
    assert [] == left(tmp_path)


# -- Many processes ------------------------------------------------------------------


@pytest.fixture
def run_workers(tmp_path: Path) -> Callable[..., list[tuple[str, str, str]]]:
    """A function that runs workers to their end and returns what they wrote down."""
    worker = str(Path(__file__).with_name("lock_worker.py"))

    def run(kind: str, count: int, rounds: int, death: int = 0) -> list[tuple[str, str, str]]:
        argv = [sys.executable, worker, str(tmp_path), kind, str(rounds), str(death)]
        processes = [subprocess.Popen(argv) for _ in range(count)]
        for process in processes:
            process.wait(PATIENCE_S)
        lines = (tmp_path / "history").read_text().splitlines()
        return [(what, kind, name) for what, kind, name in map(str.split, lines)]

    return run


def check_history(history: list[tuple[str, str, str]]) -> int:
    """Assert that no two held the lock who may not; return how many held it at once."""
    inside: dict[str, str] = {}
    most = 0
    for what, kind, name in history:
        if what == "+":
            assert "exclusive" not in inside.values(), (name, inside)
            assert kind == "shared" or not inside, (name, inside)
            inside[name] = kind
        else:
            del inside[name]
        most = max(most, len(inside))
    assert {} == inside
    return most


def test_one_process_at_a_time(
    run_workers: Callable[..., list[tuple[str, str, str]]], tmp_path: Path
) -> None:
    """Six processes, and no count is lost."""
    history = run_workers("exclusive", 6, 40)

    assert 1 == check_history(history)
    assert 6 * 40 * 2 == len(history)
    assert "240" == (tmp_path / "counter").read_text()
    assert ["counter", "history"] == left(tmp_path)


def test_many_readers_or_one_writer(
    run_workers: Callable[..., list[tuple[str, str, str]]], tmp_path: Path
) -> None:
    """Readers meet, and never a writer."""
    history = run_workers("mixed", 6, 40)
    writers = sum(what == "+" and kind == "exclusive" for what, kind, _ in history)

    assert check_history(history) > 1
    assert str(writers) == (tmp_path / "counter").read_text()
    assert ["counter", "history"] == left(tmp_path)


@pytest.mark.parametrize("kind", ["exclusive", "mixed"])
def test_holders_that_are_killed_are_survived(
    run_workers: Callable[..., list[tuple[str, str, str]]], kind: str
) -> None:
    """Kill -9 at any holder: the others go on, and still one at a time."""
    history = run_workers(kind, 12, 40, 12)

    check_history(history)
    assert sum(what == "!" for what, _, _ in history) >= 3


def test_a_free_shared_lock_is_had_however_short_the_timeout(tmp_path: Path) -> None:
    """Its directory has to be made first, which takes no second look."""
    with SharedFileLock("lock", tmp_path, timeout=1e-9) as lock:
        assert lock.acquired()
