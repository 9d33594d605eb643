"""Names of event classes on the wire, and the classes that names mean here.

Nothing is ever imported or called for a name that arrives: it means a class
that is already alive in this process, or a placeholder.
"""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

from antiphon.errors import NameConflict
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.wire.placeholder import WIRE_NAMES, event_classes, is_placeholder, make_placeholder

_logger = logging.getLogger(__name__)

#: Lists of names that the registry remembers the class of; placeholders beyond are made anew.
MAX_RESOLVED = 1024
#: Mismatches that are reported; after as many the log has said enough.
_MAX_REPORTS = 1024


class _Known:
    """What the registry keeps of a class that was used."""

    __slots__ = ("aliases", "names", "ref")

    def __init__(self, ref: weakref.ref[type], names: tuple[str, ...], aliases: tuple[str, ...]):
        self.ref = ref
        self.names = names
        self.aliases = aliases


class ClassRegistry:
    """Knows the name of every event class, and the class of every name.

    A class has the name ``<top package>:<Class>`` (only ``<Class>`` for one of
    ``__main__``), unless its own body says ``wire_name = "…"`` or ``register``
    gave it another; ``wire_aliases = ("…",)`` are more names that mean it.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # By id, and taken out when the class dies: the registry keeps no class alive, so that
        # a class that a notebook or a test dropped does not claim its name for ever.
        self._known: dict[int, _Known] = {}
        self._claims: dict[str, weakref.ref[type]] = {}
        self._given: weakref.WeakKeyDictionary[type, tuple[str | None, tuple[str, ...]]] = (
            weakref.WeakKeyDictionary()
        )
        self._resolved: dict[tuple[str, ...], type[BaseEvent]] = {}
        self._reported: set[tuple[str, ...]] = set()
        #: Grows whenever a list of names may mean another class than before.
        self.generation = 0

    # -- From class to name --------------------------------------------------

    def name_of(self, cls: type[BaseEvent]) -> str:
        """Return the name of *cls* on the wire.

        Raises:
            NameConflict: another class that is in use claims the name.
            TypeError: *cls* is no event class.
        """
        return self.names_of(cls)[-1]

    def names_of(self, cls: type[BaseEvent]) -> tuple[str, ...]:
        """Return the names of *cls* and its bases, ``BaseEvent`` first, its own last.

        Raises:
            NameConflict: another class that is in use claims one of the names.
            TypeError: *cls* is no event class.
        """
        known = self._known.get(id(cls))
        return (known or self._learn(cls)).names

    def names_heard(self, cls: type[BaseEvent]) -> tuple[str, ...]:
        """Return the name of *cls*, then its aliases: a listener binds all of them."""
        known = self._known.get(id(cls)) or self._learn(cls)
        return (known.names[-1], *known.aliases)

    def register(
        self, cls: type[BaseEvent], name: str | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """Give *cls* a name and aliases, instead of what its body says.

        Call it before the class is used.  None leaves the name as it is.

        Raises:
            NameConflict: another class that is in use claims one of the names.
        """
        with self._lock:
            self._given[cls] = (name, tuple(aliases))
            # Subclasses list the name among theirs.
            self._known.clear()
            self._forget_resolved()
            self._learn(cls)

    def _learn(self, cls: type[BaseEvent]) -> _Known:
        if not (isinstance(cls, type) and BaseEvent in cls.__mro__):
            raise TypeError(f"no event class: {cls!r} (event classes derive from BaseEvent)")
        with self._lock:
            known = self._known.get(id(cls))
            if known is not None and known.ref() is cls:
                return known
            aliases: tuple[str, ...] = ()
            if is_placeholder(cls):
                names: tuple[str, ...] = cls.__dict__[WIRE_NAMES]
            else:
                classes = event_classes(cls)
                names = tuple(self._own_name(one) for one in classes)
                for one in classes:
                    self._claim(one)
                aliases = self._own_aliases(cls)
            key = id(cls)
            known = _Known(weakref.ref(cls, lambda _: self._lose(key)), names, aliases)
            self._known[key] = known
            return known

    def _lose(self, key: int) -> None:
        # Runs in the garbage collector, at any point of any thread: no lock here.
        self._known.pop(key, None)

    def _own_name(self, cls: type[BaseEvent]) -> str:
        if is_placeholder(cls):
            return str(cls.__dict__[WIRE_NAMES][-1])
        given = self._given.get(cls, (None, ()))[0]
        name = given if given is not None else cls.__dict__.get("wire_name")
        if name is None:
            return _default_name(cls)
        if not isinstance(name, str) or not name or not _is_utf8(name):
            raise ValueError(f"wire_name of {_described(cls)} is no name: {name!r}")
        return name

    def _own_aliases(self, cls: type[BaseEvent]) -> tuple[str, ...]:
        declared = cls.__dict__.get("wire_aliases", ())
        if isinstance(declared, str):
            declared = (declared,)
        return tuple(dict.fromkeys([*self._given.get(cls, (None, ()))[1], *declared]))

    def _claim(self, cls: type[BaseEvent]) -> None:
        if is_placeholder(cls):
            return
        for name in (self._own_name(cls), *self._own_aliases(cls)):
            if self._holder(name) is cls:
                continue
            if self._rival(name, cls) is not None:
                # A dropped class lives on until its cycles are collected; look again.
                gc.collect()
            rival = self._rival(name, cls)
            if rival is not None:
                raise NameConflict(
                    f"two event classes claim the name {name!r} on the wire: "
                    f"{_described(rival)} and {_described(cls)}; give one of them another "
                    f"with wire_name = '…' in its body"
                )
            self._claims[name] = weakref.ref(cls)
            self._forget_resolved()

    def _holder(self, name: str) -> type | None:
        ref = self._claims.get(name)
        return ref() if ref is not None else None

    def _rival(self, name: str, cls: type) -> type | None:
        holder = self._holder(name)
        return None if holder is None or _same_definition(holder, cls) else holder

    def _forget_resolved(self) -> None:
        self._resolved.clear()
        self.generation += 1

    # -- From names to class -------------------------------------------------

    def class_of(self, names: Sequence[str]) -> type[BaseEvent]:
        """Return the class that events with these class names have here.

        Args:
            names: as ``names_of`` gave them in the sending process.

        Returns:
            The class of the last name, if this process has one with the same
            bases; else a placeholder class derived from all of *names* that it
            has.  Imports nothing and calls nothing of the users'.
        """
        names = tuple(names)
        cls = self._resolved.get(names)
        if cls is None:
            with self._lock:
                cls = self._resolve(names)
                if len(self._resolved) >= MAX_RESOLVED:
                    del self._resolved[next(iter(self._resolved))]
                self._resolved[names] = cls
        return cls

    def _resolve(self, names: tuple[str, ...]) -> type[BaseEvent]:
        index = self._live_classes()
        own = index.get(names[-1])
        if own is not None:
            mine = tuple(self._own_name(one) for one in event_classes(own))
            theirs = tuple(self._own_name(index[n]) if n in index else n for n in names)
            if mine == theirs and not _is_abstract(own):
                return own
            self._report(names, own, mine)
        return make_placeholder(names, [index[name] for name in names if name in index])

    def _live_classes(self) -> dict[str, type[BaseEvent]]:
        """Return the class that each name means now."""
        index: dict[str, type[BaseEvent]] = {}
        for cls in _walk(BaseEvent):
            try:
                claimed = (self._own_name(cls), *self._own_aliases(cls))
            except (ValueError, TypeError):
                continue  # an unusable wire_name is reported to whoever uses the class
            for name in claimed:
                other = index.get(name)
                # Of two definitions of one class the later stands; of two different classes
                # the one that was used first.
                if other is None or _same_definition(other, cls) or self._holder(name) is cls:
                    index[name] = cls
        return index

    def _report(self, names: tuple[str, ...], cls: type, mine: tuple[str, ...]) -> None:
        if names not in self._reported and len(self._reported) < _MAX_REPORTS:
            self._reported.add(names)
            _logger.warning(
                "event class %s has other bases here (%s) than where its events come from (%s); "
                "they arrive as a placeholder class",
                _described(cls),
                ", ".join(mine),
                ", ".join(names),
            )


def _walk(root: type[BaseEvent]) -> Iterator[type[BaseEvent]]:
    """Yield *root* and all its living subclasses once, older siblings first."""
    seen: set[type] = set()
    waiting: list[Any] = [root]
    while waiting:
        cls = waiting.pop()
        if cls not in seen and not is_placeholder(cls):
            seen.add(cls)
            yield cls
            waiting.extend(reversed(type.__subclasses__(cls)))


def _default_name(cls: type) -> str:
    module = cls.__module__
    top = module.partition(".")[0] if isinstance(module, str) else ""
    own = cls.__qualname__.rpartition("<locals>.")[2]
    return own if top in ("", "__main__") else f"{top}:{own}"


def _same_definition(one: type, other: type) -> bool:
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _described(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_abstract(cls: type) -> bool:
    return bool(cls.__flags__ & (1 << 20))  # Py_TPFLAGS_IS_ABSTRACT


def is_kind_of(
    event: BaseEvent, cls: type[BaseEvent], registry: ClassRegistry | None = None
) -> bool:
    """Return whether *event* is of class *cls*, by its type or by the names it came with.

    It differs from ``isinstance`` only for placeholders of classes whose bases
    cannot be combined in this process.
    """
    if isinstance(event, cls):
        return True
    names = type(event).__dict__.get(WIRE_NAMES, ())
    heard = (registry or default_registry).names_heard(cls) if names else ()
    return any(name in names for name in heard)


#: The registry of this process; buses use it unless told otherwise.
default_registry = ClassRegistry()
