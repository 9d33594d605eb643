"""A service that is told to end gives the broker what it has, and does not wait for ever."""

from __future__ import annotations

import queue
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from antiphon import open_bus
from antiphon.storage.events import StoreModificationEvent
from tests.acceptance.services.service_process import (
    ServiceProcess,
    service_process,
    wait_until,
)
from tests.integration.tcp_proxy import Node

#: A store in memory: nobody else knows its changes, so their events leave now or never.
SETTINGS = """
anonymous = "write"
[stores.notes]
url = "memory:"
"""

#: Seconds that docker, by default, gives a container between SIGTERM and SIGKILL.
WITHIN_S = 10.0

#: Logged of what is given up.
GIVEN_UP = "with 1 events that the broker has not confirmed"

#: Seconds that the broker stands still: longer than listeners get to end.
STILL_S = 1.5


@pytest.fixture
def proxy(amqp_url: str) -> Iterator[Node]:
    """The network before the broker."""
    with Node(amqp_url) as node:
        yield node


def behind(proxy: Node, amqp_url: str) -> str:
    """URL of the broker through the proxy."""
    parts = urlsplit(amqp_url)
    return parts._replace(netloc=f"guest:guest@127.0.0.1:{proxy.port}").geturl()


@pytest.fixture
def server(tmp_path: Path, amqp_url: str, proxy: Node) -> Iterator[ServiceProcess]:
    """A store server behind the proxy, which is ready."""
    with service_process(
        "services.store_server",
        tmp_path,
        SETTINGS,
        ANTIPHON_AMQP_URL=behind(proxy, amqp_url),
    ) as running:
        running.wait_for(200)
        yield running


def write_and_stop(server: ServiceProcess) -> float:
    """Write a value while the broker stands still, tell the service to end, say when."""
    url = server.logged("stores_url")
    assert 201 == requests.put(f"{url}/notes/keys/a/data", data=b"1", timeout=20).status_code
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    wait_until(
        lambda: any(line["message"] == "stopping" for line in server.lines()), server.describe
    )
    return began


def test_a_slow_broker_gets_what_was_emitted(
    server: ServiceProcess, proxy: Node, amqp_url: str
) -> None:
    """An event that the broker had not taken at SIGTERM is heard all the same."""
    heard: queue.Queue[StoreModificationEvent] = queue.Queue()
    with open_bus(amqp_url) as bus:
        bus.connect(StoreModificationEvent, heard.put)
        proxy.fall_silent()
        began = write_and_stop(server)
        wait_until(lambda: time.monotonic() - began > STILL_S, lambda: "time passes")
        proxy.speak()
        status = server.process.wait(WITHIN_S)
        took_s = time.monotonic() - began
        event = heard.get(timeout=10)

    assert (0, "a") == (status, event.key)
    assert took_s < WITHIN_S
    assert not any(GIVEN_UP in line["message"] for line in server.lines())


def test_a_broker_that_hangs_is_not_waited_for(server: ServiceProcess, proxy: Node) -> None:
    """Docker would kill it; it ends before that, and says what the broker has not got."""
    proxy.fall_silent()
    began = write_and_stop(server)
    status = server.process.wait(WITHIN_S)
    took_s = time.monotonic() - began
    proxy.speak()

    assert 0 == status
    assert took_s < WITHIN_S
    assert any(GIVEN_UP in line["message"] for line in server.lines())


@pytest.mark.parametrize("module", ["services.invalidator", "services.recorder"])
def test_other_services_do_not_wait_for_it_either(
    tmp_path: Path, amqp_url: str, proxy: Node, module: str
) -> None:
    """They have nothing for the broker, but are asked to leave it cleanly."""
    settings = f"""
    [[caches]]
    mount_point = "prices/"
    cache_url = "sqlite:{tmp_path}/cache.db"
    backing_url = "sqlite:{tmp_path}/store.db"
    """
    if module == "services.recorder":
        settings = f'archive_url = "sqlite:{tmp_path}/archive.db"'
    url = behind(proxy, amqp_url)
    with service_process(module, tmp_path, settings, ANTIPHON_AMQP_URL=url) as running:
        running.wait_for(200)
        proxy.fall_silent()
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        status = running.process.wait(WITHIN_S)
        took_s = time.monotonic() - began
        proxy.speak()

    assert 0 == status
    assert took_s < WITHIN_S
