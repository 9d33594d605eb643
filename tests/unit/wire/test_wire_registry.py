"""Names of event classes, and the classes that names mean."""

from __future__ import annotations

import abc
import gc
import logging
import sys
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_classes import class_families

from antiphon.errors import NameConflict, WireError
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_manager import EventManager
from antiphon.wire import ClassRegistry, is_kind_of
from antiphon.wire.placeholder import is_placeholder
from antiphon.wire.registry import MAX_RESOLVED

ROOT = "antiphon:BaseEvent"


def make(name: str, *bases: type, module: str = "some.where", **body: Any) -> type[BaseEvent]:
    """Return a new event class."""
    return type(name, bases or (BaseEvent,), {"__module__": module, **body})


@pytest.fixture
def registry() -> ClassRegistry:
    """A registry that has seen nothing."""
    return ClassRegistry()


# -- Names ---------------------------------------------------------------------


def test_a_name_is_top_package_and_class(registry: ClassRegistry) -> None:
    """Moving a class between modules of one package does not change its name."""
    assert "shop:Sold" == registry.name_of(make("Sold", module="shop.orders.events"))


def test_a_class_of_a_main_program_has_a_bare_name(registry: ClassRegistry) -> None:
    """Two scripts that define the same event understand each other."""
    assert "Sold" == registry.name_of(make("Sold", module="__main__"))


def test_a_nested_class_has_its_path_and_a_local_one_only_its_own(registry: ClassRegistry) -> None:
    """What stands before the last <locals> says where, not what."""

    class Outer:
        class Inner(BaseEvent):
            __module__ = "shop"

    assert "shop:Outer.Inner" == registry.name_of(Outer.Inner)
    assert "shop:Inner" == registry.name_of(make("Inner", module="shop"))


def test_names_of_lists_the_bases_first(registry: ClassRegistry) -> None:
    """BaseEvent first, the class last, mixins left out: the MRO turned round."""

    class Mixin:
        pass

    a = make("A")
    b = make("B", Mixin, a)
    c = make("C", b, Mixin)

    assert (ROOT, "some:A", "some:B", "some:C") == registry.names_of(c)
    assert (ROOT,) == registry.names_of(BaseEvent)


def test_names_can_be_set_in_the_class_body(registry: ClassRegistry) -> None:
    """wire_name is the class's own; subclasses do not inherit it."""
    a = make("A", wire_name="old.place:A", wire_aliases=("older:A", "oldest:A"))
    b = make("B", a)

    assert (ROOT, "old.place:A", "some:B") == registry.names_of(b)
    assert ("old.place:A", "older:A", "oldest:A") == registry.names_heard(a)
    assert ("some:B",) == registry.names_heard(b)


def test_names_can_be_registered(registry: ClassRegistry) -> None:
    """For classes of others, whose body one cannot change."""
    a = make("A")
    b = make("B", a)
    registry.names_of(b)

    registry.register(a, "settled:A", aliases=["some:A"])

    assert (ROOT, "settled:A", "some:B") == registry.names_of(b)
    assert a is registry.class_of((ROOT, "some:A"))


@pytest.mark.parametrize("name", ["", 5, "\ud800"])
def test_unusable_names_are_errors(registry: ClassRegistry, name: Any) -> None:
    """A name is text that UTF-8 can write."""
    with pytest.raises(WireError, match="no name"):
        registry.name_of(make("A", wire_name=name))
    with pytest.raises(WireError, match="no names"):
        registry.name_of(make("A", wire_aliases=[name]))
    with pytest.raises(WireError, match="no name"):
        registry.register(make("A"), name)
    with pytest.raises(WireError, match="no name"):
        registry.register(make("A"), aliases=[name])


def test_unusable_names_are_no_matter_to_what_arrives(registry: ClassRegistry) -> None:
    """A class here that has no usable name makes no message corrupt."""
    bad = [make("BadName", wire_name=5), make("BadAlias", wire_aliases=5)]
    heirs = [make(f"Heir{base.__name__}", base) for base in bad]

    for base, heir in zip(bad, heirs, strict=True):
        names = (ROOT, f"some:{base.__name__}", f"some:{heir.__name__}")
        assert is_placeholder(registry.class_of(names))
        assert is_placeholder(registry.class_of(names[:2]))


@pytest.mark.parametrize("no_class", [int, object, 5, BaseEvent()])
def test_only_event_classes_have_names(registry: ClassRegistry, no_class: Any) -> None:
    """What does not derive from BaseEvent does not travel."""
    with pytest.raises(TypeError, match="no event class"):
        registry.name_of(no_class)


# -- Two classes, one name -----------------------------------------------------


