"""Who is connected, and whom an event concerns, at a cost that the others do not raise.

For each event class there is a ``Plan``, made when its first event is emitted:
the unfiltered listeners of the class and its bases, in order, and the indexes
through which the filtered ones are found.  Connecting an unfiltered listener
drops the plans that it concerns; connecting a filtered one changes a dict that
the plans refer to.  While a plan stands, emitting takes no lock.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import itemgetter
from types import FunctionType
from typing import Any

from antiphon.errors import ListenerNotConnected
from antiphon.events.abstract_event_manager import Filter, Listener
from antiphon.events.filters import checked
from antiphon.events.listeners import Call, WeakMethod, hold, key_of
from antiphon.events.plans import ClassListeners, Plan

#: Plans kept at a time: they hold event classes, which some programs make as they run.
MAX_PLANS = 4096

#: How often to look for the listeners of one event while other threads change them.
_TRIES = 3


class Dispatcher:
    """The listeners of one event manager.  Thread-safe.

    Any allocation may start a garbage collection, and with it a finalizer that
    connects, disconnects or emits, on the thread that holds the lock.  So the
    lock is reentrant, and what such a call wants to change waits in ``_later``
    until the change that it interrupted is complete (``_busy``).

    Attributes:
        plans: event class -> its plan, for others to read, without the lock.
    """

    def __init__(self) -> None:
        self.plans: dict[type, Plan] = {}
        self._classes: dict[type, ClassListeners] = {}
        self._number = itertools.count()
        self._gone: deque[WeakMethod] = deque()
        self._later: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._busy = False
        self._lock = threading.RLock()
        # Called as they are they cost half of what ``with self._lock`` does.
        self._acquire = self._lock.acquire
        self._release = self._lock.release
        self._when_gone = _forgetter(weakref.ref(self))

    # -- Connecting ----------------------------------------------------------

    def connect(
        self,
        cls: type,
        func: Listener,
        filter: Filter | None = None,
        priority: float = 0,
        condition: Callable[[Any], bool] | None = None,
    ) -> None:
        """Connect *func* to *cls*, in place of what it was connected as before.

        Args:
            cls, func, filter, priority: as for ``EventManager.connect``.
            condition: one more test, after the filter; it is not indexed.
        """
        if type(func) is FunctionType:
            key: Hashable = func
            call: Call = func
        else:
            key = key_of(func)
            call = hold(cls, func, key, self._when_gone)
        rank = -priority
        tests = checked(filter) if filter else None
        old = None  # Outlives the lock: what goes with it may have a finalizer.
        self._acquire()
        busy = self._busy
        self._busy = True
        try:
            if busy:
                self._later.append((self.connect, (cls, func, tests, priority, condition)))
                return
            here = self._classes.get(cls)
            if here is None or self._gone:
                here = self._prepare(cls)
            old = here.entries.get(key)
            if old is not None:
                # Its plans go first: who selects by one meanwhile sees that, and looks again.
                self._drop_plans(here)
                here.remove(key, old)
            if tests is None and condition is None:
                here.add(key, (rank, next(self._number), call, None, None))
            else:
                order = (rank, next(self._number))
                here.add_filtered(key, order, call, tests or {}, condition)
            if here.dependents and here.layers is None:
                self._drop_plans(here)
        finally:
            self._busy = busy
            self._release()
        if self._later:
            self._catch_up()

    def disconnect(self, cls: type, func: Listener) -> None:
        """Disconnect *func* from *cls*.

        Raises:
            ListenerNotConnected: it is not connected to that class.
        """
        key: Hashable = func if type(func) is FunctionType else key_of(func)
        entry = None
        self._acquire()
        busy = self._busy
        self._busy = True
        try:
            here = self._classes.get(cls)
            if here is not None:
                entry = here.entries.get(key)
            if here is None or entry is None:
                raise _not_connected(cls, func)
            if busy:
                self._later.append((self.disconnect, (cls, func)))
                return
            here.remove(key, entry)
            if here.dependents and here.layers is None:
                self._drop_plans(here)
        finally:
            self._busy = busy
            self._release()
        if self._later:
            self._catch_up()

    def _prepare(self, cls: type) -> ClassListeners:
        """Bury the dead; return the listeners of *cls*, none if it is new."""
        while self._gone:
            self._bury(self._gone.popleft())
        here = self._classes.get(cls)
        return self._add_class(cls) if here is None else here

    def _add_class(self, cls: type) -> ClassListeners:
        if not isinstance(cls, type):
            raise TypeError(f"{cls!r} is no class: listeners are connected to event classes")
        here = self._classes[cls] = ClassListeners()
        for planned in [planned for planned in self.plans if cls in planned.__mro__]:
            self.plans.pop(planned).stale = True
        return here

    def _drop_plans(self, here: ClassListeners) -> None:
        for cls in here.dependents:
            plan = self.plans.pop(cls, None)
            if plan is not None:
                plan.stale = True
        here.dependents.clear()

    def _catch_up(self) -> None:
        """Do what finalizers asked for while something else was being done."""
        while self._later:
            try:
                change, arguments = self._later.popleft()
            except IndexError:  # another thread was quicker
                return
            with contextlib.suppress(ListenerNotConnected):  # another finalizer was quicker
                change(*arguments)

    # -- Methods whose object has gone ---------------------------------------

    def _forget(self, weak: WeakMethod) -> None:
        """Disconnect *weak*, at once if that needs no waiting."""
        # This is called by the garbage collector, in the middle of anything.
        self._gone.append(weak)
        if self._acquire(blocking=False):
            busy = self._busy
            self._busy = True
            try:
                while self._gone and not busy:
                    self._bury(self._gone.popleft())
            finally:
                self._busy = busy
                self._release()

    def _bury(self, weak: WeakMethod) -> None:
        here = self._classes[weak.cls]
        entry = here.entries.get(weak.key)
        # The key is made of an address, which another object may have by now.
        if entry is not None and getattr(entry[2], "__self__", None) is weak:
            here.remove(weak.key, entry)
            if here.dependents and here.layers is None:
                self._drop_plans(here)

    # -- Selecting -----------------------------------------------------------

    def plan(self, cls: type) -> Plan:
        """Return the plan for events of class *cls*, made if there is none."""
        self._acquire()
        busy = self._busy
        self._busy = True
        try:
            if busy:  # What it would be made of is being changed: make one for once.
                return Plan(self._listeners_of(cls.__mro__[:-1]))
            while self._gone:
                self._bury(self._gone.popleft())
            plan = self.plans.get(cls)
            if plan is None:
                plan = self._make_plan(cls)
            return plan
        finally:
            self._busy = busy
            self._release()

    def _make_plan(self, cls: type) -> Plan:
        if len(self.plans) >= MAX_PLANS:
            for here in self._classes.values():
                self._drop_plans(here)
            self.plans.clear()
        concerned = self._listeners_of(cls.__mro__[:-1])
        plan = Plan(concerned)
        for here in concerned:
            here.dependents.add(cls)
        self.plans[cls] = plan
        return plan

    def _listeners_of(self, classes: Iterable[type]) -> list[ClassListeners]:
        return [here for cls in classes if (here := self._classes.get(cls)) is not None]

    def select(self, event: Any) -> Sequence[Call]:
        """Return what to call with *event*, in order, as connected at this moment."""
        calls: Sequence[Call] = ()
        for _ in range(_TRIES):
            plan = self.plan(type(event))
            calls = plan.select(event)
            if not plan.stale:
                break
        return calls

    def calls_of(self, classes: Iterable[type]) -> list[Call]:
        """Return what is connected to *classes*, in order, whatever the filters."""
        with self._lock:
            entries = [
                entry
                for here in self._listeners_of(classes)
                for entry in list(here.entries.values())
            ]
        return [entry[2] for entry in sorted(entries, key=itemgetter(0, 1))]

    def calls_for(self, event: Any, classes: Iterable[type]) -> Sequence[Call]:
        """Return what is connected to *classes* and matches *event*, in order."""
        with self._lock:
            plan = Plan(self._listeners_of(classes))
        return plan.select(event)

    # -- Classes -------------------------------------------------------------

    def add_class(self, cls: type) -> bool:
        """Make *cls* known; return False if it was."""
        with self._lock:
            if cls in self._classes:
                return False
            self._add_class(cls)
            return True

    def classes(self) -> list[type]:
        """Return the classes that are known."""
        return list(self._classes)


def _not_connected(cls: type, func: Listener) -> ListenerNotConnected:
    return ListenerNotConnected(
        f"cannot disconnect {func!r} from {getattr(cls, '__qualname__', cls)}: it is not connected "
        "to that class (a subclass or a base is another one)"
    )


def _forgetter(dispatcher: weakref.ref[Dispatcher]) -> Callable[[WeakMethod], None]:
    """Return a callback for weak references that does not keep *dispatcher* alive."""

    def forget(weak: WeakMethod) -> None:
        there = dispatcher()
        if there is not None:
            there._forget(weak)

    return forget
