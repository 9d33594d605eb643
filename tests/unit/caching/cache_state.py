"""The state of a cache, so that two can be compared; and its modules' time, threads and dice."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from collections import deque
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest.mock import patch
from uuid import UUID

from stepped_source import Ticking
from stepped_threads import Threading
from stepping import Stage

from antiphon.storage import journal
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.journal import Position, Version


@contextlib.contextmanager
def patched(stage: Stage, clock: Ticking) -> Iterator[None]:
    """Give stores and caches the time, the threads and the dice of a stage."""
    stand_ins = {"time": clock, "threading": Threading(stage)}
    real = _users_of(tuple(stand_ins), len(sys.modules))
    drawn: dict[str, int] = {}

    def urandom(size: int) -> bytes:
        # The same for the same actor's same draw, whoever acted in between.
        actor = stage.current
        name = actor.name if actor is not None else ""
        drawn[name] = drawn.get(name, 0) + 1
        return f"{drawn[name]}{name}".encode().ljust(size, b".")[:size]

    for module, name in real:
        setattr(module, name, stand_ins[name])
    try:
        with patch("os.urandom", urandom):
            yield
    finally:
        for module, name in real:
            setattr(module, name, sys.modules[name])
        # Drawn ahead, and no dice for who comes after the world.
        journal._entry_ids.clear()


@functools.lru_cache(maxsize=2)
def _users_of(names: tuple[str, ...], _modules: int) -> list[tuple[ModuleType, str]]:
    """Return which modules of the cache have which of *names*; asked for in every world."""
    places = [module for name, module in sys.modules.items() if name.startswith(_PLACES)]
    return [
        (module, name)
        for module in places
        for name in names
        if getattr(module, name, None) is sys.modules[name]
    ]


def canonical(what: Any, seen: dict[int, str] | None = None) -> Any:
    """Return *what* as something whose repr is equal for equal states.

    Args:
        what: anything; objects of the cache are looked into.
        seen: objects that were looked into already: the second time only their number counts.
    """
    kind = type(what)
    if kind in _PLAIN:
        return what
    seen = {} if seen is None else seen
    if kind is dict:
        return [(canonical(key, seen), canonical(one, seen)) for key, one in what.items()]
    if kind in (set, frozenset):
        return sorted(map(repr, what))
    if kind is io.BytesIO:
        return what.getvalue()
    if issubclass(kind, (list, tuple, dict, deque)):
        many = what.items() if issubclass(kind, dict) else what
        return [canonical(one, seen) for one in many]
    names = _names(kind)
    if names is None:
        return kind.__name__
    if id(what) in seen:
        return seen[id(what)]
    seen[id(what)] = f"#{len(seen)}"
    state = getattr(what, "__dict__", {})
    return [
        *((name, canonical(one, seen)) for name, one in state.items() if name not in _COUNTS),
        *((name, canonical(getattr(what, name), seen)) for name in names),
    ]


@functools.cache
def _names(kind: type) -> tuple[str, ...] | None:
    """Return the slots of objects of *kind*; None if they are none of the cache's own."""
    if not kind.__module__.startswith(_PLACES) or issubclass(kind, AbstractStore):
        return None
    slots = [slot for one in kind.__mro__ for slot in getattr(one, "__slots__", ())]
    return tuple(slot for slot in slots if slot not in _COUNTS)


#: Where what is patched, and looked into, is defined.
_PLACES = ("antiphon.storage", "antiphon.caching")

#: Types whose repr says everything.
_PLAIN = frozenset((type(None), bool, int, float, str, bytes, UUID, Version, Position))

#: What is only counted, for people.
_COUNTS = frozenset(("counts", "_counts", "gaps", "unverified", "_beats"))
