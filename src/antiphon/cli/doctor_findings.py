"""What a doctor finds, one thing each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

#: "ok"; "skipped": nobody looked; "warning": works, and somebody should look; "wrong".
Status = Literal["ok", "skipped", "warning", "wrong"]

#: Seconds that a clock may be off: more is seen in times that are compared; and where events
#: of an hour would be looked for in another one.
CLOCK_WARNING_S, CLOCK_WRONG_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what it belongs to: "broker", "processes", "redis redis://…".
        check: what was looked at: "reachable", "version", "clock"…
        status: how it is.
        text: what was found.
        advice: what to do; empty if nothing is.
        facts: the same for programs.
    """

    subject: str
    check: str
    status: Status
    text: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it with the names that JSON has for it."""
        return {
            "subject": self.subject,
            "check": self.check,
            "status": self.status,
            "text": self.text,
            "advice": self.advice or None,
            "facts": self.facts,
        }


def of_clock(subject: str, whose: str, off_s: float) -> Finding:
    """Return what there is to say of a clock that is *off_s* seconds ahead of ours, at least."""
    facts = {"whose": whose, "off_s": round(off_s, 3)}
    if abs(off_s) < CLOCK_WARNING_S:
        return Finding(subject, "clock", "ok", f"{whose} agrees with the one here", facts=facts)
    where = "ahead of" if off_s > 0 else "behind"
    return Finding(
        subject,
        "clock",
        "warning" if abs(off_s) < CLOCK_WRONG_S else "wrong",
        f"{whose} is {abs(off_s):.1f} s {where} the one here",
        "times of events are those of the machine that emitted them: keep all clocks right "
        "(chrony, systemd-timesyncd)",
        facts,
    )


def quickly(seconds: float) -> str:
    """Return *seconds* for people."""
    return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def some_of(names: Iterable[str], limit: int = 5) -> str:
    """Return *names* as a list with commas; of many the first, and how many more."""
    told = list(names)
    more = f" and {len(told) - limit} more" if len(told) > limit else ""
    return ", ".join(told[:limit]) + more


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with; ``()`` for what is none."""
    numbers: list[int] = []
    for part in text.split("."):
        digits = part[: next((i for i, c in enumerate(part) if c not in "0123456789"), len(part))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
