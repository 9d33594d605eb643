"""What an archive keeps: an event of the past (Theia's name and fields)."""

from __future__ import annotations

import math
import time
from dataclasses import KW_ONLY, dataclass

from antiphon.errors import InvalidEvent


@dataclass(slots=True)
class Event:
    """One event, as an archive keeps it; equal to another that says the same.

    Args:
        id: unique text; saving the same id twice keeps what was saved first.
        source: where it came from.
        timestamp: when it happened, in seconds since the epoch; None is now.
        tags: words to find it by: the *flags* of a search; None is none.
        content: text of any length; None is ``""``.
        received: when it was archived, in seconds since the epoch, if that was noted.
        message: the event as it went over the wire, if it came from there.

    Raises:
        InvalidEvent: a field has another type, a time is not finite, or a text
            cannot be written as UTF-8.
    """

    id: str
    source: str
    timestamp: float = None  # type: ignore[assignment]  # after construction it is a float
    tags: list[str] = None  # type: ignore[assignment]  # likewise a list
    content: str = None  # type: ignore[assignment]  # likewise text
    _: KW_ONLY
    received: float | None = None
    message: bytes | None = None

    def __post_init__(self) -> None:
        if self.timestamp is None:
            self.timestamp = time.time()
        self.tags = [] if self.tags is None else self.tags
        self.content = "" if self.content is None else self.content
        self.check()

    def check(self) -> None:
        """Raise ``InvalidEvent`` if a field was changed to what cannot be archived."""
        self.id = _text("id", self.id)
        if not self.id:
            raise InvalidEvent("an event needs an id, and '' is none")
        self.source = _text("source", self.source)
        self.timestamp = _time("timestamp", self.timestamp)
        self.tags = _tags(self.tags)
        self.content = _text("content", self.content)
        if self.received is not None:
            self.received = _time("received", self.received)
        if self.message is not None and not isinstance(self.message, bytes):
            raise InvalidEvent(f"message must be bytes, not {type(self.message).__name__}")


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidEvent(f"{field} must be text, not {value!r:.80}")
    try:
        if not value.isascii():
            value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidEvent(
            f"{field} {value!r:.80} has half a character (a lone surrogate) at {exc.start},"
            " which UTF-8 cannot write"
        ) from None
    return value


def _time(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEvent(f"{field} must be seconds since the epoch, not {value!r:.80}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise InvalidEvent(f"{field} must be a finite number of seconds, not {value!r:.80}")
    return seconds


def _tags(value: object) -> list[str]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise InvalidEvent(f"tags must be a list of text, not {value!r:.80}")
    # A set has no order of its own that would be the same next time.
    texts = [_text("a tag", tag) for tag in value]
    return sorted(texts) if isinstance(value, set | frozenset) else texts
