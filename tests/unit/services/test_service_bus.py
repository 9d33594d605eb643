"""The bus of a service: whether it works, when to give up, and its figures."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from antiphon import BaseEvent
from antiphon.messaging.memory import MemoryBroker
from services.skeleton import ServiceBus, ServiceSettings
from services.skeleton import bus as bus_module

Opener = Callable[..., ServiceBus]


@pytest.fixture
def name() -> str:
    """Name of a memory broker of the test's own."""
    return secrets.token_hex(6)


@pytest.fixture
def opened(name: str) -> Iterator[Opener]:
    """Open buses with some settings."""
    made: list[ServiceBus] = []

    def open_one(**settings: object) -> ServiceBus:
        made.append(ServiceBus(ServiceSettings(amqp_url=f"memory://{name}", **settings)))  # type: ignore[arg-type]
        made[-1].start()
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def wait_for(condition: Callable[[], object]) -> None:
    """Wait at most 10 s."""
    pause = threading.Event()
    assert any(condition() or pause.wait(0.01) for _ in range(1000))


def shown(bus: ServiceBus) -> dict[str, float]:
    """Return the figures without those of subscriptions, as Prometheus gets them."""

    class Figures(Collector):
        def collect(self) -> object:  # type: ignore[override]
            return bus.metrics()

    registry = CollectorRegistry()
    registry.register(Figures())
    lines = generate_latest(registry).decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def test_a_bus_that_works(opened: Opener) -> None:
    """Once a canary went round there is no problem, and no reason to restart."""
    bus = opened()

    wait_for(lambda: bus.problem() is None)
    assert bus.failure() is None


def test_a_bus_that_does_not(opened: Opener, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The problem is told, and logged once; there is time to heal."""
    MemoryBroker.named(name).stop()
    bus = opened()
    wait_for(lambda: "is stopped" in str(bus.problem()))
    bus.tick()
    bus.tick()

    assert bus.failure() is None
    assert 1 == caplog.text.count("the bus does not work, trying again: the memory broker")


@pytest.mark.parametrize(("limit_s", "gives_up"), [(600, True), (602, False), (0, False)])
def test_giving_up(
    opened: Opener, name: str, limit_s: float, gives_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bus that was out of order for longer than the settings allow is a failure."""
    bus = opened(heal_timeout_s=limit_s)
    wait_for(lambda: bus.problem() is None)
    bus.tick()
    MemoryBroker.named(name).stop()
    wait_for(lambda: "memory broker" in str(bus.problem()))
    well_at = bus._well_at
    monkeypatch.setattr(bus_module.time, "monotonic", lambda: well_at + 601)

    assert gives_up == ("has not worked for 601 s: the" in str(bus.failure()))


def test_a_closed_bus_is_a_failure(opened: Opener) -> None:
    """It never comes back, so there is nothing to wait for."""
    bus = opened(heal_timeout_s=0)
    bus.close()

    assert "it was closed" in str(bus.failure())


def test_its_figures(opened: Opener) -> None:
    """Everything that shows how a bus fares has a figure."""
    bus = opened(canary_interval_s=0.05)
    bus.bus.subscribe("audit", BaseEvent, lambda event: None)
    wait_for(lambda: bus.problem() is None)
    bus.bus.emit(BaseEvent())
    bus.bus.flush(5)
    wait_for(lambda: bus.bus.durable_subscriptions[0].stats().handled)
    figures = shown(bus)

    for name in ("ready", "connected", "emitted_events_total", "confirmed_events_total"):
        assert 1.0 == figures[f"antiphon_bus_{name}"]
    assert 2.0 <= figures["antiphon_bus_consumers"]
    for name in (
        "blocked",
        "buffered_events",
        "backlog_messages",
        "spooled_bytes",
        "reconnects_total",
        *(
            f"{counted}_events_total"
            for counted in (
                *("returned", "recovered", "rejected", "dropped"),
                *("received", "duplicates", "corrupt"),
            )
        ),
    ):
        assert 0.0 == figures[f"antiphon_bus_{name}"]
    assert 0.0 <= figures["antiphon_bus_canary_age_seconds"] < 5
    assert 0.0 < figures["antiphon_bus_canary_round_trip_seconds"] < 5
    own = '{subscription="audit"}'
    assert 1.0 == figures[f"antiphon_subscription_handled_events_total{own}"]
    for name in ("duplicates", "failures", "dead", "moved"):
        assert 0.0 == figures[f"antiphon_subscription_{name}_events_total{own}"]


def test_no_figure_is_made_up(opened: Opener) -> None:
    """Without a canary there is no age of one."""
    bus = opened(canary_interval_s=0)

    assert "antiphon_bus_canary_age_seconds" not in shown(bus)
