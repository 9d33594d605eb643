"""Keeps the processes of one private server, and ends them when their owner is gone.

Run as a script, with nothing but the standard library, by
:class:`antiphon.testing.servers.kept.Keeper`; never imported by it.  The owner
holds the other end of this process's standard input.  When that end closes,
or the owner is dead (a forked child of it may hold the pipe open), everything
that was started here is killed and the folder is removed: no exit handler of
the owner has to run for that, so a ``kill -9`` of it leaves nothing behind.

Standard input takes one JSON object a line, standard output answers each with
one::

    {"start": "beam", "argv": [...], "env": {...}, "log": "/path"}  ->  {"pid": 12}
    {"signal": "beam", "number": 9}    ->  {"sent": true}
    {"poll": "beam"}                   ->  {"status": null}   (null while it runs)
    {"wait": "beam", "timeout_s": 5}   ->  {"status": -9}
    {"at_end": ["docker", "rm", ...]}  ->  {"noted": true}
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

#: Seconds between two looks at whether the owner still lives.
OWNER_POLL_S = 0.5

#: Seconds that orphans of a killed server get to leave by themselves.
ORPHAN_GRACE_S = 0.3

#: ``prctl`` options of Linux, from <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    """Call ``prctl`` on Linux; other systems live without it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


class Keeper:
    """The processes by name, and what to do at the end."""

    def __init__(self, folder: str, owner: int) -> None:
        self._folder = folder
        self._owner = owner
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._at_end: list[list[str]] = []

    def serve(self) -> None:
        """Answer the owner's commands until it is gone."""
        pending = b""
        while os.getppid() == self._owner:
            if not select.select([0], [], [], OWNER_POLL_S)[0]:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                answer = json.dumps(self._answer(json.loads(line))) + "\n"
                os.write(1, answer.encode())

    def _answer(self, command: dict[str, Any]) -> dict[str, Any]:
        try:
            if "start" in command:
                return {"pid": self._start(command)}
            if "signal" in command:
                return {"sent": self._signal(command["signal"], command["number"])}
            if "poll" in command:
                return {"status": self._processes[command["poll"]].poll()}
            if "wait" in command:
                return {"status": self._wait(command["wait"], command["timeout_s"])}
            self._at_end.append(command["at_end"])
            return {"noted": True}
        except (OSError, KeyError, ValueError) as exc:
            return {"error": f"{type(exc).__name__}: {exc}"}

    def _start(self, command: dict[str, Any]) -> int:
        with open(command["log"], "ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the argv comes from our owner
                command["argv"],
                env=command["env"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Should this keeper be killed as well, the kernel ends the server.
                preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
                start_new_session=True,
            )
        self._processes[command["start"]] = process
        return process.pid

    def _signal(self, name: str, number: int) -> bool:
        process = self._processes[name]
        if process.poll() is not None:
            return False
        process.send_signal(number)
        return True

    def _wait(self, name: str, timeout_s: float) -> int | None:
        try:
            return self._processes[name].wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """Kill everything that was started, and remove the folder."""
        for process in self._processes.values():
            # A stopped process is killed, too: SIGKILL needs no SIGCONT.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self._processes.values():
            process.wait()
        _end_orphans()
        for argv in self._at_end:
            with contextlib.suppress(OSError):
                subprocess.run(  # noqa: S603
                    argv, stdin=subprocess.DEVNULL, capture_output=True, check=False
                )
        shutil.rmtree(self._folder, ignore_errors=True)


def _end_orphans() -> None:
    """Wait for what a killed server left (it is ours as sub-reaper), then kill it."""
    deadline = time.monotonic() + ORPHAN_GRACE_S
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if time.monotonic() > deadline:
            for child in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
        time.sleep(0.01)


def _children() -> list[int]:
    """Process ids of the direct children of this process (Linux only)."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
                    if int(fields[1]) == os.getpid():
                        found.append(int(name))
    return found


def main() -> None:
    """Serve the owner named on the command line: folder, process id."""
    # The terminal's Ctrl-C and a closed terminal are the owner's to handle.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = Keeper(sys.argv[1], int(sys.argv[2]))
    try:
        keeper.serve()
    except BrokenPipeError:
        pass  # The owner died while we answered: the same as a closed input.
    finally:
        keeper.end()


if __name__ == "__main__":
    main()
