"""What is measured: one function a case, which prepares it and returns what to time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

#: Runs a number of operations; returns the nanoseconds that they took.
Timed = Callable[[int], int]

MANY = 100_000

#: Events that the four threads emit together in one sample.
THREADED_TIMES = 20_000

#: Seconds that a library may take to get ready; some take time that grows with the square.
PATIENCE_S = 10.0


class TooSlow(Exception):
    """A library cannot be made ready in time; says how far it came."""


def patiently(actions: Iterable[Callable[[], object]]) -> None:
    """Do all *actions*; raise ``TooSlow`` if that takes too long."""
    give_up = time.monotonic() + PATIENCE_S
    for count, action in enumerate(actions):
        action()
        if count % 1000 == 0 and time.monotonic() > give_up:
            raise TooSlow(f"{count:,} in {PATIENCE_S:g} s")


def listener() -> Callable[..., None]:
    """Return a new listener that does nothing."""

    def listener(event: Any) -> None:
        pass

    return listener


def fresh(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of the method *loop* whose code the interpreter has not seen.

    Python 3.11 fits code to what it calls first.  A loop that served one library
    would be slower with the next.
    """
    code = loop.__code__
    function = FunctionType(code.replace(), loop.__globals__, code.co_name, None, loop.__closure__)
    return MethodType(function, loop.__self__) if isinstance(loop, MethodType) else function


def timed(loop: Callable[[int], object]) -> Timed:
    action = fresh(loop)

    def run(times: int) -> int:
        started = time.perf_counter_ns()
        action(times)
        return time.perf_counter_ns() - started

    return run


class Case:
    """A row of the table.

    Attributes:
        name: what is measured.
        prepare: makes it ready for a library; None if the library cannot do it.
        base: how many empty listeners the loop calls that the row is compared with.
        target: what the ratio shall be at most; None if nothing is demanded.
    """

    def __init__(
        self,
        name: str,
        prepare: Callable[[Any], Timed | None],
        base: int = 1,
        target: float | None = None,
    ) -> None:
        self.name = name
        self.prepare = prepare
        self.base = base
        self.target = target


def bare_loop(count: int) -> Timed:
    """What everything is compared with: a loop that calls *count* empty listeners."""
    listeners = [listener() for _ in range(count)]

    def run(times: int) -> int:
        event = object()
        started = time.perf_counter_ns()
        for _ in range(times):
            for func in listeners:
                func(event)
        return time.perf_counter_ns() - started

    return run


def kept(library: Any, listeners: list[Any]) -> Any:
    """Connect *listeners* to *library*, and keep them alive with it."""
    patiently(partial(library.connect, func) for func in listeners)
    library.kept = [*getattr(library, "kept", ()), *listeners]
    return library


def emit_to(count: int) -> Callable[[Any], Timed]:
    return lambda cls: timed(kept(cls(), [listener() for _ in range(count)]).emit_many)


class Owner:
    """An object with a listening method."""

    def listen(self, event: Any) -> None:
        pass


def emit_to_method(cls: Any) -> Timed:
    owner = Owner()
    library = cls()
    library.connect(owner.listen)
    library.owner = owner
    return timed(library.emit_many)


def emit_through_hierarchy(cls: Any) -> Timed | None:
    if not hasattr(cls, "hierarchy"):
        return None
    library = cls()
    library.hierarchy([listener() for _ in range(5)])
    return timed(library.emit_many)


def with_filters(cls: Any, others: int) -> Any:
    library = cls()
    library.kept = [listener() for _ in range(others)]
    patiently(
        partial(library.connect_to, f"value {number}", func)
        for number, func in enumerate(library.kept)
    )
    return library


def emit_filtered(others: int) -> Callable[[Any], Timed | None]:
    def prepare(cls: Any) -> Timed | None:
        if not hasattr(cls, "connect_to"):
            return None
        library = with_filters(cls, others)
        library.wanted = listener()
        library.connect_to("wanted", library.wanted)
        return timed(library.emit_wanted)

    return prepare


def emit_beside_unfiltered(cls: Any) -> Timed | None:
    """One filtered listener of many, and one that hears everything."""
    if not hasattr(cls, "hierarchy"):  # where filters are other signals, nothing is beside them
        return None
    library = kept(with_filters(cls, MANY), [listener()])
    library.wanted = listener()
    library.connect_to("wanted", library.wanted)
    return timed(library.emit_many)


