"""A service whose bus is disturbed: it says so, and heals, or ends so that it is started anew."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest

from antiphon import open_bus, open_store
from antiphon.testing.broker_control import close_all_connections, delete_all_queues
from antiphon.testing.servers import RabbitMQ
from tests.acceptance.services.service_process import ServiceProcess, service_process, wait_until

SYSTEM = "shop"

#: Seconds within which it works again, or says that it does not.
BACK_WITHIN_S = 10.0


@contextlib.contextmanager
def invalidator(folder: Path, amqp_url: str, **variables: str) -> Iterator[ServiceProcess]:
    """Run the invalidator of a cache in sqlite, and wait until it is ready."""
    settings = f"""
    [[caches]]
    name = "prices"
    mount_point = "prices/"
    cache_url = "sqlite:///{folder}/cache.db"
    backing_url = "{backing(folder)}"
    check_interval_s = 3600
    """
    variables |= {"ANTIPHON_AMQP_URL": amqp_url, "ANTIPHON_SYSTEM": SYSTEM}
    with service_process("services.invalidator", folder, settings, **variables) as running:
        running.wait_for(200)
        yield running


def backing(folder: Path) -> str:
    """URL of the store whose changes the invalidator must hear of."""
    return f"sqlite:///{folder}/catalogue.db"


def metric(running: ServiceProcess, name: str) -> float:
    """Return the value of a metric; -1 while there is none."""
    for line in running.get("/metrics")[1].splitlines():
        if line.startswith((f"{name} ", f"{name}{{")):
            return float(line.rpartition(" ")[2])
    return -1.0


def delete_exchange(broker: RabbitMQ, url: str) -> None:
    """Take the exchange away, and with it every binding: the connections do not notice."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().exchange_delete(f"{SYSTEM}.events")


@pytest.mark.parametrize(
    "trouble",
    [
        lambda broker, url: close_all_connections(broker),
        lambda broker, url: delete_all_queues(broker),
        lambda broker, url: broker.restart(),
        delete_exchange,
    ],
    ids=["connections-closed", "queues-deleted", "broker-restarted", "exchange-deleted"],
)
def test_trap_3_it_hears_again_or_says_that_it_does_not(
    tmp_path: Path, broker: RabbitMQ, trouble: Callable[[RabbitMQ, str], object]
) -> None:
    """Within ten seconds the next change is heard of, and /readyz is 200 again."""
    with (
        broker.vhost() as url,
        open_bus(url, system=SYSTEM) as bus,
        invalidator(tmp_path, url, ANTIPHON_CANARY_INTERVAL_S="1") as running,
    ):
        store = open_store(backing(tmp_path), event_manager=bus)
        store.connect()
        trouble(broker, url)
        began = time.monotonic()
        received = metric(running, "antiphon_bus_received_events_total")

        def hears() -> bool:
            store.set_data("prices/eur", io.BytesIO(b"1"))
            time.sleep(0.05)
            return metric(running, "antiphon_bus_received_events_total") > received

        try:
            wait_until(hears, running.describe, BACK_WITHIN_S)
            running.wait_for(200, BACK_WITHIN_S)
        finally:
            store.disconnect()

        assert time.monotonic() - began < BACK_WITHIN_S
        assert metric(running, "antiphon_bus_canary_age_seconds") < BACK_WITHIN_S


def test_it_ends_when_it_does_not_heal(tmp_path: Path, broker: RabbitMQ) -> None:
    """After ``heal_timeout_s`` without a working bus the exit status is 1, for a new start."""
    with (
        broker.vhost() as url,
        invalidator(tmp_path, url, ANTIPHON_HEAL_TIMEOUT_S="1") as running,
    ):
        broker.kill()

        assert 1 == running.process.wait(20)
        said = [line["message"] for line in running.lines() if line["level"] == "ERROR"]
        assert "only a restart helps: the bus has not worked for" in said[-1]
        broker.restart()
