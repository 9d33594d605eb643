"""Origins: where an event comes from, and who asks for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.events.api import BaseEvent
from antiphon.events.delivery import Delivery
from antiphon.events.event_id import next_event_id
from antiphon.events.origin import Prefix, matches_origin, origin_of


def arrived(origin: str | None, /, **attributes: Any) -> BaseEvent:
    """Return an event that came from the broker with *origin*."""
    event = BaseEvent(**attributes)
    event._delivery = Delivery(next_event_id(), origin, 1)
    return event


@pytest.mark.parametrize(
    ("expected", "event"),
    [
        ("e", BaseEvent(origin="e", source=SimpleNamespace(origin="s"))),
        ("s", BaseEvent(source=SimpleNamespace(origin="s"))),
        ("s", BaseEvent(origin=3, source=SimpleNamespace(origin="s"))),
        ("default", BaseEvent(source=SimpleNamespace(origin=None))),
        ("default", BaseEvent()),
        ("d", arrived("d", source=SimpleNamespace(origin="s"))),
        ("e", arrived("d", origin="e")),
        (None, arrived(None, source=SimpleNamespace(origin="s"))),
        ("", BaseEvent(origin="")),
    ],
)
def test_the_first_text_is_the_origin(expected: str | None, event: BaseEvent) -> None:
    """The event's own origin, the sender's word, the source's, the default: in this order."""
    assert expected == origin_of(event, "default")


@pytest.mark.parametrize(
    ("expected", "spec", "origin"),
    [
        (True, None, None),
        (True, None, "a"),
        (True, "a.b", "a.b"),
        (False, "a.b", "a.b.c"),
        (False, "a.b", None),
        (True, Prefix("a.b"), "a.b"),
        (True, Prefix("a.b"), "a.b.c.d"),
        (False, Prefix("a.b"), "a.bc"),
        (False, Prefix("a.b"), "a"),
        (False, Prefix("a"), None),
        (True, Prefix(""), ""),
        (False, Prefix(""), "a"),
        (True, ["x", Prefix("a")], "a.b"),
        (False, ["x", "y"], "z"),
        (False, [], "a"),
    ],
)
def test_what_an_origin_is_matched_by(expected: bool, spec: Any, origin: str | None) -> None:
    """None is all, text is that one, a prefix goes by whole words, one of several is enough."""
    assert expected == matches_origin(spec, origin)


def test_a_prefix_is_no_plain_text() -> None:
    """An origin and the prefix of the same words can be asked for together."""
    assert Prefix("a") != "a"
    assert "a" != Prefix("a")
    assert 2 == len({"a", Prefix("a"), Prefix("a")})
    assert Prefix("a") != Prefix("b")


def test_a_prefix_shows_its_words() -> None:
    """It can be split and printed."""
    prefix = Prefix("a.b")

    assert (("a", "b"), "a.b", "Prefix('a.b')") == (prefix.words, str(prefix), repr(prefix))
