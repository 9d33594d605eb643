"""Classes that stand for event classes which this process does not have."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable, Sequence
from typing import Any

from antiphon.events.abstract_event_manager import BaseEvent

_NAME_CHARACTERS = 100
# What Python raises if it cannot make a class.  (UnicodeDecodeError, where it cuts the names of
# the bases for its message in the middle of a character.)
_NO_CLASS = (TypeError, UnicodeDecodeError)
#: Attribute in the ``__dict__`` of a placeholder: the names of its classes on the wire.
WIRE_NAMES = "wire_names"


class _Quiet:
    """First base of every placeholder: keeps users' ``__init_subclass__`` from being called."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Do nothing, and pass nothing on: no bytes from the wire run users' code."""


def is_placeholder(cls: type) -> bool:
    """Return whether *cls* was made because an event of an unknown class arrived."""
    return _Quiet in cls.__bases__


def event_classes(cls: type) -> tuple[type[BaseEvent], ...]:
    """Return the event classes in the MRO of *cls*, ``BaseEvent`` first, *cls* last."""
    return tuple(one for one in reversed(cls.__mro__) if BaseEvent in one.__mro__)


def make_placeholder(names: Sequence[str], known: Sequence[type[BaseEvent]]) -> type[BaseEvent]:
    """Return a new class for events whose own class is not known here.

    It is a subclass of exactly the classes in *known*, so that listeners of
    those hear its events, and of no other event class.  Nothing of the users'
    runs: no metaclass, no ``__init_subclass__``, no descriptor.

    Args:
        names: names of the event's classes on the wire, ``BaseEvent`` first; the
            new class carries them as ``wire_names``.
        known: those of them that exist in this process, in the same order.
    """
    known = list(dict.fromkeys([BaseEvent, *known]))
    made = _derive(names, _most_derived(known))
    if made is not None and set(event_classes(made)[:-1]) == set(known):
        return made
    # No consistent order exists, or a base brings in a class that the sender's does not have:
    # state the order of the wire outright.  A base with slots, or one derived from dict or the
    # like, has a memory layout that only a true base can have, and there can be one such.
    plain = [cls for cls in known if _is_plain(cls)]
    others = [cls for cls in known if not _is_plain(cls)]
    return (
        _state_order(names, known, [*others, BaseEvent][-2 if others else -1])
        # Listeners of those left out find the event by its wire_names (``is_kind_of``).
        or _state_order(names, plain, BaseEvent)
        or BaseEvent
    )


def _most_derived(known: Sequence[type]) -> list[type]:
    return [
        cls
        for cls in reversed(known)
        if not any(cls is not other and cls in other.__mro__ for other in known)
    ]


def _is_plain(cls: type) -> bool:
    """Return whether instances of *cls* are laid out as those of ``BaseEvent``."""
    return (cls.__basicsize__, cls.__itemsize__) == (
        BaseEvent.__basicsize__,
        BaseEvent.__itemsize__,
    )


def _derive(names: Sequence[str], bases: Iterable[type]) -> type[BaseEvent] | None:
    """Return a subclass of *bases* in Python's own order; None if there is none."""
    metas = {type(base) for base in bases}
    if metas == {type}:
        make: type = type
    elif metas <= {type, ABCMeta}:
        make = ABCMeta
    else:
        return None
    try:
        return _finish(make, names, (_Quiet, *bases))
    except _NO_CLASS:
        return None


def _state_order(names: Sequence[str], known: Sequence[type], base: type) -> type[BaseEvent] | None:
    """Return a class whose MRO is the wire's; None if a layout other than *base*'s forbids it."""
    order: dict[type, None] = dict.fromkeys(reversed(known))
    for cls in reversed(known):
        order.update(dict.fromkeys(one for one in cls.__mro__ if BaseEvent not in one.__mro__))
    order.pop(object)

    class _Ordered(type):
        def mro(cls) -> list[type]:
            return [cls, _Quiet, *order, object]

    try:
        return _finish(_Ordered, names, (_Quiet, base))
    except _NO_CLASS:
        return None


def _finish(make: type, names: Sequence[str], bases: tuple[type, ...]) -> type[BaseEvent]:
    short = names[-1].rpartition(":")[2][:_NAME_CHARACTERS]
    short = short.encode("utf-8", "replace").decode().replace("\0", "?") or "?"
    body = {
        "__module__": __name__,
        "__doc__": f"Stands for {names[-1]!r}, which this process does not have.",
        WIRE_NAMES: tuple(names),
    }
    # The metaclass's own __new__, not a call of it, which would run overridden methods.
    made: type[BaseEvent] = make.__new__(make, short, bases, body)
    if make is ABCMeta:
        made.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
    return made
