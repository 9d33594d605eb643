"""OpenTelemetry's trace context goes with an event, from one process to another."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antiphon import BaseEvent, open_bus
from antiphon.events.delivery import Delivery, delivery_of
from antiphon.events.event_id import next_event_id
from antiphon.messaging.tracing import continued_trace, traceparent

SENDER = """
import sys
from opentelemetry.sdk.trace import TracerProvider
from antiphon import BaseEvent, open_bus

class Traced(BaseEvent):
    wire_name = "test:Traced"

tracer = TracerProvider().get_tracer("sender")
with open_bus(sys.argv[1], system=sys.argv[2]) as bus:
    with tracer.start_as_current_span("sending") as span:
        bus.emit(Traced())
        context = span.get_span_context()
        print(f"{context.trace_id:032x} {context.span_id:016x}")
"""


class Traced(BaseEvent):
    """An event that is emitted inside a span."""

    wire_name = "test:Traced"


class Spans:
    """Spans that ended, and a tracer that makes them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = provider.get_tracer("test")

    def named(self, name: str) -> ReadableSpan:
        """Return the one that ended under this name."""
        (span,) = [one for one in self._exporter.get_finished_spans() if one.name == name]
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def parts(span: ReadableSpan) -> tuple[str, str]:
    """Return the trace and the parent of *span*, in hex digits."""
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    assert parent is not None
    assert parent.is_remote
    return f"{context.trace_id:032x}", f"{parent.span_id:016x}"


def test_a_listener_in_another_process_is_below_the_sender(
    amqp_url: str, system: str, spans: Spans
) -> None:
    """Spans of a listener, and of a subscription's, are children of the span that emitted."""
    done = threading.Semaphore(0)

    def listen(name: str, event: Any) -> None:
        with spans.tracer.start_as_current_span(name):
            pass
        done.release()

    with open_bus(amqp_url, system=system) as bus:
        bus.connect(Traced, lambda event: listen("broadcast", event))
        subscription = bus.subscribe("traced", Traced, lambda event: listen("durable", event))
        sender = subprocess.run(
            [sys.executable, "-c", SENDER, amqp_url, system],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        for _ in range(2):
            assert done.acquire(timeout=20)
        subscription.delete()

    told = tuple(sender.stdout.split())
    assert [told, told] == [parts(spans.named("broadcast")), parts(spans.named("durable"))]


def test_a_reader_of_a_stream_may_go_on_in_the_trace(spans: Spans) -> None:
    """``continued_trace`` does for a stream what listeners have by themselves."""
    url = "memory://test-tracing"

    async def read() -> None:
        with open_bus(url) as sender, open_bus(url) as receiver:
            async with receiver.stream(Traced) as stream:
                with spans.tracer.start_as_current_span("sending"):
                    sender.emit(Traced())
                event = await anext(stream)
                with continued_trace(event), spans.tracer.start_as_current_span("reading"):
                    pass
                assert not trace.get_current_span().get_span_context().is_valid

    asyncio.run(read())

    sending = spans.named("sending").get_span_context()
    assert sending is not None
    assert parts(spans.named("reading")) == (
        f"{sending.trace_id:032x}",
        f"{sending.span_id:016x}",
    )


def test_without_a_span_nothing_travels() -> None:
    """An event that is emitted outside of any span has no trace context."""
    heard: list[Any] = []
    with open_bus("memory://test-untraced") as sender, open_bus("memory://test-untraced") as bus:
        bus.connect(Traced, heard.append)
        sender.emit(Traced())
        sender.flush(5)

    delivery = delivery_of(heard[0])
    assert delivery is not None
    assert delivery.traceparent is None
    assert traceparent() is None


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "00",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "0" * 16 + "-01",
        "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "1" * 16 + "-01-more",
        "00-" + "G" * 32 + "-" + "1" * 16 + "-01",
        "00-" + "1" * 32 + "-" + "1" * 16 + "-01\n",
        None,
    ],
)
def test_nonsense_starts_no_trace(sent: str | None) -> None:
    """What came over the wire may be anything; it is then as if it had not come."""
    event = Traced()
    event_id = next_event_id()
    event.__dict__["_delivery"] = Delivery(event_id, None, 0, traceparent=sent)

    with continued_trace(event):
        assert not trace.get_current_span().get_span_context().is_valid


def test_a_newer_version_is_understood() -> None:
    """Fields that a later version of W3C's format appends are passed over."""
    event = Traced()
    sent = "cc-" + "1" * 32 + "-" + "2" * 16 + "-01-what-the-future-brings"
    event.__dict__["_delivery"] = Delivery(next_event_id(), None, 0, traceparent=sent)

    with continued_trace(event):
        assert int("2" * 16, 16) == trace.get_current_span().get_span_context().span_id


def test_it_is_not_imported() -> None:
    """A program without OpenTelemetry imports none, and pays for none."""
    source = """
import json, sys
from antiphon import BaseEvent, open_bus
heard = []
with open_bus("memory:") as sender, open_bus("memory:") as receiver:
    receiver.connect(BaseEvent, heard.append)
    sender.emit(BaseEvent())
    sender.flush(5)
print(json.dumps([len(heard), [name for name in sys.modules if "opentelemetry" in name]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True
    )

    assert [1, []] == json.loads(done.stdout)
