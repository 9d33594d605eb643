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

from antiphon.errors import NameConflict, WireError
from antiphon.events import abstract_event_manager as _events
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.wire.placeholder import WIRE_NAMES, event_classes, is_placeholder, make_placeholder

_logger = logging.getLogger(__name__)

#: Lists of names that the registry remembers the class of; placeholders beyond are made anew.
MAX_RESOLVED = 1024
#: Mismatches that are reported; after as many the log has said enough.
_MAX_REPORTS = 1024
# Characters of names in one report.
_MAX_REPORTED = 1000
# Py_TPFLAGS_IS_ABSTRACT: Python makes no instances of the class.
_IS_ABSTRACT = 1 << 20


class KnownClass:
    """What the registry keeps of a class that was used.

    Attributes:
        ref: the class.
        names: as ``names_of`` returns.
        aliases: more names that mean it.
        keys: origin -> routing key and headers of its events, kept by encoders.
        attributes: names of attributes that travel with its events, likewise.
    """

    __slots__ = ("aliases", "attributes", "keys", "names", "ref")

    def __init__(
        self, ref: weakref.ref[type], names: tuple[str, ...], aliases: tuple[str, ...]
    ) -> None:
        self.ref = ref
        self.names = names
        self.aliases = aliases
        self.keys: dict[str | None, tuple[Any, ...]] = {}
        self.attributes: set[str] = set()


