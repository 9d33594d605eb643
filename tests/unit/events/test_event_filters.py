"""Filters: attributes and the values that they must equal."""

from __future__ import annotations

import enum
import gc
import re
import sys
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.events.api import BaseEvent, EventManager
from antiphon.events.filters import hashes_exactly


class SaveEvent(BaseEvent):
    """A file was saved."""

    action = "save"


class Color(enum.Enum):
    RED = "red"


class Raising:
    """Cannot be compared with anything."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = object.__hash__


class NoTruth:
    def __bool__(self) -> bool:
        raise ValueError("no truth")


class Arrayish:
    """Answers a comparison with something that is neither true nor false, as numpy does."""

    def __eq__(self, other: object) -> Any:
        return NoTruth()

    __hash__ = object.__hash__


class EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


class CaselessText(str):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    __hash__ = str.__hash__


@dataclass(frozen=True)
class Source:
    store_id: uuid.UUID | None
    name: str = ""


Pair = namedtuple("Pair", "x y")


@pytest.fixture
def manager() -> EventManager:
    return EventManager()


def hears(filter: Any, event: BaseEvent) -> bool:
    """Return whether a listener with *filter* hears *event*; others filter otherwise."""
    manager = EventManager()
    heard: list[BaseEvent] = []
    for value in ("other", ["other"], None):
        manager.connect(BaseEvent, lambda event: None, dict.fromkeys(filter or {}, value))
    manager.connect(BaseEvent, heard.append, filter)
    manager.emit(event)
    return heard == [event]


# -- What is compared ----------------------------------------------------------------


@pytest.mark.parametrize("filter", [None, {}])
def test_no_filter_hears_everything(filter: Any) -> None:
    """None and an empty filter are the same."""
    assert hears(filter, SaveEvent())


def test_all_attributes_must_match() -> None:
    """One that differs is enough to be left out."""
    event = SaveEvent(a=1, b=2, c=[3])

    assert hears({"a": 1, "b": 2, "c": [3]}, event)
    assert not hears({"a": 1, "b": 2, "c": [4]}, event)
    assert not hears({"a": 1, "b": 0, "c": [3]}, event)


@pytest.mark.parametrize("path", ["b", "a.b", "a.real.b", "", ".", "a.", "a..real"])
def test_a_missing_attribute_does_not_match(path: str) -> None:
    """Whatever the value, None included."""
    for value in (None, 1, []):
        assert not hears({path: value}, SaveEvent(a=1))


def test_the_empty_name_is_a_name_as_any() -> None:
    """It is odd, but an event can have such an attribute."""
    assert hears({"": 1}, BaseEvent(**{"": 1}))


def test_dots_lead_through_attributes() -> None:
    """A dotted name is looked up step by step."""
    event = SaveEvent(source=SimpleNamespace(owner=SimpleNamespace(name="n")))

    assert hears({"source.owner.name": "n"}, event)
    assert not hears({"source.owner.name": "m"}, event)


def test_attributes_of_the_class_count() -> None:
    """A filter does not care where the attribute comes from."""
    assert hears({"action": "save"}, SaveEvent())
    assert hears({"action": "other way"}, SaveEvent(action="other way"))


def test_properties_count() -> None:
    """A property is read when the event is emitted."""

    class Sized(BaseEvent):
        @property
        def size(self) -> int:
            return len(self.data)

    assert hears({"size": 3}, Sized(data="abc"))


def test_getattr_of_the_event_counts() -> None:
    """So does what a class makes up."""

    class Lazy(BaseEvent):
        def __getattr__(self, name: str) -> str:
            if name.startswith("_"):
                raise AttributeError(name)
            return name

    assert hears({"anything": "anything"}, Lazy())


def test_the_source_may_be_an_object() -> None:
    """An object without ``__eq__`` is compared by identity."""
    one, other = object(), object()

    assert hears({"source": one}, SaveEvent(source=one))
    assert not hears({"source": one}, SaveEvent(source=other))


def test_the_identity_of_a_store_is_found_through_the_source() -> None:
    """``source.store_id`` holds across processes, where the source is another object."""
    store_id = uuid.uuid4()
    event = SaveEvent(source=Source(uuid.UUID(str(store_id))))

    assert hears({"source.store_id": store_id}, event)
    assert not hears({"source.store_id": uuid.uuid4()}, event)


SAME = object()
PAIRS = [
    (1, 1.0, True), (1, True, True), (0, -0.0, True), (1, 1 + 0j, True), (10**400, 10**400, True),
    (float("nan"), float("nan"), False), ("a", "a", True), ("a", b"a", False),
    (b"a", bytearray(b"a"), True), (bytearray(b"a"), b"a", True), (b"a", memoryview(b"a"), True),
    ([1], [1.0], True), ([1], (1,), False), ((1,), [1], False), ({1}, frozenset({1}), True),
    (frozenset({1}), {1}, True), ({"a": 1}, OrderedDict(a=1), True), ((1, 2), Pair(1, 2), True),
    (Pair(1, 2), (1, 2), True), (None, None, True), (None, 0, False), ("", None, False),
    (Color.RED, Color.RED, True), (Color.RED, "red", False), (SaveEvent, SaveEvent, True),
    (SaveEvent, BaseEvent, False), (SAME, SAME, True), (Decimal(1), 1, True), (1, Decimal(1), True),
    (Fraction(1, 2), 0.5, True), (0.5, Fraction(1, 2), True),
    (Decimal("NaN"), Decimal("NaN"), False),
    (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), True),
    (Source(None, "a"), Source(None, "a"), True), (Source(None, "a"), Source(None, "b"), False),
    ("text", EqualToAll(), True), (EqualToAll(), "text", True), ([1], EqualToAll(), True),
    (EqualToAll(), [1], True), (CaselessText("A"), "a", True), ("A", CaselessText("a"), True),
    ((CaselessText("A"),), ("a",), True), (("A",), (CaselessText("a"),), True),
    (uuid.UUID(int=1), uuid.UUID(int=1), True), (uuid.UUID(int=1), 1, False),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "found", "expected"), PAIRS)
@pytest.mark.parametrize("path", ["a", "inner.a"])
def test_values_are_compared_as_equals_does(
    path: str, wanted: Any, found: Any, expected: bool
) -> None:
    """What is equal matches, whatever it hashes to, and whether it can be hashed."""
    event = BaseEvent(a=found, inner=SimpleNamespace(a=found))

    assert expected == (found == wanted)
    assert expected == hears({path: wanted}, event)


def test_nan_does_not_match_itself() -> None:
    """Not even the same object, by which a dict would find it."""
    nan = float("nan")

    assert not hears({"a": nan}, BaseEvent(a=nan))


@pytest.mark.parametrize("exact", ["a", 1, None, True, uuid.uuid4(), Color.RED, object(), (1, "a")])
def test_most_values_are_found_by_hash(exact: Any) -> None:
    """These compare as they hash, so no listener with another value is looked at."""
    assert hashes_exactly(exact)


@pytest.mark.parametrize(
    "value", [[], {}, float("nan"), EqualToAll(), CaselessText("a"), (CaselessText("a"),), Raising]
)
def test_what_compares_otherwise_than_it_hashes_is_not(value: Any) -> None:
    """These are compared one by one; a class itself has identity only."""
    assert hashes_exactly(value) == (value is Raising)


# -- What goes wrong -----------------------------------------------------------------


@pytest.mark.parametrize("odd", [Raising(), Arrayish()])
@pytest.mark.parametrize("on_event", [True, False])
def test_a_comparison_that_fails_is_no_match(
    manager: EventManager, caplog: pytest.LogCaptureFixture, odd: Any, on_event: bool
) -> None:
    """It is logged, and other listeners hear the event."""
    heard: list[str] = []
    manager.connect(BaseEvent, lambda event: heard.append("other"), {"b": 1})
    manager.connect(BaseEvent, lambda event: heard.append("odd"), {"a": "x" if on_event else odd})
    manager.emit(BaseEvent(a=odd if on_event else "x", b=1))

    assert ["other"] == heard
    assert "no comparison" in caplog.text or "no truth" in caplog.text


def test_a_property_that_fails_is_no_match(
    manager: EventManager, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, however many filter by it, and others hear the event."""

    class Failing(BaseEvent):
        @property
        def size(self) -> int:
            raise RuntimeError("no size")

    heard: list[str] = []
    for size in range(3):
        manager.connect(Failing, lambda event: heard.append("sized"), {"size": size})
    manager.emit(Failing(a=1))
    manager.connect(BaseEvent, lambda event: heard.append("other"), {"a": 1})
    manager.emit(Failing(a=1))

    assert ["other"] == heard
    assert 2 == caplog.text.count("RuntimeError: no size")


