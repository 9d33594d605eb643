"""Pushes a key and is killed at a given step of it; a program of its own.

Arguments: mount URL and backing URL.  Of each line of its input, ``[step, key]``,
a child pushes the key, and dies after that call, counted from 0, of mount
store, backing store and ledger.  It writes the status with which the child ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import antiphon
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.pushing import Pushing
from antiphon.storage.string_value import StringValue

#: What is called before anything can have happened.
_HARMLESS = frozenset({"exists", "in_transaction", "base"})


class Deadly:
    """Passes calls on, and kills the process at one of them."""

    #: Calls so far, of all these objects.
    calls = 0
    step = -1

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name in _HARMLESS:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            number, Deadly.calls = Deadly.calls, Deadly.calls + 1
            result = found(*args, **kwargs)
            if number == self.step:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def play(mounted: MountedStore, key: str) -> None:
    """Write *key* below the mount point, and push it."""
    mounted.set(key, StringValue(b"mine", {"by": "me"}))
    own = mounted.filling.own
    own.ledger, own.mount_store, own.backing_store = map(  # type: ignore[assignment]
        Deadly, (own.ledger, own.mount_store, own.backing_store)
    )
    own.journals = tuple(map(Deadly, own.journals))  # type: ignore[arg-type]
    Deadly.calls = 0
    Pushing(own).push(key)


def main() -> None:
    """Play once for each line of the input, each in a child, and say how it ended."""
    mount, backing = map(antiphon.open_store, sys.argv[1:3])
    mounted = MountedStore("p/", mount, backing, fill=True)
    mounted.connect()
    with mount, backing:
        play_all(mounted)


def play_all(mounted: MountedStore) -> None:
    """Do as the lines of the input say."""
    for line in sys.stdin:
        step, key = json.loads(line)
        child = os.fork()
        if child == 0:
            Deadly.step = step
            play(mounted, key)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
