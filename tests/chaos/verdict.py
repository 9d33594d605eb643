"""What a checker says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

#: Publisher and number of an event.
Key: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise.

    Attributes:
        kind: lost, repeated, reordered, invented, altered, untold, false alarm, dead, slow.
        subscription: whose.
        text: what happened.
        events: the (publisher, number) concerned.
    """

    kind: str
    subscription: str
    text: str
    events: tuple[Key, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} [{self.subscription}] {self.text}"


@dataclass(slots=True)
class Verdict:
    """What ``check`` found.

    Attributes:
        violations: broken promises.
        repeats, disorders: how often what is allowed has happened, by subscription and cause.
        back_s: seconds from each end of a trouble to each reconnect that it caused.
    """

    violations: list[Violation] = field(default_factory=list)
    repeats: Counter[tuple[str, str]] = field(default_factory=Counter)
    disorders: Counter[tuple[str, str]] = field(default_factory=Counter)
    back_s: list[float] = field(default_factory=list)
