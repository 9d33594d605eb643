"""Which event, or request, the thread that logs has in hand.

Listeners are called many hundred thousand times a second, and log now and then: so it is
looked for when a record is logged, where the logger looks for its caller, on the stack.
Nothing is set aside for each event.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import CodeType, FrameType
from typing import Any

from antiphon.errors import AntiphonError
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import delivery_of
from antiphon.events.origin import origin_of
from antiphon.messaging.tracing import traceparent
from antiphon.wire.registry import default_registry

#: Calls on the stack that are looked at.
_DEPTH = 100

#: How the code that hands events on calls what it has in hand.
_ONE, _MANY = "event", "events"
_PARTS = ("antiphon.", "services.")

_TRACE_ID = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

_handled: ContextVar[Sequence[BaseEvent]] = ContextVar("antiphon_events_in_hand", default=())

#: Asked in turn where there is no event.
_others: list[Callable[[], Mapping[str, Any]]] = []


@contextlib.contextmanager
def handling(*events: BaseEvent) -> Iterator[None]:
    """Have what is logged in the block name *events*.

    For those who put events aside and handle them later, on threads of their own; the
    events that a listener was called with are found without it.
    """
    token = _handled.set(events)
    try:
        yield
    finally:
        _handled.reset(token)


def also_ask(facts: Callable[[], Mapping[str, Any]]) -> None:
    """Have *facts* asked for what a record without event is about, such as a request."""
    if facts not in _others:
        _others.append(facts)


def facts_in_hand() -> dict[str, Any]:
    """Return what a record that is logged now should say of what its thread has in hand.

    Returns:
        Of an event ``event_id`` (unless it does not travel), ``event_class`` and, where
        they are known, ``origin`` and ``trace_id``; of several that came together those of
        the first, and their number as ``events``.  Nothing at all if there is none.
    """
    events = _handled.get() or _on_stack(sys._getframe(1))
    if events:
        found = _facts_of(events[0])
        return found | {"events": len(events)} if len(events) > 1 else found
    for ask in _others:
        if facts := ask():
            return dict(facts)
    trace_id = trace_id_of(traceparent())
    return {} if trace_id is None else {"trace_id": trace_id}


def facts_of(event: BaseEvent) -> dict[str, Any]:
    """Return what a log says of *event*, see ``facts_in_hand``."""
    delivery = delivery_of(event)
    event_id = event._event_id
    facts = {
        "event_id": None if event_id is None else str(event_id),
        "event_class": _class_of(event),
        "origin": origin_of(event),
        "trace_id": trace_id_of(traceparent() if delivery is None else delivery.traceparent),
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _facts_of(event: BaseEvent) -> dict[str, Any]:
    try:
        return facts_of(event)
    except Exception:  # properties of somebody's class may raise anything; the record counts
        return {"event_class": type(event).__qualname__}


def trace_id_of(text: str | None) -> str | None:
    """Return the id of the trace in a ``traceparent``; None if that is none."""
    found = None if text is None else _TRACE_ID.fullmatch(text)
    return None if found is None else found[1]


def _class_of(event: BaseEvent) -> str:
    try:
        return default_registry.name_of(type(event))
    except AntiphonError:  # two classes claim the name: the log has something else to say
        return type(event).__qualname__


def _on_stack(frame: FrameType | None) -> Sequence[BaseEvent]:
    """Return the innermost events that travel, else the innermost one that does not."""
    fallback: Sequence[BaseEvent] = ()
    for _ in range(_DEPTH):
        if frame is None:
            break
        found = _of_frame(frame)
        if found:
            if found[0]._event_id is not None:
                return _followed_by(found, fallback)
            # What a cache tells its own process follows from an event that came.
            fallback = fallback or found
        frame = frame.f_back
    return fallback


def _followed_by(events: Sequence[BaseEvent], what: Sequence[BaseEvent]) -> Sequence[BaseEvent]:
    """Return those of *events* that *what* follows from: of changes, the newest of its key."""
    if len(events) == 1 or not what:
        return events
    key = what[0].__dict__.get("key")
    same = [event for event in events if key is not None and event.__dict__.get("key") == key]
    return same[-1:] or events


def _of_frame(frame: FrameType) -> Sequence[BaseEvent]:
    if not _may_have(frame.f_code) or not _is_ours(frame):
        return ()
    local = frame.f_locals
    event = local.get(_ONE)
    if isinstance(event, BaseEvent):
        return (event,)
    events = local.get(_MANY)
    is_batch = isinstance(events, list | tuple) and events and isinstance(events[0], BaseEvent)
    return events if is_batch and events is not None else ()


def _may_have(code: CodeType) -> bool:
    # Variables that a closure shares stand elsewhere.
    return any(
        name in names for name in (_ONE, _MANY) for names in (code.co_varnames, code.co_cellvars)
    )


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and name.startswith(_PARTS)
