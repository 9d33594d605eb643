"""The broker, Redis or a service is gone for a while: it is seen, nothing is lost, it heals."""

from __future__ import annotations

import secrets
import time

import pytest

from antiphon import open_bus
from antiphon.events.api import BaseEvent
from tests.compose.stack import OURS, Stack

#: Seconds that the broker is away, until it is seen, and until all is healthy again.
AWAY_S = 30.0
SEEN_WITHIN_S = 20.0
HEALED_WITHIN_S = 60.0


class Happened(BaseEvent):
    """An event that is counted."""


def test_the_broker_is_killed_for_30_seconds(stack: Stack) -> None:
    """Services say so, go on with their work, and heal; each event is archived once."""
    mark = secrets.token_hex(4)
    keys = [f"prices/{mark}-{number}" for number in range(6)]
    with open_bus(stack.secrets("program")["ANTIPHON_AMQP_URL"], origin=mark) as bus:
        for number in range(100):
            bus.emit(Happened(number=number))
        bus.flush(10)
        stack.put(keys[0], b"before")

        stack.compose("kill", "rabbitmq")
        killed = time.monotonic()
        stack.wait(lambda: {503} == {stack.ready(name).status for name in OURS}, SEEN_WITHIN_S)
        for key in keys[1:]:
            assert stack.put(key, b"meanwhile").status in (200, 201, 204)
        for number in range(100, 200):
            bus.emit(Happened(number=number))
        stack.wait(lambda: {"unhealthy"} == {stack.health(name) for name in OURS}, AWAY_S)
        stack.wait(lambda: time.monotonic() - killed > AWAY_S, AWAY_S + 1)
        for name in OURS:
            assert 200 == stack.get(name, "/livez").status
            assert "broker" in stack.ready(name).json()["checks"]["bus"]

        stack.compose("start", "rabbitmq")
        started = time.monotonic()
        stack.wait_healthy(timeout_s=HEALED_WITHIN_S)
        print(f"healthy {time.monotonic() - started:.1f} s after the broker's start")  # noqa: T201
        bus.flush(30)

    found = stack.archived
    stack.wait(lambda: len(found("--origin", mark, "--limit", "1000")) >= 200, 30)
    assert 200 == len(found("--origin", mark, "--limit", "1000"))
    for key in keys:
        stack.wait(lambda key=key: len(found("--key", key)) >= 1, 60)
        assert 1 == len(found("--key", key))


def test_containers_were_not_started_anew(stack: Stack) -> None:
    """Healing took no restart."""
    assert {0} == {stack.inspect(name)["RestartCount"] for name in OURS}


def test_the_recorder_is_killed(stack: Stack) -> None:
    """What was sent while it was away is archived afterwards, each event once."""
    mark = secrets.token_hex(4)
    with open_bus(stack.secrets("program")["ANTIPHON_AMQP_URL"], origin=mark) as bus:
        for number in range(500):
            bus.emit(Happened(number=number))
            if number == 250:
                stack.compose("kill", "recorder")
        bus.flush(10)
    stack.compose("start", "recorder")
    stack.wait_healthy("recorder")
    stack.wait(lambda: len(stack.archived("--origin", mark, "--limit", "1000")) >= 500, 30)

    assert 500 == len(stack.archived("--origin", mark, "--limit", "1000"))


def test_redis_is_killed(stack: Stack) -> None:
    """The services that need it say so, and heal; values and their history are there again."""
    keys = [f"prices/{secrets.token_hex(4)}" for _ in range(5)]
    versions = [stack.put(key, b"kept").json()["version"] for key in keys]
    written = time.monotonic()
    # Written through within a second (appendfsync everysec).
    stack.wait(lambda: time.monotonic() - written > 2, 5)
    stack.compose("kill", "redis")
    stack.wait(lambda: stack.ready("store-server").status == 503, 30)
    assert 200 == stack.ready("recorder").status
    stack.compose("start", "redis")
    stack.wait_healthy()

    assert [b"kept"] * len(keys) == [stack.value(key).body for key in keys]
    # The next change follows on the last one: no commit is missing.
    link = stack.put(keys[0], b"again").json()["link"]
    assert link == versions[-1].rpartition("-")[2][: len(link)] != ""


@pytest.mark.parametrize("account", ["store-server", "recorder"])
def test_a_password_is_changed(stack: Stack, account: str) -> None:
    """Another password for one account: the old one is refused, and its service heals."""
    before = dict(stack.secrets(account))
    stack.rotate(account)
    stack.compose("restart", "redis", account)
    stack.wait_healthy()

    assert before["ANTIPHON_AMQP_URL"] != stack.secrets(account)["ANTIPHON_AMQP_URL"]
    with pytest.raises(Exception, match="does not accept user"):
        open_bus(before["ANTIPHON_AMQP_URL"]).close()
