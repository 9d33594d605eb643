"""Which bindings the listeners of a bus need together.

Many listeners share a binding: 100 000 that differ only in their filters need
one.  A binding is wished for when the first comes and given up when the last
has gone, by ``disconnect`` or because a bound method's object died.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from types import MethodType
from typing import Any

from antiphon.errors import BrokerRefused
from antiphon.events.abstract_event_manager import Listener
from antiphon.events.listeners import key_of
from antiphon.messaging.matching import Origins
from antiphon.messaging.topology import BROADCAST, Binding, Topology
from antiphon.wire.routing import binding_keys

#: Seconds that ``put`` waits for the broker to confirm a new binding.
BIND_TIMEOUT_S = 5.0


@lru_cache(maxsize=4096)
def bindings_for(
    names: tuple[str, ...], origins: Origins, queue: str = BROADCAST
) -> tuple[Binding, ...]:
    """Return the bindings of *queue* for events of the classes called *names*, from *origins*."""
    keys = (
        key
        for name in names
        for origin in ((None,) if origins is None else origins)
        for key in binding_keys(name, origin)
    )
    return tuple(Binding(queue, key) for key in dict.fromkeys(keys))


class _Listening:
    """That one listener needs some bindings."""

    __slots__ = ("bindings", "key", "ref")

    def __init__(self, key: Hashable, bindings: tuple[Binding, ...]) -> None:
        self.key = key
        self.bindings = bindings
        self.ref: weakref.ref[Any] | None = None


class Subscriptions:
    """Counts who needs which binding, and keeps a ``Topology`` as it has to be.

    Safe from any thread, and from finalizers that run while it is at work.

    Args:
        topology: what is to be kept.
        reconcile: called when it changed.
    """

    def __init__(self, topology: Topology, reconcile: Callable[[], None]) -> None:
        self._topology = topology
        self._reconcile = reconcile
        self._lock = threading.RLock()
        self._listening: dict[Hashable, _Listening] = {}
        self._needed: dict[Binding, int] = {}
        self._gone: deque[_Listening] = deque()

    def put(self, cls: type | str, func: Listener, bindings: tuple[Binding, ...]) -> None:
        """Let (*cls*, *func*) need *bindings*, in place of what it needed before.

        Returns when they stand, if the broker can be reached.

        Raises:
            BrokerRefused: it does not allow them; (*cls*, *func*) needs nothing now.
        """
        listening = _Listening((cls, key_of(func)), bindings)
        if type(func) is MethodType:
            # The callback runs inside the garbage collector: it only takes a note.
            listening.ref = weakref.ref(func.__self__, lambda _: self._gone.append(listening))
        with self._lock:
            before = self._listening.get(listening.key)
            self._listening[listening.key] = listening
            is_changed = self._need(bindings)
            if before is not None:
                is_changed = self._release(before.bindings) or is_changed
            is_changed = self._bury() or is_changed
        if is_changed:
            self._reconcile()
        try:
            # Also if others need them already: theirs may not stand yet either.
            self._topology.wait(self._topology.generation_of(bindings), BIND_TIMEOUT_S)
        except BrokerRefused:
            self.take(cls, func)
            raise

    def take(self, cls: type | str, func: Listener) -> None:
        """Let (*cls*, *func*) need nothing any more."""
        with self._lock:
            listening = self._listening.pop((cls, key_of(func)), None)
            is_changed = listening is not None and self._release(listening.bindings)
            is_changed = self._bury() or is_changed
        if is_changed:
            self._reconcile()

    def bury(self) -> None:
        """Give up what dead objects needed."""
        if self._gone:
            with self._lock:
                is_changed = self._bury()
            if is_changed:
                self._reconcile()

    @property
    def binding_count(self) -> int:
        """How many different bindings are needed."""
        return len(self._needed)

    def _bury(self) -> bool:
        is_changed = False
        while self._gone:
            listening = self._gone.popleft()
            # Another object may live at the same address by now, under the same key.
            if self._listening.get(listening.key) is listening:
                del self._listening[listening.key]
                is_changed = self._release(listening.bindings) or is_changed
        return is_changed

    def _need(self, bindings: Iterable[Binding]) -> bool:
        new = []
        for binding in bindings:
            count = self._needed.get(binding, 0)
            self._needed[binding] = count + 1
            if not count:
                new.append(binding)
        if new:
            self._topology.bind(new)
        return bool(new)

    def _release(self, bindings: Iterable[Binding]) -> bool:
        old = []
        for binding in bindings:
            self._needed[binding] -= 1
            if not self._needed[binding]:
                del self._needed[binding]
                old.append(binding)
        if old:
            self._topology.unbind(old)
        return bool(old)
