"""Who is connected to what, and the plans that are made of that.

For each event class there is a plan (``plans.py``), made when its first event is
emitted.  Connecting an unfiltered listener makes the plans stale that it
concerns; connecting a filtered one mostly just changes a dict that they look
into.  While its plan stands, an event takes no lock.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import itemgetter
from types import FunctionType
from typing import Any, TypeAlias

from antiphon.errors import AlreadyRegistered, ListenerNotConnected
from antiphon.events.abstract_event_manager import Filter, Listener
from antiphon.events.class_listeners import ClassListeners
from antiphon.events.filters import check_filter, check_name
from antiphon.events.listeners import Call, WeakMethod, hold, key_of
from antiphon.events.plans import Plan, call_each, make_plan

#: Sees every action before it happens, see ``EventManager.set_trace``.
Tracer: TypeAlias = Callable[[str, Callable[..., Any], tuple[Any, ...]], object]

#: Plans kept at a time: they hold event classes, which some programs make as they run.
MAX_PLANS = 4096

#: How often to look for the listeners of one event while other threads change them.
_TRIES = 3


class ListenerRegistry:
    """The half of an event manager that knows its listeners.  Thread-safe.

    Any allocation may start a garbage collection, and with it a finalizer that
    connects, disconnects or emits, on this thread and while it holds the lock.
    So the lock is reentrant, ``_busy`` tells that something is being changed, and
    what such a finalizer wants to change waits in ``_later`` until that is done.
    """

    def __init__(self) -> None:
        self._trace_func: Tracer | None = None
        self._plans: dict[type, Plan] = {}
        # Their ``run`` methods, for classes whose events need no second thought.
        self._runs: dict[type, Callable[[Any], bool]] = {}
        self._classes: dict[type, ClassListeners] = {}
        self._number = 0
        self._later: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._catching_up: set[int] = set()
        self._busy = False
        # Acquired and released by name where it counts: ``with`` takes twice as long.
        self._lock = threading.RLock()
        self._when_gone = _forgetter(weakref.ref(self))

    # -- Connecting ----------------------------------------------------------

    def connect(
        self, cls: type, func: Listener, filter: Filter | None = None, priority: float = 0
    ) -> None:
        """Call *func* with every event of class *cls*, or of a subclass, from now on.

        Args:
            cls: an event class, or a class that event classes inherit from.
            func: called with the event.  A bound method is held weakly: when its
                object goes, it is disconnected.  Everything else is held.
            filter: dotted attribute names and values; *func* hears an event only
                if each of these attributes exists and equals its value.  None or
                empty: it hears all.  It is copied.
            priority: higher ones are called first, equal ones in the order in which
                they were connected.

        Raises:
            TypeError: *func* cannot be called, or is a method of an object that
                allows no weak references; *cls* is no class; a name is no text.
                Nothing was changed.

        If *func* is connected to *cls* already, its filter, priority and place are
        replaced.  An event that is being emitted meanwhile is not affected.
        """
        trace = self._trace_func
        if trace is not None and trace("connect", self.connect, (cls, func, filter, priority)):
            return
        if type(func) is not FunctionType or filter or priority:
            self._connect(cls, func, filter, priority)
            return
        # What most listeners are: ``_connect`` for a function with nothing else, in
        # one piece, as calls are what costs here (benchmarks/events).
        self._lock.acquire()
        if self._busy:
            self._postpone(self._connect, cls, func, None, 0)
            return
        self._busy = True
        try:
            here = self._classes.get(cls)
            if here is None:
                here = self._add_class(cls)
            if func in here.entries:
                here.outdate()
                here.remove(func)
            self._number = number = self._number + 1
            here.entries[func] = number
            here.first[number] = func
            here.sorted = None
            if here.dependents:
                here.outdate()
        finally:
            self._busy = False
            self._lock.release()
            if self._later:
                self._catch_up()

    def _connect(
        self,
        cls: type,
        func: Listener,
        filter: Filter | None,
        priority: float,
        condition: Callable[[Any], bool] | None = None,
    ) -> None:
        """Connect without asking the tracer; *condition* is one more test, not indexed."""
        if type(func) is FunctionType:
            key: Hashable = func
            call: Call = func
        else:
            key = key_of(func)
            call = hold(cls, func, key, self._when_gone)
        rank = -priority
        if type(filter) is not dict:
            check_filter(filter)
        tests = filter.items() if filter else ()
        for path, _ in tests:
            if type(path) is not str:
                check_name(path)
        self._lock.acquire()
        if self._busy:
            self._postpone(self._connect, cls, func, dict(tests), priority, condition)
            return
        self._busy = True
        try:
            here = self._classes.get(cls)
            if here is None:
                here = self._add_class(cls)
            if key in here.entries:
                # The plans first: who selects by one meanwhile sees that, and looks again.
                here.outdate()
                here.remove(key)
            self._number = number = self._number + 1
            if tests or condition is not None:
                here.add_filtered(key, rank, number, call, tests, condition)
            else:
                here.add(key, rank, number, call)
        finally:
            self._busy = False
            self._lock.release()
            if self._later:
                self._catch_up()

    def disconnect(self, cls: type, func: Listener) -> None:
        """Stop calling *func* with events of class *cls*.

        Raises:
            ListenerNotConnected: (a ``KeyError``) it is not connected to that very
                class; nothing was changed.

        An event that is being emitted meanwhile may still reach it.
        """
        trace = self._trace_func
        if trace is not None and trace("disconnect", self.disconnect, (cls, func)):
            return
        key: Hashable = func if type(func) is FunctionType else key_of(func)
        self._lock.acquire()
        if self._busy:
            self._postpone(self._remove, cls, key)
            return
        self._busy = True
        try:
            here = self._classes[cls]
            entry = here.entries[key]
            if type(entry) is int:
                # ``here.remove``, without calling it: this is what most listeners are.
                del here.entries[key], here.first[entry]
                here.sorted = None
                if here.dependents:
                    here.outdate()
            else:
                here.remove(key)
        except KeyError:
            raise _not_connected(cls, func) from None
        finally:
            self._busy = False
            self._lock.release()
            if self._later:
                self._catch_up()

    # -- Changes that come in the middle of another --------------------------

    def _postpone(self, change: Callable[..., None], *arguments: Any) -> None:
        """Have *change* made after the one that it interrupts; give back the lock."""
        self._later.append((change, arguments))
        self._lock.release()

    def _catch_up(self) -> None:
        """Make the changes that were postponed."""
        thread = threading.get_ident()
        if thread in self._catching_up:
            return  # each change ends with this; the loop further up goes on
        self._catching_up.add(thread)
        try:
            while self._later:
                with contextlib.suppress(IndexError):  # another thread was quicker
                    change, arguments = self._later.popleft()
                    change(*arguments)
        finally:
            self._catching_up.discard(thread)

    def _remove(self, cls: type, key: Hashable, weak: WeakMethod | None = None) -> None:
        """Disconnect a listener if it is connected, and is *weak* if that is given."""
        with self._changing():
            here = self._classes.get(cls)
            call = None if here is None else here.call_of(key)
            if here is None or call is None:
                return
            # The key of a method is an address, which another object may have by now.
            if weak is None or getattr(call, "__self__", None) is weak:
                here.remove(key)

    def _forget(self, weak: WeakMethod) -> None:
        """Disconnect a method whose object has gone: now, or after what this interrupts."""
        # The garbage collector calls this, in the middle of anything.
        self._later.append((self._remove, (weak.cls, weak.key, weak)))
        if self._lock.acquire(blocking=False):
            busy = self._busy
            self._lock.release()
            if not busy:
                self._catch_up()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock, and let whatever interrupts this be postponed."""
        with self._lock:
            busy = self._busy
            self._busy = True
            try:
                yield
            finally:
                self._busy = busy
        if self._later and not busy:
            self._catch_up()

    # -- Plans ---------------------------------------------------------------

    def _run(self, event: Any) -> None:
        """Call the listeners that *event* matches."""
        cls = type(event)
        plan = self._plan(cls)
        if plan.run(event):
            return
        for _ in range(_TRIES):
            plan = self._plan(cls)
            if plan.run(event):
                return
        # Others change its listeners faster than they are found: take what there is.
        call_each(plan.select(event), event)

    def _plan(self, cls: type) -> Plan:
        """Return a plan for events of class *cls* that is up to date."""
        self._lock.acquire()
        busy = self._busy
        self._busy = True
        try:
            if busy:
                # What a plan is made of is just being changed: one for this once.
                return make_plan(cls, self._listeners_of(cls.__mro__[:-1]), self._lock)
            plan = self._plans.get(cls)
            return self._new_plan(cls) if plan is None or plan.stale else plan
        finally:
            self._busy = busy
            self._lock.release()
            if self._later and not busy:
                self._catch_up()

    def _new_plan(self, cls: type) -> Plan:
        old = self._plans.get(cls)
        if old is not None:
            old.retire()
            sources = old.sources
        else:
            if len(self._plans) >= MAX_PLANS:
                for planned in list(self._plans):
                    self._drop_plan(planned)
                for here in self._classes.values():
                    here.outdate()
            sources = self._listeners_of(cls.__mro__[:-1])
        plan = self._plans[cls] = make_plan(cls, sources, self._lock)
        if self._is_open(cls):
            self._runs[cls] = plan.run
        else:
            self._runs.pop(cls, None)
        for here in sources:
            here.dependents[cls] = plan
        return plan

    def _drop_plan(self, cls: type) -> None:
        self._plans.pop(cls).retire()
        self._runs.pop(cls, None)

    def _is_open(self, cls: type) -> bool:
        """Return whether nothing but its listeners has a say in events of class *cls*."""
        return True

    def _reopen(self) -> None:
        """Take in that ``_is_open`` may answer otherwise; call it with the lock held."""
        self._runs.clear()
        for cls, plan in list(self._plans.items()):
            if self._is_open(cls):
                self._runs[cls] = plan.run

    def _listeners_of(self, classes: Iterable[type]) -> list[ClassListeners]:
        return [here for cls in classes if (here := self._classes.get(cls)) is not None]

    def _calls_of(self, classes: Iterable[type]) -> list[Call]:
        """Return what is connected to *classes*, in order, whatever the filters."""
        with self._changing():
            entries = [
                entry for here in self._listeners_of(classes) for entry in here.all_entries()
            ]
        return [entry[2] for entry in sorted(entries, key=itemgetter(0, 1))]

    def _calls_for(self, event: Any, classes: Iterable[type]) -> Sequence[Call]:
        """Return what is connected to *classes* and matches *event*, in order."""
        with self._changing():
            plan = make_plan(type(event), self._listeners_of(classes), self._lock)
        return plan.select(event)

    # -- Classes -------------------------------------------------------------

    def register(self, cls: type) -> None:
        """Make *cls* known.  Connecting, disabling and enabling do that by themselves.

        Raises:
            AlreadyRegistered: (a ``ValueError``) it is known already.
        """
        if not self._know(cls):
            raise AlreadyRegistered(f"the event class {cls.__qualname__} is registered already")

    def _know(self, cls: type) -> bool:
        """Make *cls* known; return False if it was."""
        with self._changing():
            is_new = cls not in self._classes
            if is_new:
                self._add_class(cls)
        return is_new

    def _add_class(self, cls: type) -> ClassListeners:
        if not isinstance(cls, type):
            raise TypeError(f"{cls!r} is no class: a listener is connected to one event class")
        here = self._classes[cls] = ClassListeners()
        for planned in [planned for planned in self._plans if cls in planned.__mro__]:
            self._drop_plan(planned)
        return here


def _not_connected(cls: type, func: Listener) -> ListenerNotConnected:
    return ListenerNotConnected(
        f"cannot disconnect {func!r} from {getattr(cls, '__qualname__', cls)}: it is not connected "
        "to that class (a subclass or a base is another one)"
    )


def _forgetter(registry: weakref.ref[ListenerRegistry]) -> Callable[[WeakMethod], None]:
    """Return a callback for weak references that does not keep *registry* alive."""

    def forget(weak: WeakMethod) -> None:
        there = registry()
        if there is not None:
            there._forget(weak)

    return forget
