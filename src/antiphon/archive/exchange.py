"""Events as lines of JSON: out of one archive, into another."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from antiphon.archive.event import Event
from antiphon.archive.event_store import EventStore
from antiphon.errors import InvalidEvent, InvalidLine

#: Events that are saved in one transaction, and characters of their lines.
_BATCH, _BATCH_CHARACTERS = 500, 4_000_000

#: What a line must have; without the time it would be that of the import.
_REQUIRED = ("id", "source", "timestamp")


#: What ends a line for some who read it, ``str.splitlines`` too, and JSON leaves as it is.
_ENDINGS = re.compile("[\x85\u2028\u2029]")


@dataclass(slots=True)
class Imported:
    """What ``import_lines`` has done.

    Attributes:
        lines: how many were read, blank ones included.
        events: how many events they hold.
        saved: how many of those were new, and were saved.
    """

    lines: int = 0
    events: int = 0
    saved: int = 0


def export_lines(
    store: EventStore,
    ts_start: float | None = None,
    ts_end: float | None = None,
    flags: Iterable[str] | None = None,
    match: str | None = None,
) -> Iterator[str]:
    """Return an iterator over events of an archive, each as a line of JSON that ends in ``\\n``.

    Args:
        store: what is committed there at the time of this call.
        ts_start: seconds since the epoch, inclusive; None is the beginning of time.
        ts_end, flags, match: as for ``EventStore.search``, which also tells what
            is raised.

    A line is an object with ``id``, ``source``, ``timestamp``, ``tags`` and
    ``content``, and where the event has them ``received`` and ``message``, in
    base64.  It holds all that is known of the event: ``import_lines`` saves an
    equal one.
    """
    start = float("-inf") if ts_start is None else ts_start
    return map(to_line, store.search(start, ts_end, flags, match))


def import_lines(
    store: EventStore,
    lines: Iterable[str | bytes],
    *,
    progress: Callable[[Imported], None] = lambda _: None,
) -> Imported:
    """Save the events of *lines*, in their order; return how many there were.

    Args:
        store: keeps what it has: an id that is there is passed over.
        lines: as ``export_lines`` makes them: a file, for example.  Blank ones are
            passed over, and so are fields of other names.
        progress: called after each transaction with the counts so far.

    Raises:
        InvalidLine: a line is no event; its number is told.  What was read before
            it is saved.
        ArchiveBusy, ArchiveFull: see ``EventStore.save_many``.  What *progress* was
            told of is saved.

    To import the same lines again, after an error, is harmless.
    """
    done = Imported()
    batch: list[Event] = []
    characters = 0

    def save() -> None:
        nonlocal characters
        done.events += len(batch)
        done.saved += store.save_many(batch)
        batch.clear()
        characters = 0
        progress(done)

    for number, line in enumerate(lines, 1):
        try:
            event = from_line(line) if line.strip() else None
        except InvalidLine as exc:
            save()
            raise InvalidLine(f"line {number}: {exc}") from exc
        done.lines = number
        if event is None:
            continue
        batch.append(event)
        characters += len(line)
        if len(batch) >= _BATCH or characters >= _BATCH_CHARACTERS:
            save()
    save()
    return done


def to_line(event: Event) -> str:
    """Return *event* as a line of JSON, with its end."""
    fields: dict[str, Any] = {
        "id": event.id,
        "source": event.source,
        "timestamp": event.timestamp,
        "tags": event.tags,
        "content": event.content,
    }
    if event.received is not None:
        fields["received"] = event.received
    if event.message is not None:
        fields["message"] = base64.b64encode(event.message).decode()
    # As it is, so that people can read and search it; what may end the line is escaped.
    return _ENDINGS.sub(_escaped, json.dumps(fields, ensure_ascii=False)) + "\n"


def from_line(line: str | bytes) -> Event:
    """Return the event that ``to_line`` wrote.

    Raises:
        InvalidLine: it is none.
    """
    try:
        # A file of another system's may begin with the mark of its byte order.
        text = line.decode("utf-8-sig") if isinstance(line, bytes) else line.removeprefix("\ufeff")
        fields = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise InvalidLine(f"it is no JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise InvalidLine(f"it is no JSON object, but {type(fields).__name__}: {text:.80}")
    missing = [name for name in _REQUIRED if fields.get(name) is None]
    if missing:
        raise InvalidLine(f"it lacks {' and '.join(missing)}: {text:.80}")
    try:
        return Event(
            fields["id"],
            fields["source"],
            fields["timestamp"],
            fields.get("tags", []),
            fields.get("content", ""),
            received=fields.get("received"),
            message=_message(fields.get("message")),
        )
    except InvalidEvent as exc:
        raise InvalidLine(str(exc)) from exc


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _message(encoded: object) -> bytes | None:
    if encoded is None:
        return None
    if not isinstance(encoded, str):
        raise InvalidLine(f"message is text in base64, not {encoded!r:.80}")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidLine(f"message is no base64: {exc}") from exc
