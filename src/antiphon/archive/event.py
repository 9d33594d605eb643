"""What an archive keeps: an event of the past (Theia's name and fields)."""

from __future__ import annotations

import math
import time
from dataclasses import KW_ONLY, dataclass

from antiphon.errors import InvalidEvent

#: Characters of an id and of a tag.  They stand in indexes, where each step of a look-up may
#: read one as a whole: with one tag of 10 MB in an archive, saving 1000 others took 8 s.
MAX_WORD = 10_000


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
        InvalidEvent: a field has another type, a time is not finite, a text cannot
            be written as UTF-8, or the id or a tag is longer than ``MAX_WORD``.
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
        if not self._is_plain():
            self._check_each()

    def _is_plain(self) -> bool:
        """Return whether all is as nearly always; each field is looked at if not."""
        # In one piece: a recorder looks at thousands a second, and twice at each.
        received, message = self.received, self.message
        try:
            return bool(
                self.id
                and self.id.isascii()
                and len(self.id) <= MAX_WORD
                and self.source.isascii()
                and self.content.isascii()
                and type(self.tags) is list
                and (tags := "".join(self.tags)).isascii()
                and len(tags) <= MAX_WORD
                and type(self.timestamp) is float
                and math.isfinite(self.timestamp)
                and (received is None or (type(received) is float and math.isfinite(received)))
                and (message is None or isinstance(message, bytes))
                # Bytes, too, can be asked whether they are ASCII.
                and isinstance(self.id, str)
                and isinstance(self.source, str)
                and isinstance(self.content, str)
            )
        except (TypeError, AttributeError):
            return False

    def _check_each(self) -> None:
        _check_word("id", self.id)
        if not self.id:
            raise InvalidEvent("an event needs an id, and '' is none")
        _check_text("source", self.source)
        _check_text("content", self.content)
        if type(self.tags) is not list:
            self.tags = _listed(self.tags)
        _check_tags(self.tags)
        self.timestamp = _seconds("timestamp", self.timestamp)
        if self.received is not None:
            self.received = _seconds("received", self.received)
        if self.message is not None and not isinstance(self.message, bytes):
            raise InvalidEvent(f"message must be bytes, not {type(self.message).__name__}")


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidEvent(f"{field} must be text, not {value!r:.80}")
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidEvent(
            f"{field} {value!r:.80} has half a character (a lone surrogate) at {exc.start},"
            " which UTF-8 cannot write"
        ) from None


def _check_word(field: str, value: object) -> None:
    _check_text(field, value)
    if isinstance(value, str) and len(value) > MAX_WORD:
        raise InvalidEvent(
            f"{field} of {len(value)} characters is too long, {value!r:.80}: at most {MAX_WORD};"
            " what is longer belongs into the content"
        )


def _listed(tags: object) -> list[str]:
    if not isinstance(tags, list | tuple | set | frozenset):
        raise InvalidEvent(f"tags must be a list of text, not {tags!r:.80}")
    if isinstance(tags, set | frozenset):
        for tag in tags:
            _check_text("a tag", tag)
        # A set has no order of its own that would be the same next time.
        return sorted(tags)
    return list(tags)


def _check_tags(tags: list[str]) -> None:
    for tag in tags:
        _check_word("a tag", tag)


def _seconds(field: str, value: object) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidEvent(f"{field} must be seconds since the epoch, not {value!r:.80}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        raise InvalidEvent(f"{field} must be a finite number of seconds, not {value!r:.80}")
    return seconds
