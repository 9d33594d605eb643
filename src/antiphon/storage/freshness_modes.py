"""What a reader of a cache asks for, and what it is told about what it got."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from antiphon.errors import InvalidFreshness
from antiphon.storage.journal import Position, Version

#: Seconds by which a cached read may be older than the backing store.
MAX_STALENESS_S = 3.0


@dataclass(frozen=True, slots=True)
class FreshnessMode:
    """How fresh a read has to be; made by ``bounded`` and ``mode_of``.

    Attributes:
        name: ``strict``, ``bounded`` or ``available``.
        max_age_s: seconds by which a value that is called fresh may be behind
            the backing store; 0 for ``strict``.
    """

    name: Literal["strict", "bounded", "available"]
    max_age_s: float

    def __str__(self) -> str:
        return self.name if self.name == "strict" else f"{self.name}({self.max_age_s:g})"


#: Each read asks the backing store for its head.
STRICT = FreshnessMode("strict", 0.0)


#: What a cache is that does not say.
DEFAULT_MODE = FreshnessMode("bounded", MAX_STALENESS_S)


def bounded(seconds: float) -> FreshnessMode:
    """Return the mode in which a cached read is at most *seconds* behind the backing store.

    Raises:
        InvalidFreshness: that is no number of seconds above 0.
    """
    return FreshnessMode("bounded", _checked_bound("seconds", seconds))


def available(seconds: float = MAX_STALENESS_S) -> FreshnessMode:
    """Return the mode that serves whatever the cache has, and says what it is worth.

    Args:
        seconds: what is shown to be at most so far behind is called fresh.

    Raises:
        InvalidFreshness: that is no number of seconds above 0.
    """
    return FreshnessMode("available", _checked_bound("seconds", seconds))


_TEXT = re.compile(r"(strict|bounded|available)(?:\((.+)\))?")


def mode_of(
    freshness: str | FreshnessMode | None, max_staleness_s: float | None = None
) -> FreshnessMode:
    """Return the mode that is meant, as ``MountedStore`` takes it.

    Args:
        freshness: a mode, or its name: ``strict``, ``bounded``, ``available``,
            the last two also with their seconds, as ``bounded(5)``; None is
            ``bounded``.
        max_staleness_s: the seconds, where *freshness* does not say them.

    Raises:
        InvalidFreshness: neither is a mode, or the two contradict each other.
    """
    if max_staleness_s is not None:
        max_staleness_s = _checked_bound("max_staleness_s", max_staleness_s)
    if freshness is None:
        return bounded(MAX_STALENESS_S if max_staleness_s is None else max_staleness_s)
    if isinstance(freshness, FreshnessMode):
        name, said = freshness.name, freshness.max_age_s
        return _united(name, said, max_staleness_s)
    found = _TEXT.fullmatch(freshness.strip()) if isinstance(freshness, str) else None
    if found is None:
        raise InvalidFreshness(
            f"freshness is {freshness!r:.80}; it is 'strict', 'bounded(<seconds>)' or 'available'"
        )
    if found[2] is None:
        return _united(found[1], None, max_staleness_s)
    if found[1] == "strict":
        raise InvalidFreshness(f"freshness is {freshness!r:.80}; 'strict' takes no seconds")
    try:
        seconds = bounded(float(found[2])).max_age_s
    except ValueError:  # InvalidFreshness, too, which names the number only
        raise InvalidFreshness(
            f"freshness is {freshness!r:.80}; the seconds must be above 0, and finite"
        ) from None
    return _united(found[1], seconds, max_staleness_s)


def _united(name: str, said: float | None, max_staleness_s: float | None) -> FreshnessMode:
    if name == "strict":
        if max_staleness_s is not None:
            raise InvalidFreshness(
                "freshness='strict' takes no max_staleness_s: nothing that may be stale is served"
            )
        return STRICT
    if said is not None and max_staleness_s is not None and said != max_staleness_s:
        raise InvalidFreshness(
            f"freshness says {said:g} seconds and max_staleness_s {max_staleness_s:g};"
            " give one of them"
        )
    seconds = said if said is not None else max_staleness_s
    make = bounded if name == "bounded" else available
    return make(MAX_STALENESS_S if seconds is None else seconds)


def _checked_bound(name: str, seconds: float) -> float:
    if isinstance(seconds, (int, float)) and 0 < seconds < math.inf:
        return float(seconds)
    raise InvalidFreshness(f"{name} is {seconds!r:.80}; it must be above 0 seconds, and finite")


class Demand(NamedTuple):
    """What one read asks for beyond the mode of its cache.

    Attributes:
        at_least: the value must hold every change up to here; None asks for nothing.
        max_age_s: seconds that it may be behind, in place of the mode's; 0
            asks the backing store during the read.
    """

    at_least: Position | Version | None
    max_age_s: float | None


def demand_of(at_least: Position | Version | None, max_age_s: float | None) -> Demand | None:
    """Return what a read asks for; None if that is nothing.

    Raises:
        InvalidFreshness: one of the two is not what it has to be.
    """
    if at_least is None and max_age_s is None:
        return None
    if at_least is not None and not isinstance(at_least, (Position, Version)):
        raise InvalidFreshness(
            f"at_least is {at_least!r:.80}; it is a Position, or the Version that a write returned"
        )
    if max_age_s is not None and not (
        isinstance(max_age_s, (int, float)) and 0 <= max_age_s < math.inf
    ):
        raise InvalidFreshness(
            f"max_age_s is {max_age_s!r:.80}; it must be 0 or more seconds, and finite"
        )
    return Demand(at_least, max_age_s)


@dataclass(frozen=True, slots=True)
class FreshnessReport:
    """What is known of how fresh a value, or a cache, is.

    Attributes:
        state: ``fresh`` if it is shown to be within its bound, else ``unsure``.
        age_s: seconds since the backing store was asked for the head that was
            reached: no change from before that moment is missing.  None if
            nothing is known.
        why: the reason, in words.
        positions: of a value, how far the changes of each journal are in it;
            of a cache, how far they were applied.  Empty if nothing is known.
    """

    state: Literal["fresh", "unsure"]
    age_s: float | None
    why: str
    positions: tuple[Position, ...] = ()

    def __str__(self) -> str:
        """Return a line for people: the state, the age and the reason."""
        return f"{self.state}, {_age(self.age_s)}: {self.why}"

    @property
    def is_fresh(self) -> bool:
        """Whether the state is ``fresh``."""
        return self.state == "fresh"

    @property
    def position(self) -> Position | None:
        """The only one of ``positions``; None where there is none, or several."""
        return self.positions[0] if len(self.positions) == 1 else None


def _age(age_s: float | None) -> str:
    if age_s is None:
        return "nobody knows how old"
    return f"{age_s * 1000:.1f} ms old" if age_s < 1 else f"{age_s:.1f} s old"
