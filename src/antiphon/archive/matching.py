"""Regular expressions on contents, which end in time.

Python's ``re`` cannot be stopped, and a pattern like ``(a+)+b`` runs for years
on a short text; the library ``regex`` can, so it is used here, and only here.
"""

from __future__ import annotations

import time
from typing import Any

from antiphon.archive.repeats import check_repeats
from antiphon.errors import InvalidSearch, MatchTooSlow

#: Seconds (of processor time) that a pattern may take on one content, and characters
#: for which it gets a further second.
CONTENT_S = 0.25
CHARACTERS_PER_S = 2_000_000

#: Seconds that a search may take for matching in all, and those that each content adds.
SEARCH_S = 2.0
PER_CONTENT_S = 0.0005

#: Characters of a pattern.
MAX_PATTERN = 10_000


class Matcher:
    """A pattern, with the time that it may still take in one search.

    Args:
        pattern: a regular expression, looked for anywhere in a content.

    Raises:
        InvalidSearch: it is broken; the message says where.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._compiled = _compiled(pattern)
        self._left_s = SEARCH_S

    def matches(self, content: str) -> bool:
        """Return whether the pattern is found in *content*.

        Raises:
            MatchTooSlow: it takes too long on this content, or has taken too
                long on all so far.
        """
        granted = len(content) / CHARACTERS_PER_S
        # Never more than at the beginning: what was quick for long earns nothing slow.
        self._left_s = min(self._left_s + PER_CONTENT_S, SEARCH_S) + granted
        allowed = min(self._left_s, CONTENT_S + granted)
        # Not by the clock on the wall: on a busy machine that runs for others, too.
        began = time.thread_time()
        try:
            found = self._compiled.search(content, timeout=allowed) is not None
        except (TimeoutError, MemoryError):
            raise self._too_slow(len(content)) from None
        self._left_s -= time.thread_time() - began
        if self._left_s <= 0:
            raise self._too_slow(len(content))
        return found

    def _too_slow(self, characters: int) -> MatchTooSlow:
        return MatchTooSlow(
            f"the pattern {self._pattern!r:.200} takes too long (last on a content of"
            f" {characters} characters); write it without a repetition inside a repetition"
        )


def _compiled(pattern: str) -> Any:
    if not isinstance(pattern, str):
        raise InvalidSearch(f"match must be a regular expression in text, not {pattern!r:.80}")
    if len(pattern) > MAX_PATTERN:
        raise InvalidSearch(
            f"match has {len(pattern)} characters; a pattern has at most {MAX_PATTERN}"
        )
    check_repeats(pattern)
    # Not on top: importing this package needs no library.
    import regex  # type: ignore[import-untyped]

    try:
        # Not kept by the library, which would hold hundreds of them, of megabytes each.
        return regex.compile(pattern, cache_pattern=False)
    except regex.error as exc:
        where = "" if exc.pos is None else f" at position {exc.pos}"
        raise InvalidSearch(f"match {pattern!r:.200} is no pattern: {exc.msg}{where}") from exc
    except (ValueError, OverflowError, RecursionError, MemoryError) as exc:
        raise InvalidSearch(f"match {pattern!r:.200} cannot be used: {exc}") from exc
