"""W3C trace context of the running program, for those who use OpenTelemetry.

OpenTelemetry is used only if the program itself has imported it; nothing here
imports it, and without it all of this costs a look into a dictionary.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from antiphon.events.abstract_event_manager import BaseEvent

_modules = sys.modules
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


def traceparent() -> str | None:
    """Return the trace context of the calling thread or task; None if there is none.

    It is the ``traceparent`` of https://www.w3.org/TR/trace-context/ of the
    current span, whether that is sampled or not.
    """
    trace: Any = _modules.get("opentelemetry.trace")
    if trace is None:
        return None
    try:
        context = trace.get_current_span().get_span_context()
    except AttributeError:
        return None  # another thread is importing it just now
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def continued_trace(event: BaseEvent) -> AbstractContextManager[None]:
    """Let spans begun inside be children of the span in which *event* was emitted.

    Listeners run so anyway; it is for those who read from a stream::

        async for event in bus.stream(Saved):
            with continued_trace(event), tracer.start_as_current_span("index"):
                ...

    Without OpenTelemetry, and for an event of this process or without a trace
    context, it changes nothing.
    """
    delivery = event._delivery
    return continued(None if delivery is None else delivery.traceparent)


@contextlib.contextmanager
def continued(parent: str | None) -> Iterator[None]:
    """Let spans begun, and events emitted, inside be children of the span *parent*.

    For those whom a request told of its trace context; with OpenTelemetry not
    imported, and for what is none, it changes nothing.

    Args:
        parent: a ``traceparent``, from anyone.
    """
    trace: Any = _modules.get("opentelemetry.trace")
    context: Any = _modules.get("opentelemetry.context")
    span = None if parent is None or context is None else _remote_span(trace, parent)
    if span is None:
        yield
        return
    token = context.attach(trace.set_span_in_context(span))
    try:
        yield
    finally:
        context.detach(token)


def call_traced(call: Callable[[Any], object], event: BaseEvent) -> None:
    """Call *call* with *event*, which arrived, inside the trace that it was emitted in."""
    with continued_trace(event):
        call(event)


def _remote_span(trace: Any, traceparent: str) -> Any:
    """Return what stands for the sender's span; None if *traceparent* is none."""
    # What came over the wire may be anything: it is read as strictly as W3C asks.
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or trace is None:
        return None
    version, trace_id, span_id, flags = found.groups()
    if version == "ff" or (version == "00" and len(traceparent) != 55):
        return None
    try:
        span_context = trace.SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(int(flags, 16)),
        )
        return trace.NonRecordingSpan(span_context) if span_context.is_valid else None
    except AttributeError:
        return None  # another thread is importing it just now
