"""Finds the programs of RabbitMQ and Redis on this machine."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

#: Where RabbitMQ's own start script may be, best first.  Distributions put a wrapper
#: for it on the PATH that insists on the user ``rabbitmq`` and its one data folder.
RABBITMQ_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/usr/lib*/rabbitmq/lib/rabbitmq_server-*/sbin",
    "/opt/rabbitmq*/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/usr/local/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
)

#: Folders with programs that are not on every user's PATH.
EXTRA_PATH = (
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/usr/lib/erlang/bin",
    "/usr/lib64/erlang/bin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/erlang/lib/erlang/bin",
    "/usr/local/bin",
    "/usr/local/opt/erlang/lib/erlang/bin",
)


def search_path() -> str:
    """Return the PATH of this process with :data:`EXTRA_PATH` after it."""
    own = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*own, *(folder for folder in EXTRA_PATH if folder not in own)])


def find_program(*names: str) -> str | None:
    """Return the path of the first of these programs that there is."""
    found = (shutil.which(name, path=search_path()) for name in names)
    return next((path for path in found if path), None)


def find_redis() -> str | None:
    """Return the path of a Redis server (or of Valkey, its twin), or None."""
    return find_program("redis-server", "valkey-server")


def find_rabbitmq() -> Path | None:
    """Return the folder of RabbitMQ's own scripts, or None if it or Erlang is missing."""
    if find_program("erl") is None or find_epmd() is None:
        return None
    patterns = [os.path.join(folder, "rabbitmq-server") for folder in RABBITMQ_FOLDERS]
    candidates = [path for pattern in patterns for path in sorted(glob.glob(pattern), reverse=True)]
    on_path = find_program("rabbitmq-server")
    if on_path is not None:
        candidates.append(os.path.realpath(on_path))
    return next((Path(path).parent for path in candidates if _is_real_script(path)), None)


def find_epmd() -> str | None:
    """Return Erlang's port mapper, which is in Erlang's own folder if not on the PATH."""
    found = find_program("epmd")
    if found is None:
        matches = sorted(glob.glob("/usr/lib*/erlang/erts-*/bin/epmd"), reverse=True)
        found = matches[0] if matches else None
    return found


def _is_real_script(path: str) -> bool:
    """Whether it is RabbitMQ's script and not a wrapper that changes the user."""
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return False
    return os.access(path, os.X_OK) and "rabbitmq-env" in text