def test_a_property_that_has_no_attribute_is_no_match(manager: EventManager) -> None:
    """AttributeError means that it is not there, and is not logged."""

    class Partial(BaseEvent):
        @property
        def size(self) -> int:
            return len(self.data)

    assert not hears({"size": 3}, Partial())


@pytest.mark.parametrize("filter", ["size", ["size"], 3])
def test_a_filter_is_a_mapping(manager: EventManager, filter: Any) -> None:
    """The mistake is told when connecting, with what was given."""
    with pytest.raises(TypeError, match=f"{re.escape(repr(filter))} does not"):
        manager.connect(BaseEvent, print, filter)

    assert [] == manager.get_listeners(BaseEvent)


def test_names_must_be_text(manager: EventManager) -> None:
    """The mistake is told when connecting."""
    with pytest.raises(TypeError, match="filter key 3"):
        manager.connect(BaseEvent, print, {3: "a"})  # type: ignore[dict-item]

    assert [] == manager.get_listeners(BaseEvent)


def test_a_filter_is_copied(manager: EventManager) -> None:
    """What happens to the dict afterwards does not matter."""
    filter = {"a": 1}
    manager.connect(BaseEvent, print, filter)
    filter["a"] = 2

    assert [print] == manager.get_listeners(BaseEvent(a=1))


