"""Patterns: what they find, and what they may take."""

from __future__ import annotations

import re

import pytest

from antiphon.archive import InvalidSearch, MatchTooSlow, matching
from antiphon.archive.matching import Matcher


@pytest.mark.parametrize(
    ("pattern", "content"),
    [
        ("b", "abc"),
        ("^$", ""),
        (r"\bkey: (\w+), \1", "key: a, a"),
        (r"(?i)ÜBER", "über"),
        (r"(?s)a.b", "a\nb"),
        (r"(?<=a)b(?!d)", "abc"),
        ("\x00", "\x00"),
    ],
)
def test_a_pattern_means_what_python_means(pattern: str, content: str) -> None:
    """Where ``re`` finds something, so does an archive."""
    assert re.search(pattern, content)
    assert Matcher(pattern).matches(content)
    assert not Matcher(pattern).matches("nothing of it")


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "a**", "(?P<x", r"\1", "(?<=a", "(" * 5000, 1, None]
)
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    """With the pattern, so that its writer finds the slip."""
    with pytest.raises(InvalidSearch, match="match"):
        Matcher(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "a{1000000}",
        "(a{1000,}){1000}",
        "((a{1000}){1000}){1000}",
        "(?:(?:a?){65000}){65000}",
        "a{1000}{1000}",
        "(?:(?:a{1000})?){0,5}{1000}",
        "(a{1000}[(]){1000}",
        "(a{1000}[^](]){1000}",
        r"(a{1000}\(){1000}",
        "([)]a{1000}){1000}",
        "a{1000}){1000}",
        "(?x)(a{1000}# (\n){1000}",
        r"(a{1000}(?#\)){1000}",
        "(a{300}[[:alpha:](]){300}",
        "|".join(["(?:x{100}){100}"] * 300),
    ],
)
def test_a_pattern_too_large_to_be_written_out_is_refused(pattern: str) -> None:
    """It would take the memory of the machine before its time has begun."""
    with pytest.raises(InvalidSearch, match="repeats too much"):
        Matcher(pattern)


def test_honest_counts_are_fine() -> None:
    """Dates, ids and long words."""
    pattern = (
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2} [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} [a-z]{1,9999}"
    )

    assert Matcher(pattern + " [^]()]{9}").matches(
        "2026-11-21T10:00 01234567-0123-0123-0123-0123456789ab abc 123456789"
    )
    assert Matcher("(?:[0-9a-f]{2}:){15}[0-9a-f]{2}.{0,1000000}$").matches("00:" * 15 + "00")


def test_a_pattern_that_takes_all_memory_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library has a limit of its own for what it has to remember."""
    matcher = Matcher("a")

    class Full:
        def search(self, *_: object, **__: object) -> None:
            raise MemoryError

    monkeypatch.setattr(matcher, "_compiled", Full())

    with pytest.raises(MatchTooSlow):
        matcher.matches("a")


def test_a_large_content_is_no_slow_one() -> None:
    """It gets time for its length."""
    assert not Matcher("x+y").matches("x" * 1000 + "a" * 20_000_000)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        "(a|aa)+$",
        "(a|b|ab)*$",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(?:(?:a{1,50}){1,50}){1,50}c",
        "(.*)(.*)(.*)(.*)(.*)[0-9]",
        "(a?){40}a{40}x?$",
    ],
)
def test_a_pattern_that_would_never_end_is_stopped(
    monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    """Those by which others were brought to a halt, among them."""
    monkeypatch.setattr(matching, "CONTENT_S", 0.02)

    with pytest.raises(MatchTooSlow):
        Matcher(pattern).matches("a" * 5000 + "!")


def test_many_contents_are_no_slow_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives the time that an honest pattern takes, so that scans may be long."""
    monkeypatch.setattr(matching, "SEARCH_S", 0.05)
    matcher = Matcher(r"price\W+\d+ eur$")

    assert not any(matcher.matches("price 31 usd, and more of this kind") for _ in range(20_000))


def test_many_slow_contents_are_a_slow_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although each of them would do: a million of them would not."""
    monkeypatch.setattr(matching, "SEARCH_S", 0.1)
    matcher = Matcher("(.*)(.*)(.*)(.*)(.*)[0-9]")

    with pytest.raises(MatchTooSlow, match="repetition"):
        for _ in range(10_000):
            matcher.matches("a" * 60)


def test_a_new_search_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one search took is not missing in the next."""
    monkeypatch.setattr(matching, "CONTENT_S", 0.01)
    with pytest.raises(MatchTooSlow):
        Matcher("(a|aa)+$").matches("a" * 100 + "!")

    assert not Matcher("(a|aa)+$").matches("a!")