def test_a_class_defined_again_replaces_the_old_one(registry: ClassRegistry) -> None:
    """A notebook cell that is run twice."""
    old = make("A", module="__main__")
    assert "A" == registry.name_of(old)
    assert old is registry.class_of((ROOT, "A"))

    new = make("A", module="__main__")

    assert new is registry.class_of((ROOT, "A"))
    assert "A" == registry.name_of(new)
    assert "A" == registry.name_of(old)


def test_two_classes_of_one_name_are_an_error_that_names_both(registry: ClassRegistry) -> None:
    """Not when they are defined, but when the second is first used."""
    first = make("A", module="shop.orders")
    second = make("A", module="shop.returns")
    registry.name_of(first)

    with pytest.raises(NameConflict, match=r"'shop:A'.*shop\.orders\.A and shop\.returns\.A"):
        registry.name_of(second)
    assert "shop:A" == registry.name_of(first)


def test_a_conflict_shows_for_subclasses_too(registry: ClassRegistry) -> None:
    """An event is all its classes; so none of them may be two."""
    first = make("A", module="shop.orders")
    registry.name_of(first)
    heir = make("B", make("A", module="shop.returns"))

    for _ in range(2):
        with pytest.raises(NameConflict):
            registry.name_of(heir)


def test_an_alias_can_conflict_as_well(registry: ClassRegistry) -> None:
    """An alias claims its name like any other."""
    first, second = make("A"), make("B", wire_aliases=("some:A",))
    registry.name_of(first)

    with pytest.raises(NameConflict):
        registry.name_of(second)


def test_a_refused_registration_changes_nothing(registry: ClassRegistry) -> None:
    """The class keeps the name that it had."""
    first, second = make("A"), make("B")
    registry.name_of(first)

    with pytest.raises(NameConflict):
        registry.register(second, "some:A")
    assert "some:B" == registry.name_of(second)


def test_a_registered_class_leaves_its_old_name_to_others(registry: ClassRegistry) -> None:
    """The name that it had is free again."""
    first = make("A", module="shop.orders")
    second = make("A", module="shop.returns")
    registry.name_of(first)

    registry.register(first, "shop:OldA")

    assert "shop:A" == registry.name_of(second)


def test_a_dropped_class_leaves_its_name(registry: ClassRegistry) -> None:
    """The registry keeps no class alive, and looks for garbage before it complains."""
    first = make("A", module="shop.orders")
    registry.class_of(registry.names_of(first))
    registry.class_of((*registry.names_of(first), "unknown:B"))
    gone = weakref.ref(first)

    del first

    assert "shop:A" == registry.name_of(make("A", module="shop.returns"))
    assert gone() is None


# -- From names to classes -----------------------------------------------------


def test_classes_are_found_that_nobody_used(registry: ClassRegistry) -> None:
    """They are looked up among the living subclasses, new ones included."""
    a = make("A")
    assert a is registry.class_of((ROOT, "some:A"))

    b = make("B", a)

    assert b is registry.class_of((ROOT, "some:A", "some:B"))


def test_of_two_classes_of_one_name_the_used_one_arrives(registry: ClassRegistry) -> None:
    """Whichever was defined first; the other is an error when it is used."""
    unused, used, unused_too = (make("Twice", module=f"shop.{m}") for m in "abc")
    registry.name_of(used)

    assert used is registry.class_of((ROOT, "shop:Twice"))
    for other in (unused, unused_too):
        with pytest.raises(NameConflict):
            registry.name_of(other)


def test_what_arrives_counts_as_used(registry: ClassRegistry) -> None:
    """So that a name does not change its meaning in the middle."""
    first, second = (make("Twice", module=f"shops.{m}") for m in "ab")

    arrived = registry.class_of((ROOT, "shops:Twice"))

    with pytest.raises(NameConflict):
        registry.name_of(second if arrived is first else first)


def test_a_class_that_appears_later_takes_the_place_of_its_placeholder(
    registry: ClassRegistry,
) -> None:
    """A module that is imported after the first event arrived."""
    assert is_placeholder(registry.class_of((ROOT, "some:Late")))

    late = make("Late")

    assert late is registry.class_of((ROOT, "some:Late"))


def test_nothing_is_imported_for_a_name(registry: ClassRegistry) -> None:
    """A name is no path: antipode:Event imports no antipode."""
    before = set(sys.modules)

    for name in ("this:A", "antigravity:A", "os.path:A", "__main__", "../x:A"):
        registry.class_of((ROOT, name))
    assert before == set(sys.modules)


def test_aliases_find_the_class_and_its_subclasses(registry: ClassRegistry) -> None:
    """Events of a publisher that still uses the old name."""
    a = make("A", wire_aliases=("old:A",))
    b = make("B", a)

    assert a is registry.class_of((ROOT, "old:A"))
    assert b is registry.class_of((ROOT, "old:A", "some:B"))


