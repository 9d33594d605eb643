"""Who plays together around an archive, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.archive.records import Rule
from tests.chaos.keeping import Part

#: Seconds between two looks for what is to be deleted.
RETENTION_INTERVAL_S = 0.4


@dataclass(frozen=True, slots=True)
class Company:
    """Who plays, and what is kept.

    Attributes:
        publishers: parts of publishers.
        others: parts of recorders, tails, replayers and the subscription.
        rules: of retention.
        disk_bytes: of the archive's disk.
    """

    publishers: tuple[Part, ...]
    others: tuple[Part, ...]
    rules: tuple[Rule, ...] = ()
    disk_bytes: int = 256 << 20


def company(rate: float = 40.0) -> Company:
    """Return everybody; publishers emit *rate* events a second each."""
    return Company(
        (
            Part("pub-1", "publisher", network=0, rate=rate),
            Part("pub-2", "publisher", network=1, rate=rate, is_spooled=True),
            Part("pub-3", "publisher", network=0, rate=rate, is_spooled=True),
        ),
        (
            Part("rec-1", "recorder", network=0),
            Part("rec-2", "recorder", network=1),
            Part("tail-1", "tail"),
            Part("tail-2", "tail", wanted="Right"),
            Part("replayer", "replayer", network=1),
            Part("audit", "subscriber", network=0, mode="broadcast", subscription="audit"),
        ),
        # Of what is neither the one nor the other, and of what is both, all is kept.
        (
            Rule("Left", "Right", max_events=200),
            Rule("Right", "Left", max_age_s=4.0),
        ),
    )


def small(rate: float = 80.0) -> Company:
    """Return as few as there can be: what the tests have time for."""
    everybody = company(rate)
    return Company(
        everybody.publishers[:2],
        tuple(part for part in everybody.others if part.name != "tail-2"),
        (Rule("Left", "Right", max_events=50), Rule("Right", "Left", max_age_s=1.0)),
        24 << 20,
    )
