"""The players as the conductor sees them: processes that are started, told, killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.chaos.caches.parts import KEYS, Part
from tests.chaos.caches.records import read_player
from tests.chaos.conducted import Conducted


class Actor(Conducted):
    """One part, and the processes that play it.

    Args:
        part: who it is.
        folder: where histories are written.
        prefix: what stands before the command, to enter a network.
        common: settings that all players share.
    """

    def __init__(
        self, part: Part, folder: Path, prefix: tuple[str, ...], common: dict[str, Any]
    ) -> None:
        super().__init__(part.name, folder)
        self.part, self.common = part, common
        self._prefix = prefix

    def start(self) -> None:
        """Start the next process; ``wait_begun`` waits for it."""
        self.run += 1
        before = read_player(self.folder, self.part)
        own: dict[str, int] = {}
        for one in before.owns:
            if one.kind == "owned":
                own[one.key] = one.count
            elif one.kind == "disowned":
                own.pop(one.key, None)
        settings = {
            **self.common,
            "part": self.part.asdict(),
            "run": self.run,
            "keys": self._keys(),
            "first": max((write.count for write in before.writes), default=0),
            "own": {} if self.part.cache == "memory" else own,
        }
        command = [sys.executable, "-m", "tests.chaos.caches.player", json.dumps(settings)]
        self._launch([*self._prefix, *command])

    def _keys(self) -> list[str]:
        """Return what a writer writes: of one store, no key has two writers."""
        if self.part.store != "sqlite":
            return list(KEYS)
        if self.part.role == "sql":
            return list(KEYS[1::2])
        return [*KEYS[::2], *self.common["own_keys"]]
