"""What a doctor says of what Redis, services and the broker's management tell."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from antiphon.cli import doctor_broker
from antiphon.cli.doctor_broker import look_at_delivery, look_at_nodes
from antiphon.cli.doctor_findings import Finding, of_clock, version_of
from antiphon.cli.doctor_redis import look_at_redis, settings_of
from antiphon.cli.doctor_services import look_at_service
from antiphon.cli.doctor_system import look_at_queues
from antiphon.cli.management import Management
from antiphon.cli.overview import Overview, Queue
from antiphon.errors import AntiphonError
from antiphon.messaging.health import BusHealth

Answers = dict[str, tuple[int, Any]]

#: What INFO tells of a Redis that is as it should be.
GOOD = {
    "redis_version": "7.0.15",
    "role": "master",
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "maxmemory": "0",
    "maxmemory_policy": "noeviction",
    "used_memory": "1000000",
}


def statuses(findings: Iterator[Finding]) -> dict[str, str]:
    """Return how each check has ended, those apart that are well."""
    return {one.check: one.status for one in findings if one.status != "ok"}


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, {}),
        ({"redis_version": "6.2.7"}, {"version": "wrong"}),
        ({"redis_version": "10.0"}, {}),
        ({"role": "slave", "master_host": "db1"}, {"role": "wrong"}),
        ({"aof_enabled": "0"}, {"persistence": "wrong"}),
        ({"aof_last_write_status": "err"}, {"persistence": "wrong"}),
        ({"rdb_last_bgsave_status": "err"}, {"persistence": "warning"}),
        ({"maxmemory_policy": "allkeys-lru"}, {"eviction": "warning"}),
        ({"maxmemory_policy": "allkeys-lru", "maxmemory": "90000000"}, {"eviction": "wrong"}),
        ({"maxmemory": "1050000"}, {"memory": "warning"}),
        ({"maxmemory": "900000"}, {"memory": "wrong"}),
        ({"maxmemory": "1200000"}, {}),
    ],
)
def test_settings_of_redis(facts: dict[str, str], found: dict[str, str]) -> None:
    """What loses data is wrong; what may is a warning; all of it comes with advice."""
    told = list(settings_of("redis", GOOD | facts))

    assert found == statuses(iter(told))
    assert all(one.advice for one in told if one.status != "ok")


@pytest.mark.parametrize("url", ["redis://u:sesame@127.0.0.1:1/0", "redis://u:sesame@[::1/0"])
def test_a_redis_that_is_away(url: str) -> None:
    """It is said, without the password."""
    (found,) = look_at_redis(url)

    assert ("reachable", "wrong") == (found.check, found.status)
    assert "sesame" not in str(found)


@pytest.mark.parametrize(
    ("off_s", "status"), [(0.9, "ok"), (-0.9, "ok"), (1.1, "warning"), (-61.0, "wrong")]
)
def test_clocks(off_s: float, status: str) -> None:
    """A second is a warning, a minute is wrong, in both directions."""
    assert status == of_clock("broker", "its clock", off_s).status


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("3.10.8", (3, 10, 8)), ("4.0.0-rc.1", (4, 0, 0)), ("7", (7,)), ("?", ()), ("", ())],
)
def test_versions(text: str, numbers: tuple[int, ...]) -> None:
    """The numbers that it begins with count."""
    assert numbers == version_of(text)


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], str]]:
    """Serve fixed answers by path; returns the URL."""
    servers: list[tuple[HTTPServer, threading.Thread]] = []

    def start(answers: Answers, ahead_s: float = 0.0, login: str | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_known = login in (None, self.headers["Authorization"])
                status, content = answers.get(self.path, (404, {})) if is_known else (401, {})
                self.send_response_only(status)
                self.send_header("Date", formatdate(time.time() + ahead_s, usegmt=True))
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_service_that_is_ready(serve: Callable[[Answers], str]) -> None:
    """It is named; its address may have a path of its health."""
    url = serve(
        {
            "/livez": (200, {"service": "recorder", "alive": True}),
            "/readyz": (200, {"service": "recorder", "ready": True, "checks": {"bus": "ok"}}),
        }
    )
    (found,) = look_at_service(f"{url}/readyz")

    assert ("ok", "recorder is ready") == (found.status, found.text)


def test_a_service_that_is_not(serve: Callable[[Answers], str]) -> None:
    """Why it cannot go on, and why it is not ready, is told."""
    url = serve(
        {
            "/livez": (503, {"service": "recorder", "problem": "a thread has ended"}),
            "/readyz": (503, {"checks": {"bus": "ok", "archive": "the disk is full"}}),
        }
    )
    alive, ready = look_at_service(url)

    assert ("wrong", "recorder cannot go on: a thread has ended") == (alive.status, alive.text)
    assert ("wrong", "recorder is not ready: archive: the disk is full") == (
        ready.status,
        ready.text,
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "ftp://host",
        "http://[::1",
        "http://a b",
        "http://u:se:same@127.0.0.1:1",
    ],
)
def test_a_service_that_does_not_answer(url: str) -> None:
    """It is one finding, without a password."""
    (found,) = look_at_service(url)

    assert ("reachable", "wrong") == (found.check, found.status)
    assert "same" not in str(found)


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        ((404, {}), "http_port of its settings"),
        ((200, {"error": "x"}), "http_port of its settings"),
        ((401, {}), "user and password"),
    ],
)
def test_what_is_no_service(
    answer: tuple[int, dict[str, Any]], advice: str, serve: Callable[[Answers], str]
) -> None:
    """It is neither ready nor to be started anew: another address is meant."""
    (found,) = look_at_service(serve({"/livez": answer, "/readyz": answer}))

    assert ("reachable", "wrong") == (found.check, found.status)
    assert advice in found.advice


def test_a_service_behind_a_password(serve: Callable[..., str]) -> None:
    """User and password of the URL are sent, and not shown."""
    answer = (200, {"service": "recorder"})
    url = serve({"/livez": answer, "/readyz": answer}, login="Basic dTpzZXNhbWU=")
    (found,) = look_at_service(url.replace("://", "://u:sesame@"))

    assert ("ok", "recorder is ready") == (found.status, found.text)
    assert "sesame" not in str(found)


class _Bus:
    """A bus whose messages to itself do not come back."""

    last_error: AntiphonError | None = None

    def __init__(self, blocked_because: str | None, *problems: str) -> None:
        self._health = BusHealth(
            ready=False,
            problems=problems,
            is_broken=False,
            is_connected=True,
            blocked_because=blocked_because,
            canary_age_s=None,
            canary_round_trip_s=None,
            buffered=0,
            backlog=0,
            consumers=0,
            subscriptions=0,
        )

    def health(self) -> BusHealth:
        return self._health


@pytest.mark.parametrize(
    ("bus", "text", "advice"),
    [
        (
            _Bus("low on disk", "the broker takes nothing: low on disk"),
            "low on disk",
            "free memory",
        ),
        (_Bus(None, "user 'x' may not; grant it"), "user 'x' may not", "grant it"),
        (_Bus(None), "no message to oneself came back", "see the broker's log"),
    ],
)
def test_nothing_is_delivered(
    bus: Any, text: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why, is told, and what to do; a reason that is known is not waited for."""
    monkeypatch.setattr(doctor_broker, "PATIENCE_S", 0.2)
    monkeypatch.setattr(doctor_broker, "SHORT_PATIENCE_S", 0.1)
    found = look_at_delivery(bus)

    assert ("wrong", True, True) == (found.status, text in found.text, advice in found.advice)