@settings(deadline=None)
@given(class_families())
def test_every_class_comes_back_by_its_names(family: list[type[BaseEvent]]) -> None:
    """Whatever the hierarchy, the names of a living class mean that class."""
    registry = ClassRegistry()

    for cls in family:
        assert cls is registry.class_of(registry.names_of(cls))


# -- Placeholders --------------------------------------------------------------


def test_an_unknown_class_arrives_as_a_placeholder(registry: ClassRegistry) -> None:
    """It is made of the most derived bases that are known, and carries the wire's names."""
    a = make("A")
    names = (ROOT, "some:A", "other:Between", "other:Unknown")

    cls = registry.class_of(names)

    assert is_placeholder(cls)
    assert issubclass(cls, a)
    assert "Unknown" == cls.__name__
    assert names == cls.wire_names  # type: ignore[attr-defined]
    assert names == registry.names_of(cls)
    assert cls is registry.class_of(names)


def test_placeholders_have_all_known_bases(registry: ClassRegistry) -> None:
    """A diamond of which only the tip is unknown."""
    a = make("A")
    b, c = make("B", a), make("C", a)

    cls = registry.class_of((ROOT, "some:A", "some:C", "some:B", "x:Tip"))

    assert (b, c, a) == tuple(one for one in cls.__mro__ if one in (a, b, c))


def test_names_that_nobody_knows_still_make_a_class(registry: ClassRegistry) -> None:
    """Whatever is no name of Python's either."""
    for name in ("", "\0", ":", "ü:", "a:\ud800", "a:" + "x" * 100_000):
        assert issubclass(registry.class_of((name,)), BaseEvent)


def test_placeholders_are_bounded(registry: ClassRegistry) -> None:
    """An attacker's names take no more memory than a thousand classes."""
    refs = [weakref.ref(registry.class_of((ROOT, f"x:{i}"))) for i in range(MAX_RESOLVED + 50)]

    gc.collect()

    assert sum(ref() is not None for ref in refs) <= MAX_RESOLVED + 1


@pytest.mark.parametrize("meta", [type, abc.ABCMeta])
def test_making_a_placeholder_runs_no_code_of_the_bases(registry: ClassRegistry, meta: Any) -> None:
    """__init_subclass__, metaclasses and descriptors are not called for bytes that arrive."""
    calls: list[str] = []

    class Meta(meta):  # type: ignore[misc]
        def __new__(mcs, *args: Any, **kwargs: Any) -> Any:
            calls.append("new")
            return super().__new__(mcs, *args, **kwargs)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            calls.append("call")
            return super().__call__(*args, **kwargs)

    class Hooked(BaseEvent):
        def __init_subclass__(cls, **kwargs: Any) -> None:
            calls.append("init_subclass")
            super().__init_subclass__(**kwargs)

        def __getattribute__(self, name: str) -> Any:
            calls.append(name)
            return super().__getattribute__(name)

    class WithMeta(BaseEvent, metaclass=Meta):
        pass

    del calls[:]

    for base in (Hooked, WithMeta):
        cls = registry.class_of((*registry.names_of(base), "x:Unknown"))
        assert issubclass(cls, base)
    assert [] == calls


def test_abstract_bases_make_concrete_placeholders(registry: ClassRegistry) -> None:
    """A class that only the sender completed can still arrive."""

    class Abstract(BaseEvent, abc.ABC):
        @abc.abstractmethod
        def method(self) -> None: ...

    cls = registry.class_of((*registry.names_of(Abstract), "x:Concrete"))
    same = registry.class_of(registry.names_of(Abstract))

    assert isinstance(cls(), Abstract)
    assert isinstance(same(), Abstract)


