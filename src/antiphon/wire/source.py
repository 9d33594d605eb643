"""Where an arriving event came from, when that object is not in this process."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """Stands for the source of an event that another process emitted.

    Two of them are equal, and hash alike, if all three values are equal, so
    that ``event.source`` can be compared and kept in sets as in one process.

    Attributes:
        kind: name of the class of the object in its own process, for people.
        origin: its origin; None if it had none.
        store_id: identity of the store; None if it was no store.
    """

    kind: str
    origin: str | None = None
    store_id: UUID | None = None
