"""Changes of stores as lines of text, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from antiphon.cli.colours import painted
from antiphon.cli.output import escaped
from antiphon.cli.printing import to_json
from antiphon.cli.store_words import metadata_text
from antiphon.errors import AntiphonError
from antiphon.events.delivery import delivery_of
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import JournalEntry, Position
from antiphon.terminal.tables import columns_of_terminal

#: Columns below which a terminal is narrow.
NARROW = 72

_COLOURS = {"set": "green", "update": "yellow", "delete": "red"}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one key.

    Attributes:
        time: when it was committed, or its event emitted.
        action: ``set``, ``update`` or ``delete``.
        key: the key; None if the reader may not know it.
        event_id: of the event that tells of it; None if there is none.
        position: where it is in the store's journal; None if that has none.
        metadata: as the event has them; None where none came along.
        is_redacted: whether *key* is a digest.
    """

    time: datetime
    action: str
    key: str | None
    event_id: str | None = None
    position: Position | None = None
    metadata: dict[str, Any] | None = None
    is_redacted: bool = False


def change_of_entry(entry: JournalEntry, store_id: UUID) -> Change:
    """Return what *entry*, of the journal of the store *store_id*, tells."""
    return Change(
        _moment(entry.time_ns),
        entry.action,
        entry.key,
        None if entry.event_id is None else str(entry.event_id),
        Position(store_id, *entry.version),
    )


def change_of_event(event: StoreModificationEvent) -> Change:
    """Return what *event* tells."""
    delivery = delivery_of(event)
    metadata = getattr(event, "metadata", None)
    return Change(
        datetime.now(UTC) if delivery is None else _moment(delivery.time_ns),
        str(event.action),
        str(event.key),
        None if delivery is None else str(delivery.event_id),
        event.position if isinstance(event.position, Position) else None,
        metadata if isinstance(metadata, dict) else None,
        bool(event.redacted),
    )


def change_line(change: Change) -> str:
    """Return *change* as a line for people: time, action, key, and what else there is.

    A narrow terminal has the time of day, and no more than the key.
    """
    is_narrow = columns_of_terminal() < NARROW
    when = change.time.astimezone()
    moment = f"{when:%H:%M:%S}" if is_narrow else f"{when:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    key = "a key that is not shown" if change.key is None else escaped(change.key)
    parts = [
        painted(moment, dim=True),
        painted(f"{change.action:6}", _COLOURS.get(change.action)),
        f"{key} (redacted)" if change.is_redacted else key,
    ]
    if is_narrow:
        return "  ".join(parts)
    if change.metadata:
        parts.append(painted(escaped(_metadata_text(change.metadata)), dim=True))
    elif change.position is not None:
        parts.append(painted(str(change.position.version), dim=True))
    return "  ".join(parts)


def change_json(change: Change) -> str:
    """Return *change* as a line of JSON."""
    position = change.position
    told: dict[str, Any] = {
        "time": change.time.isoformat(),
        "action": change.action,
        "key": change.key,
        "version": None if position is None else str(position.version),
        "position": None if position is None else str(position),
        "event_id": change.event_id,
    }
    if change.metadata is not None:
        told["metadata"] = json.loads(_metadata_text(change.metadata))
    if change.is_redacted:
        told["redacted"] = True
    return to_json(told)


def _metadata_text(metadata: dict[str, Any]) -> str:
    try:
        return metadata_text(metadata)
    except AntiphonError:
        return to_json(metadata)  # an event may carry what no store keeps


def _moment(time_ns: int) -> datetime:
    began = datetime.fromtimestamp(0, UTC)
    try:
        return began + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return began  # the writer's clock is beyond all years
