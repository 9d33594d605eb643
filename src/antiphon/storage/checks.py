"""What users hand to stores, checked."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.errors import InvalidKey, InvalidValue
from antiphon.storage.journal import Position, Version

#: Bytes that a key may have as UTF-8: 1 MiB.  It has to fit the message that
#: tells of its change.
MAX_KEY_BYTES = 1 << 20


def checked_key(key: object) -> str:
    """Return *key* as plain text.

    Raises:
        InvalidKey: it is not text, text that cannot be written as UTF-8, or
            longer than ``MAX_KEY_BYTES``.
    """
    if not isinstance(key, str):
        raise InvalidKey(f"a key must be text, not {type(key).__name__}: {key!r:.80}")
    plain = str.__str__(key)
    size = len(plain)
    if not plain.isascii():
        try:
            size = len(plain.encode())
        except UnicodeEncodeError:
            raise InvalidKey(f"the key {plain!r:.80} cannot be written as UTF-8") from None
    if size > MAX_KEY_BYTES:
        raise InvalidKey(
            f"the key {plain[:80]!r}… has {size} bytes as UTF-8; at most {MAX_KEY_BYTES} can be"
        )
    return plain


def checked_select(select: Iterable[str] | None) -> list[str] | None:
    """Return the names in *select* as a list; None, for all, as it is.

    Raises:
        InvalidValue: it is one text, whose letters would be taken for names.
    """
    if isinstance(select, (str, bytes)):
        raise InvalidValue(
            f"select takes several names, and got the text {select!r:.80}; write [{select!r:.80}]"
        )
    return None if select is None else list(select)


def checked_expect(expect: object) -> Version | None:
    if expect is None or isinstance(expect, Version):
        return expect
    raise InvalidValue(
        f"expect must be a Version, as value.version is, ABSENT or None; not {expect!r:.80}"
    )


def checked_position(position: object) -> Position:
    """Return *position* if it is one of a journal.

    Raises:
        InvalidValue: it is not.
    """
    if isinstance(position, Position):
        return position
    raise InvalidValue(
        f"position is {position!r:.100}; it must be a Position, as head() and an event's"
        " position are"
    )


def checked_timeout(timeout_s: object) -> float:
    """Return *timeout_s* if it is a number of seconds, 0 and ``inf`` included.

    Raises:
        InvalidValue: it is not.
    """
    if isinstance(timeout_s, (int, float)) and timeout_s >= 0:
        return float(timeout_s)
    raise InvalidValue(f"timeout_s must be a number of seconds from 0 on, not {timeout_s!r:.80}")
