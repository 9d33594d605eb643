"""RabbitMQ and Redis from Debian's packages, where this process may install them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import last_lines
from antiphon.testing.servers.programs import find_program

#: Debian's packages with the two programs.
DEBIAN_PACKAGES = ("rabbitmq-server", "redis-server")

#: Seconds for one run of apt-get, with a slow network in mind.
_APT_TIMEOUT_S = 900

#: Debian asks this script whether a freshly installed service may start: 101 is "no".
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Written by antiphon.testing.servers for one installation.\nexit 101\n"

_lock = threading.Lock()
_is_done = False


def apt_obstacle() -> str | None:
    """Return why apt cannot be used here, or None if it can."""
    if not Path("/etc/debian_version").exists() or find_program("apt-get") is None:
        return "this is no Debian or Ubuntu"
    if os.geteuid() != 0:
        return "only root may install Debian packages"
    return None


def install_servers() -> None:
    """Install both programs with apt-get, without starting them as services.

    Both at once, the first time; a second call (for the other server, from another
    thread) waits for the first and does nothing.

    Raises:
        ServersUnavailable: apt-get failed; the message has the end of its output.
    """
    global _is_done
    with _lock:
        if _is_done:
            return
        with _no_services():
            _apt_get("update")
            _apt_get("install", "--yes", "--no-install-recommends", *DEBIAN_PACKAGES)
        _is_done = True


def _apt_get(*args: str) -> None:
    command = [find_program("apt-get") or "apt-get", "-o", "DPkg::Lock::Timeout=300", "-q", *args]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_APT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ServersUnavailable(f"{' '.join(command)}: {exc}") from exc
    if done.returncode:
        raise ServersUnavailable(
            f"{' '.join(command)} ended with {done.returncode}:\n{last_lines(done.stdout)}"
        )


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep Debian from starting what it installs; an existing policy stays as it is."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text(_POLICY_TEXT)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