class ClassRegistry:
    """Knows the name of every event class, and the class of every name.

    A class has the name ``<top package>:<Class>`` (only ``<Class>`` for one of
    ``__main__``), unless its own body says ``wire_name = "…"`` or ``register``
    gave it another; ``wire_aliases = ("…",)`` are more names that mean it.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        #: The classes in use, by id, and taken out when the class dies: the registry keeps no
        #: class alive, so that one that a notebook or a test dropped claims its name no more.
        self.in_use: dict[int, KnownClass] = {}
        self._claims: dict[str, weakref.ref[type]] = {}
        self._prune_above = MAX_RESOLVED
        self._given: weakref.WeakKeyDictionary[type, tuple[str | None, tuple[str, ...]]] = (
            weakref.WeakKeyDictionary()
        )
        self._index: dict[str, weakref.ref[type[BaseEvent]]] = {}
        self._resolved: dict[tuple[str, ...], weakref.ref[type[BaseEvent]]] = {}
        # Nothing else holds placeholders; their order is that of their making.
        self._placeholders: dict[tuple[str, ...], tuple[list[type], type[BaseEvent]]] = {}
        self._reported: set[tuple[str, ...]] = set()
        #: Half of the stamp; public for the decoder, which cannot afford the property.
        self.claims_made = 0
        self._resolved_at = -1

    @property
    def stamp(self) -> int:
        """A number that grows whenever a name may mean another class than before."""
        return self.claims_made + _events.subclasses_made

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
        return self.known(cls).names

    def names_heard(self, cls: type[BaseEvent]) -> tuple[str, ...]:
        """Return the name of *cls*, then its aliases: a listener binds all of them."""
        known = self.known(cls)
        return (known.names[-1], *known.aliases)

    def known(self, cls: type[BaseEvent]) -> KnownClass:
        """Return what the registry keeps of *cls*; raises as ``names_of`` does."""
        return self.in_use.get(id(cls)) or self._learn(cls)

    def register(
        self, cls: type[BaseEvent], name: str | None = None, aliases: Sequence[str] = ()
    ) -> None:
        """Give *cls* a name and aliases, instead of what its body says.

        Call it before the class is used.  None leaves the name as it is.

        Raises:
            NameConflict: another class that is in use claims one of the names;
                *cls* keeps those it had.
            WireError: a name is empty, or no text that UTF-8 can write.
        """
        for given in (*aliases, *([] if name is None else [name])):
            if not _is_name(given):
                raise WireError(f"no name to give to {_described(cls)}: {given!r}")
        with self._lock:
            before = self._given.get(cls, (None, ()))
            self._given[cls] = (name, tuple(aliases))
            # Subclasses list the name among theirs, and the name it had is free again.
            self.in_use.clear()
            self._claims = {n: ref for n, ref in self._claims.items() if ref() is not cls}
            self.claims_made += 1
            try:
                self._learn(cls)
            except WireError:
                self._given[cls] = before
                raise

    def _learn(self, cls: type[BaseEvent]) -> KnownClass:
        if not (isinstance(cls, type) and BaseEvent in cls.__mro__):
            raise TypeError(f"no event class: {cls!r} (event classes derive from BaseEvent)")
        with self._lock:
            known = self.in_use.get(id(cls))
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
            known = KnownClass(weakref.ref(cls, lambda _: self._lose(key)), names, aliases)
            self.in_use[key] = known
            return known

    def _lose(self, key: int) -> None:
        # Runs in the garbage collector, at any point of any thread: no lock here.
        self.in_use.pop(key, None)

    def _own_name(self, cls: type[BaseEvent]) -> str:
        if is_placeholder(cls):
            return str(cls.__dict__[WIRE_NAMES][-1])
        given = self._given.get(cls, (None, ()))[0]
        name = given if given is not None else cls.__dict__.get("wire_name")
        if name is None:
            return _default_name(cls)
        if not _is_name(name):
            raise WireError(f"wire_name of {_described(cls)} is no name: {name!r}")
        return str(name)

    def _own_aliases(self, cls: type[BaseEvent]) -> tuple[str, ...]:
        declared = cls.__dict__.get("wire_aliases", ())
        if isinstance(declared, str):
            declared = (declared,)
        if not isinstance(declared, tuple | list) or not all(map(_is_name, declared)):
            raise WireError(f"wire_aliases of {_described(cls)} are no names: {declared!r}")
        return tuple(dict.fromkeys([*self._given.get(cls, (None, ()))[1], *declared]))

    def _claim(self, cls: type[BaseEvent]) -> None:
        if is_placeholder(cls):
            return
        for name in (self._own_name(cls), *self._own_aliases(cls)):
            if self._holder(name) is cls:
                continue
            if self._rival(name, cls) is not None:
                # A dropped class lives on until its cycles are collected; look again.
                self._placeholders.clear()
                gc.collect()
            rival = self._rival(name, cls)
            if rival is not None:
                raise NameConflict(
                    f"two event classes claim the name {name!r} on the wire: "
                    f"{_described(rival)} and {_described(cls)}; give one of them another "
                    f"with wire_name = '…' in its body"
                )
            self._claims[name] = weakref.ref(cls)
            self.claims_made += 1
        if len(self._claims) > self._prune_above:
            # Names of classes that died; programs that make classes as they run leave many.
            self._claims = {n: ref for n, ref in self._claims.items() if ref() is not None}
            self._prune_above = 2 * len(self._claims) + MAX_RESOLVED

    def _holder(self, name: str) -> type | None:
        ref = self._claims.get(name)
        return ref() if ref is not None else None

    def _rival(self, name: str, cls: type) -> type | None:
        holder = self._holder(name)
        return None if holder is None or _same_definition(holder, cls) else holder

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
        with self._lock:
            if self._resolved_at != self.stamp:
                self._look_around()
            ref = self._resolved.get(names)
            cls = ref() if ref is not None else None
            if cls is None:
                cls = self._resolve(names)
                if len(self._resolved) >= MAX_RESOLVED:
                    del self._resolved[next(iter(self._resolved))]
                self._resolved[names] = weakref.ref(cls)
            return cls

    def _resolve(self, names: tuple[str, ...]) -> type[BaseEvent]:
        known = {name: cls for name in names if (cls := self._living(name)) is not None}
        own = known.get(names[-1])
        if own is not None:
            theirs = tuple(self._own_name(known[n]) if n in known else n for n in names)
            mine = self._usable_names(own)
            if mine == theirs and not own.__flags__ & _IS_ABSTRACT:
                return own
            if mine != theirs:
                self._report(names, own, mine)
        return self._placeholder(names, list(known.values()))

    def _placeholder(self, names: tuple[str, ...], known: list[type[BaseEvent]]) -> type[BaseEvent]:
        made_of, made = self._placeholders.get(names, ([], None))
        if made is None or list(map(id, made_of)) != list(map(id, known)):
            made = make_placeholder(names, known)
            if len(self._placeholders) >= MAX_RESOLVED:
                del self._placeholders[next(iter(self._placeholders))]
            self._placeholders[names] = (known, made)
        return made

    def _living(self, name: str) -> type[BaseEvent] | None:
        ref = self._index.get(name)
        return ref() if ref is not None else None

    def _usable_names(self, cls: type[BaseEvent]) -> tuple[str, ...]:
        """Use *cls* for an arrival; return its names, none if one is disputed or unusable."""
        try:
            return self._learn(cls).names
        except WireError:
            return ()

    def _look_around(self) -> None:
        """Work out anew which living class each name means."""
        # First, so that a class made meanwhile is looked for next time.
        self._resolved_at = self.stamp
        index: dict[str, type[BaseEvent]] = {}
        for cls in _walk(BaseEvent):
            try:
                claimed = (self._own_name(cls), *self._own_aliases(cls))
            except WireError:
                continue  # an unusable wire_name is reported to whoever uses the class
            for name in claimed:
                other = index.get(name)
                # Of two definitions of one class the later stands; of two different classes
                # the one that was used first.
                if other is None or _same_definition(other, cls) or self._holder(name) is cls:
                    index[name] = cls
        self._index = {name: weakref.ref(cls) for name, cls in index.items()}
        self._resolved.clear()

    def _report(self, names: tuple[str, ...], cls: type, mine: tuple[str, ...]) -> None:
        if names not in self._reported and len(self._reported) < _MAX_REPORTS:
            self._reported.add(names)
            _logger.warning(
                "event class %s has other bases here (%s) than where its events come from (%s); "
                "they arrive as a placeholder class",
                _described(cls),
                _listed(mine) or "of a disputed name",
                _listed(names),
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


def _listed(names: Sequence[str]) -> str:
    # They come from the wire: no line breaks, and no megabytes, for the log.
    text = ", ".join(name if name.isprintable() else ascii(name) for name in names)
    return text if len(text) <= _MAX_REPORTED else text[:_MAX_REPORTED] + "…"


def _is_name(name: object) -> bool:
    if not isinstance(name, str):
        return False
    try:
        return 0 < len(name.encode())
    except UnicodeEncodeError:
        return False


def is_kind_of(
    event: BaseEvent, cls: type[BaseEvent], registry: ClassRegistry | None = None
) -> bool:
    """Return whether *event* is of class *cls*, by its type or by the names it came with.

    It differs from ``isinstance`` only for placeholders of classes whose bases
    cannot be combined in this process.
    """
    if isinstance(event, cls):
        return True
    if not is_placeholder(type(event)):
        return False
    names = type(event).__dict__[WIRE_NAMES]
    return any(name in names for name in (registry or default_registry).names_heard(cls))


#: The registry of this process; buses use it unless told otherwise.
default_registry = ClassRegistry()