# -- Conditions ----------------------------------------------------------------------


@pytest.mark.parametrize("filter", [None, {"a": 1}, {"a": [1]}])
def test_a_condition_is_one_more_test(manager: EventManager, filter: Any) -> None:
    """It sees only events that pass the filter, and decides."""
    seen: list[Any] = []

    def condition(event: BaseEvent) -> bool:
        seen.append(event.n)
        return bool(event.n > 1)

    manager._connect(BaseEvent, print, filter, 0, condition)
    found = [
        len(manager.get_listeners(BaseEvent(a=a, n=n)))
        for n, a in ((1, filter and filter["a"]), (2, filter and filter["a"]), (3, "x"))
    ]

    assert (([0, 1, 0], [1, 2]) if filter else ([0, 1, 1], [1, 2, 3])) == (found, seen)


def test_a_condition_that_fails_is_no_match(
    manager: EventManager, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged."""
    manager._connect(BaseEvent, print, None, 0, lambda event: event.nothing)

    assert [] == manager.get_listeners(BaseEvent())
    assert "nothing" in caplog.text


# -- Cost ----------------------------------------------------------------------------


def calls_made(action: Callable[[], object]) -> int:
    """Return how many functions, Python's and C's, *action* calls."""
    count = 0

    def profile(frame: Any, kind: str, arg: Any) -> None:
        nonlocal count
        count += kind in ("call", "c_call")

    gc.disable()  # a collection calls things, too
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


FILTERS: list[Callable[[int], dict[str, Any]]] = [
    lambda n: {"key": n},
    lambda n: {"key": str(n)},
    lambda n: {"source.store_id": uuid.UUID(int=n)},
    lambda n: {"action": "save", "key": n},
    lambda n: {"key": n, "action": "save"},
    lambda n: {"key": n, "tags": ["a"]},
]


class Crowd:
    """A manager with many filtered listeners, and one more to come."""

    def __init__(self, others: int, filter: Callable[[int], dict[str, Any]]) -> None:
        self.manager = EventManager()
        for number in range(1, others + 1):
            self.manager.connect(SaveEvent, lambda event: None, filter(number))
        self.filter = filter(others + 1)
        source = Source(uuid.UUID(int=others + 1))
        self.event = SaveEvent(source=source, key=self.filter.get("key"), tags=["a"])
        self.heard: list[BaseEvent] = []
        self.hear = self.heard.append

    def connect(self) -> None:
        self.manager.connect(SaveEvent, self.hear, self.filter)

    def disconnect(self) -> None:
        self.manager.disconnect(SaveEvent, self.hear)

    def emit(self) -> None:
        self.manager.emit(self.event)


@pytest.mark.parametrize("filter", FILTERS)
def test_others_that_do_not_match_cost_nothing(filter: Callable[[int], dict[str, Any]]) -> None:
    """With a thousand of them everything takes the same calls as with ten."""
    costs = []
    for others in (10, 1000):
        crowd = Crowd(others, filter)
        actions = [crowd.emit, crowd.connect, crowd.emit, crowd.emit, crowd.disconnect, crowd.emit]
        costs.append([calls_made(action) for action in actions])

        assert [crowd.event] * 2 == crowd.heard

    assert costs[0] == costs[1]


def test_unfiltered_others_make_connecting_no_dearer() -> None:
    """A thousand listeners of one class are not touched when another comes or goes."""
    costs = []
    for others in (10, 1000):
        manager = EventManager()
        for _ in range(others):
            manager.connect(SaveEvent, lambda event: None)
        manager.emit(SaveEvent())
        costs.append(
            calls_made(
                lambda m=manager: (m.connect(SaveEvent, print), m.disconnect(SaveEvent, print))  # type: ignore[misc]
            )
        )

    assert costs[0] == costs[1]


def test_listeners_of_other_classes_cost_nothing() -> None:
    """An event knows nothing of listeners to classes that it is not of."""

    class DeleteEvent(BaseEvent):
        pass

    costs = []
    for others in (10, 1000):
        manager = EventManager()
        for number in range(others):
            manager.connect(DeleteEvent, lambda event: None, {"key": number})
        manager.connect(SaveEvent, print, {"key": "k"})
        costs.append(calls_made(lambda m=manager: m.emit(SaveEvent(key=1))))  # type: ignore[misc]

    assert costs[0] == costs[1]
