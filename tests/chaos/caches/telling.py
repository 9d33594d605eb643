"""Whether each change that is in a journal in the end was told by an event."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from antiphon.errors import AntiphonError
from antiphon.storage.journal import JournalEntry, Position
from tests.chaos.caches.records import read_player

if TYPE_CHECKING:
    from tests.chaos.caches.cast import Actor
    from tests.chaos.caches.stage import Stage

#: Seconds until whoever sweeps has published what a dead process left: its lease has to end,
#: and after an outage everybody gets so long to publish by himself.
TELL_S = 60.0

#: Returns number and id of the oldest entry, in one line.
_OLDEST = """
local entry = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return redis.status_reply(entry[1] .. ' ' .. string.match(entry[2][2], '^%x+'))
"""

#: Seconds after a truncation for which what is in a journal may be left out by who sweeps it.
_AFTER_S = 2.0


def wait_listening(stage: Stage) -> None:
    """Wait until the listener's queue stands."""
    for actor in stage.of_role("listener"):
        log = stage.folder / f"{actor.part.name}.0.log"
        deadline = time.monotonic() + 60
        while not (log.exists() and b" listens" in log.read_bytes()):
            assert time.monotonic() < deadline, f"{actor.part.name} does not listen"
            stage.wait(0.05)


def untold(stage: Stage, since_ns: int) -> list[str]:
    """Return the changes since then of which no listener heard within ``TELL_S``."""
    listeners = stage.of_role("listener")
    if not listeners:
        return []
    names = [name for name in ("sqlite", "redis", "files") if name in stage.urls]
    due = {
        entry.version.entry_id.hex(): f"{name}: {entry}"
        for name in names
        for entry in _entries(stage, name)
        if entry.time_ns > max(since_ns, _truncated_ns(stage, name))
    }
    deadline = time.monotonic() + TELL_S
    left = due
    while left and time.monotonic() < deadline:
        heard = _heard(stage, listeners)
        left = {entry: text for entry, text in left.items() if entry not in heard}
        stage.wait(0.2)
    stage.report(f"{len(due) - len(left)} of {len(due)} changes in the journals were told")
    return list(left.values())


def _heard(stage: Stage, listeners: list[Actor]) -> set[str]:
    players = [read_player(stage.folder, actor.part) for actor in listeners]
    return {entry for player in players for entry, _, _ in player.heard}


def _truncated_ns(stage: Stage, name: str) -> int:
    """Return until when changes of a store were cut from its journal, by the wall clock."""
    offset = time.time() - time.monotonic()
    ends = [
        one.ended
        for one in stage.history.troubles
        if one.fault == "truncate" and one.target == name
    ]
    return int((max(ends) + offset + _AFTER_S) * 1e9) if ends else 0


def _entries(stage: Stage, name: str) -> Iterator[JournalEntry]:
    """Yield what the journal still has."""
    with stage.opened(name) as store:
        head = store.head()
        if name == "sqlite":
            with stage.sql() as rows:
                first = rows.execute(
                    'SELECT sequence, entry_id FROM "store.journal" ORDER BY sequence LIMIT 1'
                ).fetchone()
        elif name == "redis":
            assert stage.redis is not None
            oldest = stage.redis.command("EVAL", _OLDEST, "1", "{store}:journal").decode().split()
            first = (int(oldest[0].partition("-")[2]), bytes.fromhex(oldest[1]))
        else:
            first = (0, b"")
        position = Position(head.store_id, head.epoch, *first)
        with contextlib.suppress(AntiphonError):
            yield from store.since(position)
