"""What the user asks for on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

import click
import pytest

from antiphon.cli.choosing import (
    described,
    import_modules,
    origin_spec,
    parse_filters,
    tell_slip,
    wire_names,
)
from antiphon.events.api import BaseEvent
from antiphon.events.origin import Prefix


def test_own_classes_by_bare_name() -> None:
    """A bare name means our class of that name, and one of a main program."""
    import_modules([])

    assert ["antiphon:StoreSetEvent", "StoreSetEvent"] == wire_names("StoreSetEvent")


def test_unknown_names() -> None:
    """A name with a colon is taken as it is; an unknown bare one may be a main program's."""
    assert ["myapp:NamedNowhereElse"] == wire_names("myapp:NamedNowhereElse")
    assert ["NamedNowhereElse"] == wire_names("NamedNowhereElse")


def test_several_classes_of_one_name() -> None:
    """A bare name that several classes have means all of them."""
    classes = [
        type("Twice", (BaseEvent,), {"wire_name": f"test_choosing_{number}:Twice"})
        for number in range(2)
    ]

    names = wire_names("Twice")

    assert ["test_choosing_0:Twice", "test_choosing_1:Twice", "Twice"] == names
    assert 2 == len(classes)


def test_empty_name() -> None:
    """An empty name is the user's slip."""
    with pytest.raises(click.BadParameter, match="empty"):
        wire_names("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key=prices/eur", {"key": "prices/eur"}),
        ("key=a=b", {"key": "a=b"}),
        ("key=", {"key": ""}),
        ("n=5", {"n": 5}),
        ('code="5"', {"code": "5"}),
        ("is_new=true", {"is_new": True}),
        ("gone=null", {"gone": None}),
        ("a.b=1.5", {"a.b": 1.5}),
        (f"source.store_id={UUID(int=5)}", {"source.store_id": UUID(int=5)}),
        ("deep=" + "[" * 100_000, {"deep": "[" * 100_000}),
    ],
)
def test_filters(text: str, expected: dict[str, object]) -> None:
    """A value is JSON where it can be, else text; a store id is a UUID."""
    found = parse_filters([text])

    assert expected == found
    assert [type(value) for value in expected.values()] == [type(v) for v in found.values()]


@pytest.mark.parametrize("text", ["key", "=x", "", "source.store_id=5"])
def test_filters_that_are_none(text: str) -> None:
    """What is no filter is a wrong call."""
    with pytest.raises(click.BadParameter):
        parse_filters([text])


def test_origins() -> None:
    """Origins and prefixes together are alternatives; none means all."""
    assert origin_spec([], []) is None
    assert ["a", Prefix("b")] == origin_spec(["a"], ["b"])


@pytest.mark.parametrize(
    ("origins", "prefixes", "says"),
    [
        (["a.b.*"], [], "--origin-prefix a.b means all"),
        (["#"], [], "'#' in '#' mean nothing; without it, all"),
        ([], ["a.*"], "--origin-prefix a means all"),
    ],
)
def test_origins_have_no_wildcards(origins: list[str], prefixes: list[str], says: str) -> None:
    """Who writes one is told what does what it would."""
    with pytest.raises(click.BadParameter, match=says):
        origin_spec(origins, prefixes)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("StoreSetEvnt", "no class 'StoreSetEvnt' is known here; did you mean 'StoreSetEvent'?"),
        ("StoreSetEvent", ""),
        ("Paid", ""),
        ("shop:StoreSetEvnt", ""),
    ],
)
def test_a_slip_is_told(name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bare name that is nearly a known one is heard by nobody, or hears nothing."""
    import_modules([])
    tell_slip(name)

    assert told == capsys.readouterr().err.removeprefix("antiphon: ").strip()


def test_all_that_was_asked_for_is_said() -> None:
    """Who hears nothing sees why in the first line."""
    chosen = described(["a:B", "C"], ["shop"], ["till"], ["n=5", "m=6"])

    assert "a:B, C from shop, till.* with n=5, m=6" == chosen
    assert "all events" == described([], [], [], [])


def test_module_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a user's module raises is one line."""
    (tmp_path / "failing_events.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(click.BadParameter, match="ZeroDivisionError"):
        import_modules(["failing_events"])
    sys.path[:] = [path for path in sys.path if path]
