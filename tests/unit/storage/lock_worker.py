"""A process that takes locks, and writes down when it had them.

    lock_worker.py <directory> <exclusive|shared|mixed> <rounds> <one death in n rounds; 0: none>

Each round is two lines of ``history`` in the directory, ``+`` when the lock is
held and ``-`` before it is given back, with kind and name of the holder; a
process that kills itself in between writes ``!``.  Lines are appended whole.
Under the exclusive lock it also counts in ``counter``, reading and writing.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from antiphon.storage.file_lock import FileLock, SharedFileLock


def main(directory: str, kind: str, rounds: int, death: int) -> None:
    """Take the lock as often as told."""
    history = os.open(f"{directory}/history", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    chance = random.Random(os.getpid())
    for number in range(rounds):
        shared = kind == "shared" or (kind == "mixed" and chance.random() < 0.7)
        lock = (SharedFileLock if shared else FileLock)("lock", directory, poll_interval=0.001)
        name = f"{'shared' if shared else 'exclusive'} {os.getpid()}.{number}\n"

        def note(what: str, name: str = name) -> None:
            os.write(history, f"{what} {name}".encode())

        with lock:
            note("+")
            if shared:
                # Long enough that the readers meet.
                time.sleep(0.001)
            else:
                count(Path(directory, "counter"))
            if death and chance.randrange(death) == 0:
                note("!")
                os.kill(os.getpid(), signal.SIGKILL)
            note("-")


def count(counter: Path) -> None:
    """Add one, in the way that loses counts unless one process at a time does it."""
    present = int(counter.read_text()) if counter.exists() else 0
    os.sched_yield()
    counter.write_text(str(present + 1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
