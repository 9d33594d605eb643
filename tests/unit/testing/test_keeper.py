"""The keeper: no process and no file outlives the owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.kept import PORT_RANGE, Keeper, free_ports, make_folder

#: A process that ignores polite signals and has a child of its own.
STUBBORN = [
    sys.executable,
    "-c",
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    " start_new_session=True)\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)\n",
]

#: An owner that starts the stubborn process, says so, and waits to be killed.
OWNER = f"""
import os, sys, time
from antiphon.testing.servers.kept import Keeper
keeper = Keeper()
pid = keeper.start("stubborn", {STUBBORN!r}, dict(os.environ))
while not keeper.log_path("stubborn").read_text().endswith("\\n"):
    time.sleep(0.01)
if "fork" in sys.argv and os.fork() == 0:
    os.close(1)
    time.sleep(30)
    os._exit(0)
print(pid, keeper.log_path("stubborn").read_text().strip(), keeper.folder, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()[:1] not in ("", "Z")


def wait_until_gone(pids: list[int], folder: Path, timeout_s: float = 20.0) -> None:
    """Wait until none of the processes runs and the folder is removed."""
    deadline = time.monotonic() + timeout_s
    while folder.exists() or any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"left: {folder}, {[p for p in pids if is_alive(p)]}"
        time.sleep(0.02)


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """A keeper that is closed after the test."""
    made = Keeper()
    yield made
    made.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("extra", [[], ["fork"]], ids=["alone", "with-a-forked-child"])
def test_nothing_outlives_the_owner(number: int, extra: list[str]) -> None:
    """A server, its own children and its folder are gone after a signal ended the owner."""
    argv = [sys.executable, "-c", OWNER, *extra]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as owner:
        assert owner.stdout is not None
        server, child, folder = owner.stdout.readline().split()
        assert is_alive(int(server))
        assert is_alive(int(child))

        owner.send_signal(number)

        wait_until_gone([int(server), int(child)], Path(os.fsdecode(folder)))


def test_close_ends_all_and_may_be_repeated(keeper: Keeper) -> None:
    """Closing ends the processes, removes the folder, and does nothing the second time."""
    pid = keeper.start("stubborn", STUBBORN, dict(os.environ))

    keeper.close()
    keeper.close()

    assert not keeper.folder.exists()
    assert not is_alive(pid)


def test_a_paused_process_is_ended(keeper: Keeper) -> None:
    """A process that was stopped with SIGSTOP does not survive either."""
    pid = keeper.start("stubborn", STUBBORN, dict(os.environ))
    keeper.signal("stubborn", signal.SIGSTOP)

    keeper.close()

    assert not is_alive(pid)


def test_kill_waits_for_the_end(keeper: Keeper) -> None:
    """After kill() the process is gone, and its folder is still there."""
    pid = keeper.start("stubborn", STUBBORN, dict(os.environ))

    keeper.kill("stubborn")

    assert keeper.has_ended("stubborn")
    assert not is_alive(pid)
    assert keeper.folder.exists()


def test_a_child_process_cannot_close_it(keeper: Keeper) -> None:
    """What a forked child closes stays open for its parent."""
    keeper.start("stubborn", STUBBORN, dict(os.environ))
    child = os.fork()
    if child == 0:
        keeper.close()
        os._exit(0)
    os.waitpid(child, 0)

    assert not keeper.has_ended("stubborn")
    assert keeper.folder.exists()


def test_the_last_command_runs(keeper: Keeper, tmp_path: Path) -> None:
    """A command that was given for the end runs at the end."""
    witness = tmp_path / "witness"
    keeper.at_end(["touch", str(witness)])
    assert not witness.exists()

    keeper.close()

    assert witness.exists()


def test_a_program_that_is_missing_is_an_error(keeper: Keeper) -> None:
    """A program that cannot be started is named in a ServersUnavailable."""
    with pytest.raises(ServersUnavailable, match="no-such-program"):
        keeper.start("x", ["/no-such-program"], {})


def test_a_keeper_that_was_killed_is_an_error(keeper: Keeper) -> None:
    """Somebody who kills the keeper ends its processes; the owner gets an error."""
    pid = keeper.start("stubborn", STUBBORN, dict(os.environ))
    os.kill(keeper.pid, signal.SIGKILL)

    with pytest.raises(ServersUnavailable, match="ended by somebody"):
        keeper.has_ended("stubborn")
    keeper.close()

    wait_until_gone([pid], keeper.folder)


def test_a_closed_keeper_says_so(keeper: Keeper) -> None:
    """Using a server after it was stopped tells to start a new one."""
    keeper.close()

    with pytest.raises(ServersUnavailable, match="was stopped"):
        keeper.has_ended("stubborn")


def test_the_folder_is_private(keeper: Keeper) -> None:
    """Nobody else can read the folder of a server."""
    assert keeper.folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["with space", "x" * 80, "quo'te"])
def test_folders_have_short_plain_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary folder that RabbitMQ or a socket cannot have in its path is not used."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))

    folder = make_folder()

    assert folder.parent == Path("/tmp")
    folder.rmdir()


def test_free_ports_are_outside_the_ephemeral_range() -> None:
    """Ports differ, and no outgoing connection can take them while a server is down."""
    ports = free_ports(20)

    assert len(set(ports)) == 20
    assert all(PORT_RANGE[0] <= port < PORT_RANGE[1] <= 32_768 for port in ports)