def test_alarms_of_the_broker(serve: Callable[..., str]) -> None:
    """Nodes without memory or disk, and a clock that is off, are told."""
    nodes = [{"name": "a", "running": True, "disk_free_alarm": True}, {"name": "b"}]
    url = serve({"/api/nodes": (200, nodes)}, ahead_s=-90)
    alarms, clock = look_at_nodes(Management(url, "amqp://localhost"))

    assert ("wrong", "a has no room on its disk") == (alarms.status, alarms.text)
    assert "wrong" == clock.status


def test_a_user_who_may_not_see_nodes(serve: Callable[..., str]) -> None:
    """That is no fault of the system."""
    url = serve({"/api/nodes": (401, {})})

    (found, *_) = look_at_nodes(Management(url, "amqp://localhost"))
    assert ("skipped", "rabbitmqctl set_user_tags 'guest' monitoring") == (
        found.status,
        found.advice,
    )


@pytest.mark.parametrize(
    ("queue", "found"),
    [
        (Queue("s.sub.a", ready=0, consumers=1), {}),
        (Queue("s.sub.a", ready=0, consumers=0), {"consumers": "warning"}),
        (Queue("s.sub.a", ready=1, consumers=0), {"consumers": "wrong"}),
        (Queue("s.sub.a", ready=20_000, consumers=1), {"backlog": "warning"}),
        (Queue("s.sub.a", ready=0, consumers=1, state="down"), {"state": "wrong"}),
        (Queue("s.sub.a", ready=0, consumers=1, state="running"), {}),
        (Queue("s.sub.a"), {"exists": "wrong"}),
        (Queue("s.retry.a", ready=1, consumers=0), {"suspects": "warning"}),
    ],
)
def test_queues(queue: Queue, found: dict[str, str]) -> None:
    """Nobody consumes, or it is behind, gone, or without a majority."""
    assert found == statuses(look_at_queues(Overview("s", [], [queue], None, True)))


def test_queues_that_cannot_be_seen() -> None:
    """Without the management plugin those of absent processes are not looked at, and it is said."""
    (found,) = look_at_queues(Overview("s", [], [], None, False))

    assert ("skipped", "complete") == (found.status, found.check)
