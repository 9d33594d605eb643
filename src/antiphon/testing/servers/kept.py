"""The owner's side of the keeper: private processes that cannot outlive this one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from antiphon.errors import ServersUnavailable

#: Ports are taken from here: below the ephemeral ranges of Linux (32768-) and
#: macOS (49152-).  A port from those can be taken by some outgoing connection
#: while the server is down, even by a client's that reconnects to itself.
PORT_RANGE = (20_000, 32_000)

#: Longest folder name that leaves room for a socket in it: a path of a Unix
#: socket has at most 104 bytes on macOS and 108 on Linux.
_MAX_FOLDER_BYTES = 80

#: RabbitMQ gives the name of its folder to shells without quotes.
_HARMLESS = re.compile(r"[A-Za-z0-9/._+-]+")

_KEEPER_SCRIPT = Path(__file__).with_name("keeper.py")


def free_ports(count: int) -> list[int]:
    """Return *count* different loopback ports that nothing listens on.

    Nobody else is kept from them: who starts a server on one must be ready to
    try again with others.
    """
    rng = random.SystemRandom()
    ports: list[int] = []
    while len(ports) < count:
        port = rng.randrange(*PORT_RANGE)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def make_folder() -> Path:
    """Make a folder that only this user can read, with a short and plain absolute name."""
    base = os.path.realpath(tempfile.gettempdir())
    if not _HARMLESS.fullmatch(base) or len(base) > _MAX_FOLDER_BYTES - 20:
        base = "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it
    return Path(tempfile.mkdtemp(prefix="antiphon-", dir=base))


class Keeper:
    """Runs processes under ``keeper.py``, which ends them when this process is gone.

    Attributes:
        folder: the data folder of the server; removed with it.
    """

    def __init__(self) -> None:
        self.folder = make_folder()
        self._owner = os.getpid()
        self._lock = threading.Lock()
        argv = [sys.executable, "-I", "-S", str(_KEEPER_SCRIPT), str(self.folder), str(self._owner)]
        # Its own session: a Ctrl-C in the terminal reaches us, and not the servers.
        self._process = subprocess.Popen(  # noqa: S603
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """Process id of the keeper itself."""
        return self._process.pid

    def start(self, name: str, argv: list[str], env: dict[str, str]) -> int:
        """Start a process that logs to ``<folder>/<name>.log``; return its process id."""
        pid = self._ask(start=name, argv=argv, env=env, log=str(self.log_path(name)))["pid"]
        return int(pid)

    def log_path(self, name: str) -> Path:
        """Return the file that has everything that the process printed."""
        return self.folder / f"{name}.log"

    def signal(self, name: str, number: int) -> bool:
        """Send a signal; False if the process had ended before."""
        return bool(self._ask(signal=name, number=number)["sent"])

    def kill(self, name: str, timeout_s: float = 10.0) -> None:
        """Send SIGKILL and wait until the process is gone."""
        self.signal(name, signal.SIGKILL)
        if self._ask(wait=name, timeout_s=timeout_s)["status"] is None:
            raise ServersUnavailable(f"{name} did not end {timeout_s:g} s after SIGKILL")

    def has_ended(self, name: str) -> bool:
        """Whether the process is not running any more."""
        return self._ask(poll=name)["status"] is not None

    def at_end(self, argv: list[str]) -> None:
        """Run a command when this process is gone, or the keeper is closed."""
        self._ask(at_end=argv)

    def close(self) -> None:
        """End all processes and remove the folder; calling it again does nothing.

        In a forked child this does nothing: the servers belong to the parent.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            process = self._process
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not pipe.closed:
                    # The keeper may be gone already: then there is nobody to tell.
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            process.wait()
            # The keeper has removed it, unless the keeper itself was killed.
            shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, **command: Any) -> dict[str, Any]:
        with self._lock:
            stdin, stdout = self._process.stdin, self._process.stdout
            if stdin is None or stdout is None or stdin.closed:
                raise ServersUnavailable("the server was stopped: start a new one")
            try:
                stdin.write(json.dumps(command).encode() + b"\n")
                stdin.flush()
                line = stdout.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise ServersUnavailable(
                f"the keeper of the server (process {self._process.pid}) was ended by somebody"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServersUnavailable(
                f"the server's keeper could not {_brief(command)}: {answer['error']}"
            )
        return answer


def _brief(command: dict[str, Any]) -> str:
    """Say what was asked without the environment, which is long."""
    return ", ".join(f"{key} {value}" for key, value in command.items() if key != "env")