def test_a_class_with_other_bases_counts_as_unknown_and_is_reported_once(
    registry: ClassRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Its events are of exactly the classes that the wire names."""
    a, z = make("A"), make("Z")
    local = make("C", z)
    names = (ROOT, "some:A", "some:C")

    with caplog.at_level(logging.WARNING):
        cls = registry.class_of(names)
        make("Another")  # the registry looks around anew
        registry.class_of(names)

    assert is_placeholder(cls)
    assert issubclass(cls, a)
    assert issubclass(cls, local)
    assert z not in cls.__mro__
    assert 1 == len(caplog.records)
    assert "some.where.C" in caplog.text
    assert names == registry.names_of(cls)


def test_no_order_of_bases_is_needed(registry: ClassRegistry) -> None:
    """Where Python finds no consistent order, the wire's stands, and all listeners hear."""
    a, b = make("A"), make("B")
    ab, ba = make("AB", a, b), make("BA", b, a)

    cls = registry.class_of((ROOT, "some:A", "some:B", "some:AB", "some:BA", "x:Both"))

    for base in (a, b, ab, ba):
        assert issubclass(cls, base)
        assert isinstance(cls(), base)


def test_listeners_hear_placeholders_of_a_stated_order(registry: ClassRegistry) -> None:
    """The event manager's own matching finds them: it goes by the MRO."""
    a, z = make("A"), make("Z")
    local = make("C", z)
    manager = EventManager()
    heard: list[str] = []
    for cls in (a, z, local, BaseEvent):
        manager.connect(cls, lambda _, name=cls.__name__: heard.append(name))

    manager.emit(registry.class_of((ROOT, "some:A", "some:C"))())

    assert ["A", "C", "BaseEvent"] == heard


@pytest.mark.parametrize("shift", ["", "x"])
def test_long_names_of_bases_that_cannot_be_ordered(registry: ClassRegistry, shift: str) -> None:
    """Python's own message cuts such names, within a character if it so falls out."""
    a, b = make(shift + "Ü" * 700), make("B")
    bases = [make("AB", a, b), make("BA", b, a)]
    with pytest.raises((TypeError, UnicodeDecodeError)):
        make("Tip", *bases)

    cls = registry.class_of((ROOT, *map(registry.name_of, (a, b, *bases)), "x:Unknown"))

    assert all(issubclass(cls, base) for base in (a, b, *bases))


def test_names_from_the_wire_break_no_log(
    registry: ClassRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A report is one line of bounded length."""
    local = make("Reported")

    registry.class_of((ROOT, "forged\nline", "x" * 50_000, registry.name_of(local)))

    (record,) = caplog.records
    assert len(record.getMessage()) < 2500
    assert "\n" not in record.getMessage()


class Slotted(BaseEvent):
    """A class whose instances are laid out in a way of their own."""

    __slots__ = ("extra",)


class AlsoSlotted(BaseEvent):
    """And one that cannot be combined with it."""

    __slots__ = ("other",)


class DictEvent(BaseEvent, dict):  # type: ignore[type-arg]
    """An event that is a dict as well."""


@pytest.mark.parametrize("base", [Slotted, DictEvent])
def test_bases_with_a_layout_of_their_own_are_true_bases(
    registry: ClassRegistry, base: type[BaseEvent]
) -> None:
    """Slots and built-in bases are inherited."""
    cls = registry.class_of((*registry.names_of(base), "x:Unknown"))

    assert issubclass(cls, base)


def test_slots_and_another_order_go_together(registry: ClassRegistry) -> None:
    """One base with a layout of its own is still a true base where the order is the wire's."""
    a, b = make("A"), make("B")
    ab, ba = make("AB", a, b), make("BA", b, a)
    names = (ROOT, *map(registry.name_of, (a, b, ab, ba, Slotted)), "x:Unknown")

    cls = registry.class_of(names)

    for base in (a, b, ab, ba, Slotted):
        assert issubclass(cls, base)
    cls().extra = 1  # type: ignore[attr-defined]


def test_claims_of_dead_classes_are_forgotten(registry: ClassRegistry) -> None:
    """A program that makes classes as it runs does not grow for ever."""
    for i in range(5000):
        registry.name_of(make(f"Passing{i}"))
        if i % 500 == 0:
            gc.collect()

    assert len(registry._claims) < 4000
    assert len(registry.in_use) < 4000


def test_what_cannot_be_combined_is_matched_by_name(registry: ClassRegistry) -> None:
    """is_kind_of looks at the names that the event came with, too."""
    slotted, also = registry.name_of(Slotted), registry.name_of(AlsoSlotted)
    event = registry.class_of((ROOT, slotted, also, "x:Impossible"))()

    assert is_kind_of(event, Slotted, registry)
    assert is_kind_of(event, AlsoSlotted, registry)
    assert is_kind_of(event, BaseEvent, registry)
    assert not is_kind_of(event, DictEvent, registry)
    assert not is_kind_of(BaseEvent(), Slotted, registry)


@settings(deadline=None, max_examples=200)
@given(class_families(), st.data())
def test_placeholders_are_heard_by_listeners_of_known_bases(
    family: list[type[BaseEvent]], data: st.DataObject
) -> None:
    """P1: an event of an unknown class is of exactly those of its classes that are known."""
    sender = ClassRegistry()
    sent = data.draw(st.sampled_from(family))
    names = sender.names_of(sent)
    hidden = data.draw(st.sets(st.sampled_from(names[1:]))) if len(names) > 1 else set()
    renamed = tuple(f"elsewhere:{n}" if n in hidden else n for n in names)
    receiver = ClassRegistry()

    event = receiver.class_of(renamed)()

    for cls in family:
        known = receiver.name_of(cls) in renamed
        assert known == is_kind_of(event, cls, receiver)
        assert known == isinstance(event, cls)
