"""What a mode and a demand may be, and what is told of those that make no sense."""

import re
from typing import Literal
from uuid import UUID

import pytest

from antiphon.errors import InvalidFreshness
from antiphon.storage.freshness_modes import (
    DEFAULT_MODE,
    STRICT,
    FreshnessMode,
    FreshnessReport,
    available,
    bounded,
    demand_of,
    mode_of,
)
from antiphon.storage.journal import ABSENT, Position


@pytest.mark.parametrize(
    ("freshness", "max_staleness_s", "mode"),
    [
        (None, None, DEFAULT_MODE),
        (None, 5, bounded(5)),
        ("strict", None, STRICT),
        (STRICT, None, STRICT),
        ("bounded", None, bounded(3)),
        ("bounded", 7, bounded(7)),
        ("bounded(0.5)", None, bounded(0.5)),
        (bounded(2), 2, bounded(2)),
        ("available", None, available(3)),
        ("available", 9, available(9)),
        (" available(1e1) ", None, available(10)),
    ],
)
def test_a_mode_has_a_name_and_seconds(
    freshness: str | FreshnessMode | None, max_staleness_s: float | None, mode: FreshnessMode
) -> None:
    """The short form of the bound, the text of a settings file, and the objects mean the same."""
    assert mode == mode_of(freshness, max_staleness_s)
    assert mode == mode_of(str(mode))


@pytest.mark.parametrize(
    ("freshness", "max_staleness_s", "told"),
    [
        ("strikt", None, "freshness is 'strikt'"),
        (3, None, "freshness is 3"),
        ("strict(3)", None, "takes no seconds"),
        ("strict", 3, "takes no max_staleness_s"),
        ("bounded(soon)", None, "freshness is 'bounded(soon)'; the seconds must be above 0"),
        ("bounded(0)", None, "freshness is 'bounded(0)'; the seconds must be above 0"),
        ("bounded(inf)", None, "and finite"),
        ("bounded()", None, "freshness is 'bounded()'"),
        ("bounded(2)", 3, "give one of them"),
        (None, -1, "max_staleness_s is -1"),
        (None, "3", "max_staleness_s is '3'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    freshness: object, max_staleness_s: object, told: str
) -> None:
    """The error names the value."""
    with pytest.raises(InvalidFreshness, match=re.escape(told)):
        mode_of(freshness, max_staleness_s)  # type: ignore[arg-type]


def test_a_read_that_asks_for_nothing_has_no_demand() -> None:
    """Most reads do not, and pay nothing for it."""
    assert demand_of(None, None) is None
    assert demand_of(ABSENT, 0) == (ABSENT, 0)


@pytest.mark.parametrize(("at_least", "max_age_s"), [(7, None), (None, -1), (None, float("inf"))])
def test_a_demand_that_makes_no_sense_is_refused(at_least: object, max_age_s: object) -> None:
    """Whatever is served would be right, or nothing could be."""
    with pytest.raises(InvalidFreshness, match=r"at_least is 7|max_age_s is"):
        demand_of(at_least, max_age_s)  # type: ignore[arg-type]


def test_a_report_has_one_position_or_none() -> None:
    """Of several journals there is no one position."""
    assert FreshnessReport("unsure", None, "").position is None
    assert not FreshnessReport("unsure", None, "").is_fresh


@pytest.mark.parametrize(
    ("state", "age_s", "text"),
    [
        ("fresh", 0.0, "fresh, 0.0 ms old: asked"),
        ("fresh", 0.00154, "fresh, 1.5 ms old: asked"),
        ("unsure", 12.04, "unsure, 12.0 s old: asked"),
        ("unsure", None, "unsure, nobody knows how old: asked"),
    ],
)
def test_a_report_is_printed_for_people(
    state: Literal["fresh", "unsure"], age_s: float | None, text: str
) -> None:
    """One line says what, how old and why; positions are for programs."""
    report = FreshnessReport(state, age_s, "asked", (Position(UUID(int=1), 1, 2, b"12345678"),))

    assert text == str(report)
