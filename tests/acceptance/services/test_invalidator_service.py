"""The invalidator as a process, against real servers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon import MountedStore, open_bus, open_store
from antiphon.storage.abstract_store import AbstractStore
from antiphon.testing.servers import RabbitMQ, Redis
from tests.acceptance.services.service_process import (
    ROOT,
    ServiceProcess,
    command,
    service_process,
    wait_until,
)

MODULE = "services.invalidator"

SYSTEM = "shop"

SETTINGS = """
[[caches]]
name = "prices"
mount_point = "prices/"
cache_url = "{redis}?namespace=prices-cache"
backing_url = "{redis}?namespace=catalogue"
"""


@contextlib.contextmanager
def service(folder: Path, amqp_url: str, redis_url: str) -> Iterator[ServiceProcess]:
    """Run the invalidator until the block ends."""
    settings = SETTINGS.format(redis=redis_url)
    variables = {"ANTIPHON_AMQP_URL": amqp_url, "ANTIPHON_SYSTEM": SYSTEM}
    with service_process(MODULE, folder, settings, **variables) as running:
        running.logged("address")
        yield running


def metric(running: ServiceProcess, name: str) -> float:
    """Return the value of a metric of the cache."""
    wanted = f'{name}{{cache="prices"}} '
    lines = running.get("/metrics")[1].splitlines()
    return next(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


@pytest.fixture
def invalidator(tmp_path: Path, amqp_url: str, redis_url: str) -> Iterator[ServiceProcess]:
    """A running invalidator that is ready."""
    with service(tmp_path, amqp_url, redis_url) as running:
        running.wait_for(200)
        yield running


@contextlib.contextmanager
def catalogue(amqp_url: str, redis_url: str) -> Iterator[AbstractStore]:
    """The backing store, as a process that writes opens it."""
    with open_bus(amqp_url, system=SYSTEM) as bus:
        store = open_store(f"{redis_url}?namespace=catalogue", event_manager=bus)
        store.connect()
        yield store
        store.disconnect()


def write(store: AbstractStore, key: str, data: bytes) -> None:
    """Write a value."""
    store.set_data(key, io.BytesIO(data))


def test_a_reader_without_a_bus_sees_what_changed(
    invalidator: ServiceProcess, amqp_url: str, redis_url: str
) -> None:
    """The service drops from a shared cache what a writer elsewhere changes."""
    with catalogue(amqp_url, redis_url) as store:
        write(store, "prices/eur", b"1")
        cache = open_store(f"{redis_url}?namespace=prices-cache")
        reader = MountedStore("prices/", cache, store, fill=True)
        reader.connect()

        def is_served_from_the_cache() -> bool:
            hits = reader.cache_stats().hits
            assert reader.get_data("prices/eur").read() == b"1"
            return reader.cache_stats().hits > hits

        wait_until(is_served_from_the_cache, invalidator.describe)
        write(store, "prices/eur", b"2")
        wait_until(
            lambda: metric(invalidator, "antiphon_cache_dropped_total") == 1, invalidator.describe
        )

        assert reader.get_data("prices/eur").read() == b"2"
        assert metric(invalidator, "antiphon_cache_invalidation_seconds_count") >= 1
        cache.disconnect()


def test_sigterm_ends_it_cleanly(invalidator: ServiceProcess) -> None:
    """SIGTERM ends the process with status 0 within seconds."""
    started = time.monotonic()
    invalidator.process.send_signal(signal.SIGTERM)

    assert invalidator.process.wait(20) == 0
    assert time.monotonic() - started < 5
    assert json.loads(invalidator.log.read_text().splitlines()[-1])["message"] == "stopped"


def test_it_is_ready_only_with_the_broker(tmp_path: Path, broker: RabbitMQ, redis_url: str) -> None:
    """/readyz is 503 while the broker is gone, 200 when it is back, and /livez 200 throughout."""
    with broker.vhost() as url, service(tmp_path, url, redis_url) as running:
        running.wait_for(200)

        broker.kill()
        running.wait_for(503)
        status, body = running.get("/readyz")
        assert status == 503
        assert "broker" in json.loads(body)["checks"]["bus"]
        assert running.get("/livez")[0] == 200

        broker.restart()
        running.wait_for(200)


def test_it_comes_up_without_its_servers(
    tmp_path: Path, broker: RabbitMQ, redis_server: Redis
) -> None:
    """Started before broker and store, it waits for them, and SIGTERM ends it meanwhile."""
    broker.kill()
    redis_server.kill()
    with service(tmp_path, broker.url, redis_server.url) as running:
        running.wait_for(503)
        redis_server.restart()
        broker.restart()
        running.wait_for(200)

        redis_server.kill()
        running.wait_for(503)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0


def test_no_password_is_logged(tmp_path: Path, amqp_url: str, redis_url: str) -> None:
    """A wrong password is told, and is nowhere to be read, though all settings are logged."""
    url = amqp_url.replace("guest:guest@", "guest:hush-hush@")
    with service(tmp_path, url, redis_url) as running:
        wait_until(lambda: "does not accept user" in running.log.read_text(), running.describe)
        settings = running.logged("settings")

        assert running.get("/readyz")[0] == 503
        assert "hush" not in running.describe()
        assert settings["amqp_url"] == url.replace("hush-hush", "***")
        assert settings["caches"][0]["name"] == "prices"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 1\n" + SETTINGS, "colour: there is no such setting"),
        (SETTINGS.replace('"{redis}?namespace=catalogue', '"reddis://h'), "did you mean 'redis'?"),
        (SETTINGS.replace("{redis}", "redis://:${{NO_SUCH}}@h"), "NO_SUCH_FILE"),
    ],
    ids=["unknown-setting", "unknown-store", "no-password"],
)
def test_bad_settings_are_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Settings that make no sense end it at once with status 78 and no traceback."""
    path = tmp_path / "caches.toml"
    path.write_text(text.format(redis="redis://localhost"))
    done = subprocess.run(
        command(MODULE, path),
        cwd=ROOT,
        env=os.environ | {"ANTIPHON_HTTP_PORT": "0", "ANTIPHON_AMQP_URL": "amqp://127.0.0.1:1"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 78
    assert said in done.stderr
    plain = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(plain) == 1
    assert plain[0].startswith("invalidator: ")


def test_a_port_that_is_taken_is_told(tmp_path: Path, invalidator: ServiceProcess) -> None:
    """An address that another program has is named in one line."""
    path = tmp_path / "settings.toml"
    address = invalidator.logged("address")
    done = subprocess.run(
        command(MODULE, path),
        cwd=ROOT,
        env=os.environ | {"ANTIPHON_HTTP_PORT": address.rpartition(":")[2]},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 78
    assert f"cannot listen on {address}" in done.stderr
    assert done.stderr.count("\n") == 1