def emit_first(plain: int, filtered: int, by_filter: bool = False) -> Callable[[Any], Timed | None]:
    """The emit after a connect, by itself: without the connecting and disconnecting around it.

    Args:
        plain, filtered: how many other listeners there are.
        by_filter: connect the listener with a filter, which the event passes.
    """

    def prepare(cls: Any) -> Timed | None:
        if filtered and not hasattr(cls, "connect_to"):
            return None
        library = kept(with_filters(cls, filtered), [listener() for _ in range(plain)])
        func = library.own = listener()
        if by_filter:
            connect = partial(library.connect_to, "wanted", func)
            disconnect = partial(library.disconnect_from, "wanted", func)
            emit = library.wanted_emitter()
        else:
            connect, disconnect = partial(library.connect, func), partial(library.disconnect, func)
            emit = library.emitter()

        def run(times: int) -> int:
            taken = 0
            for _ in range(times):
                connect()
                started = time.perf_counter_ns()
                emit()
                taken += time.perf_counter_ns() - started
                disconnect()
            return taken - times * TIMER_NS

        timed = fresh(run)
        timed.library = library  # type: ignore[attr-defined]  # it keeps the listeners alive
        return timed

    return prepare


def connect_and_disconnect(others: int) -> Callable[[Any], Timed]:
    def prepare(cls: Any) -> Timed:
        library = kept(cls(), [listener() for _ in range(others)])
        pairs, func = fresh(library.pairs), listener()
        return timed(lambda times: pairs(func, times))

    return prepare


def connect_and_disconnect_filtered(others: int) -> Callable[[Any], Timed | None]:
    def prepare(cls: Any) -> Timed | None:
        if not hasattr(cls, "filtered_pairs"):
            return None
        library = with_filters(cls, others)
        pairs, func = fresh(library.filtered_pairs), listener()
        return timed(lambda times: pairs(func, times))

    return prepare


def emit_on_threads(cls: Any) -> Timed:
    """Four threads at once; the time of all, for the events of all."""
    library = kept(cls(), [listener()])
    emit_many = fresh(library.emit_many)

    def run(times: int) -> int:
        each = THREADED_TIMES // 4
        begin = threading.Barrier(5)

        def work() -> None:
            begin.wait()
            emit_many(each)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        begin.wait()
        started = time.perf_counter_ns()
        for thread in threads:
            thread.join()
        return (time.perf_counter_ns() - started) * times // THREADED_TIMES

    return run


def _timer_ns() -> int:
    """Return what it takes to look at the clock, at least."""
    spans = []
    for _ in range(10_000):
        started = time.perf_counter_ns()
        spans.append(time.perf_counter_ns() - started)
    return min(spans)


TIMER_NS = _timer_ns()

CASES = (
    Case("emit, 1 listener", emit_to(1), 1, 5),
    Case("emit, 10 listeners", emit_to(10), 10, 2.5),
    Case("emit, 5 classes deep, 1 listener on each", emit_through_hierarchy, 5, 3),
    Case("emit, 1 bound method", emit_to_method),
    Case("emit, 1 filter matches, 10 others do not", emit_filtered(10), 1, 6),
    Case("emit, 1 filter matches, 100 000 others do not", emit_filtered(MANY), 1, 6),
    Case("the same, and 1 listener without filter", emit_beside_unfiltered, 2),
    Case("first emit after a connect, 1 listener", emit_first(0, 0)),
    Case("first emit after a connect, 10 others", emit_first(10, 0), 11),
    Case("first emit after a connect, 100 000 others", emit_first(MANY, 0), MANY + 1),
    Case("first emit after a connect, 10 filtered others", emit_first(0, 10)),
    Case("first emit after a connect, 100 000 filtered others", emit_first(0, MANY)),
    Case("first emit after one with filter, 10 others", emit_first(0, 10, by_filter=True)),
    Case("first emit after one with filter, 100 000 others", emit_first(0, MANY, by_filter=True)),
    Case("connect + disconnect, none connected", connect_and_disconnect(0), 1, 12),
    Case("connect + disconnect, 10 connected", connect_and_disconnect(10), 1, 12),
    Case("connect + disconnect, 100 000 connected", connect_and_disconnect(MANY), 1, 12),
    Case("connect + disconnect with filter, 10 connected", connect_and_disconnect_filtered(10)),
    Case("connect + disconnect with filter, 100 000", connect_and_disconnect_filtered(MANY)),
    Case("emit on 4 threads, 1 listener", emit_on_threads, 1, 8),
)
