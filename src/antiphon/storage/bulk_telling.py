"""How the events of a large commit get out in few messages.

A message carries events of one class, so a commit that sets new keys and old
ones in turns would send one for each.  The changes of one commit happen at one
moment; where no key comes twice their order says nothing, and those of a kind
are told together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

from antiphon.events.api import BaseEventManager
from antiphon.storage.changes import Committed

#: Changes of one commit from which its events are told as a bulk.
BULK_FROM = 200

#: Changes within which those of a kind are told together.  So many may be heard of before one
#: that precedes them in the journal.
WINDOW = 4000


class Gathering(Protocol):
    """What a bus that knows of bulks gives (``messaging.holding.Gathering``)."""

    def emitted(self) -> None:
        """Take note that an event was emitted."""


class _NoGathering:
    def emitted(self) -> None:
        """Nothing: each event goes for itself."""


def gathering(
    manager: BaseEventManager, committed: Sequence[Committed]
) -> contextlib.AbstractContextManager[Gathering]:
    """Return the block in which the events of *committed* are to be emitted by *manager*."""
    block = gathered_by(manager) if len(committed) >= BULK_FROM else None
    return contextlib.nullcontext(_NoGathering()) if block is None else block


def gathered_by(manager: BaseEventManager) -> Any:
    """Return what *manager* offers to those who emit a bulk; None if it offers nothing."""
    # Asked of the class, as in ``BackendTelling``.
    gather = getattr(type(manager), "gather", None)
    return None if gather is None else gather(manager)


def in_runs(committed: Sequence[Committed]) -> Sequence[Committed]:
    """Return *committed* in the order in which it is told."""
    if len(committed) < BULK_FROM or len({done.entry.action for done in committed}) == 1:
        return committed
    ordered: list[Committed] = []
    for begin in range(0, len(committed), WINDOW):
        window = committed[begin : begin + WINDOW]
        if len({done.entry.key for done in window}) == len(window):
            window = sorted(window, key=_action_of)
        ordered.extend(window)
    return ordered


def _action_of(done: Committed) -> str:
    return done.entry.action
