"""What an event of an archive can be."""

from __future__ import annotations

import math
import time

import pytest

from antiphon.archive import Event, InvalidEvent


def test_what_is_left_out_has_a_default() -> None:
    """Theia's: now, no tags, no content."""
    before = time.time()
    event = Event("x", "here")

    assert before <= event.timestamp <= time.time()
    assert ([], "", None, None) == (event.tags, event.content, event.received, event.message)


def test_theias_arguments_go_by_position() -> None:
    """Programs written for Theia make events like this."""
    event = Event("x", "here", 5, ["A"], "text")

    assert ("x", "here", 5.0, ["A"], "text") == (
        event.id,
        event.source,
        event.timestamp,
        event.tags,
        event.content,
    )


def test_events_that_say_the_same_are_equal() -> None:
    """Down to the last field."""
    assert Event("x", "s", 1, ["A"]) == Event("x", "s", 1.0, ("A",))  # type: ignore[arg-type]
    assert Event("x", "s", 1, ["A"]) != Event("x", "s", 1, ["A"], message=b"")


@pytest.mark.parametrize(
    "tags", [("b", "a"), {"a", "b"}, frozenset("ab")], ids=["tuple", "set", "frozenset"]
)
def test_tags_are_a_list(tags: list[str]) -> None:
    """Whatever they were given as; a set in the order of the alphabet."""
    assert (["b", "a"] if isinstance(tags, tuple) else ["a", "b"]) == Event("x", "s", 1, tags).tags


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "s"), "id must be text, not None"),
        (("", "s"), "needs an id"),
        (("\ud800", "s"), "lone surrogate"),
        (("x", None), "source must be text"),
        (("x", "s", math.nan), "timestamp must be a finite number"),
        (("x", "s", -math.inf), "timestamp must be a finite number"),
        (("x", "s", True), "timestamp must be seconds"),
        (("x", "s", "2026"), "timestamp must be seconds"),
        (("x", "s", 1, "A"), "tags must be a list"),
        (("x", "s", 1, {"A": 1}), "tags must be a list"),
        (("x", "s", 1, ["A", 1]), "a tag must be text, not 1"),
        (("x", "s", 1, {"A", 1}), "a tag must be text, not 1"),
        (("x", "s", 1, ["A", "\udc00"]), "lone surrogate"),
        (("i" * 10_001, "s"), "id of 10001 characters is too long"),
        (("x", "s", 1, ["A", "t" * 10_001]), "a tag of 10001 characters is too long"),
        (("x", "s", 1, [], b"x"), "content must be text"),
        (("x", "s", 1, [], "\udfff"), "lone surrogate"),
    ],
)
def test_what_cannot_be_archived_is_refused(arguments: tuple[object, ...], message: str) -> None:
    """At construction, with the field and its value."""
    with pytest.raises(InvalidEvent, match=message):
        Event(*arguments)  # type: ignore[arg-type]


def test_long_words_and_many_tags_are_fine() -> None:
    """Each is counted for itself."""
    event = Event("i" * 10_000, "s" * 100_000, 1.0, ["t" * 10_000, *map(str, range(10_000))])

    assert 10_001 == len(event.tags)


def test_what_a_recorder_adds_is_checked_too() -> None:
    """The time of arrival, and the message."""
    with pytest.raises(InvalidEvent, match="received"):
        Event("x", "s", received=math.inf)
    with pytest.raises(InvalidEvent, match="message must be bytes, not str"):
        Event("x", "s", message="text")  # type: ignore[arg-type]
