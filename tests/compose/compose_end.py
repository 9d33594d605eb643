"""The end: SIGTERM, everything flushed, within 10 seconds; and the next start."""

from __future__ import annotations

import secrets
import time

import pytest

from antiphon import open_bus
from antiphon.events.api import BaseEvent
from tests.compose.stack import OURS, SERVERS, Stack

#: Seconds from SIGTERM to the end.
STOPPED_WITHIN_S = 10.0


class Last(BaseEvent):
    """An event just before the end."""


@pytest.mark.parametrize("service", OURS)
def test_a_service_ends_cleanly(stack: Stack, service: str) -> None:
    """It stops within 10 s, with status 0, and says so last."""
    mark = secrets.token_hex(4)
    with open_bus(stack.secrets("program")["ANTIPHON_AMQP_URL"], origin=mark) as bus:
        for number in range(300):
            bus.emit(Last(number=number))
        bus.flush(10)
        started = time.monotonic()
        stack.compose("stop", service)
        took_s = time.monotonic() - started
    state = stack.inspect(service)["State"]

    assert took_s < STOPPED_WITHIN_S
    assert (0, False) == (state["ExitCode"], state["OOMKilled"])
    assert "stopped" == stack.log_lines(service)[-1]["message"]
    stack.compose("start", service)
    stack.wait_healthy(service)
    stack.wait(lambda: len(stack.archived("--origin", mark, "--limit", "1000")) == 300, 30)


def test_services_end_cleanly_without_a_broker(stack: Stack) -> None:
    """They stop in time while it is away; what they could not tell is told afterwards, once."""
    key = f"prices/{secrets.token_hex(4)}"
    stack.compose("kill", "rabbitmq")
    stack.put(key, b"last")
    for service in OURS:
        started = time.monotonic()
        stack.compose("stop", service)
        assert time.monotonic() - started < STOPPED_WITHIN_S
        assert 0 == stack.inspect(service)["State"]["ExitCode"]
    stack.compose("start", "rabbitmq", *OURS)
    stack.wait_healthy(timeout_s=60)
    # The store server's lease has to run out before another publishes its events.
    stack.wait(lambda: len(stack.archived("--key", key)) > 0, 60)

    assert 1 == len(stack.archived("--key", key))


def test_all_is_there_after_a_stop(stack: Stack) -> None:
    """`stop`, then `start`: users, queues, values and archive are as they were."""
    key = f"prices/{secrets.token_hex(4)}"
    stack.put(key, b"kept")
    stack.wait(lambda: len(stack.archived("--key", key)) == 1, 20)
    before = len(stack.archived("--limit", "100000"))
    stack.compose("stop")
    codes = {name: stack.inspect(name)["State"]["ExitCode"] for name in (*OURS, *SERVERS)}
    stack.compose("start")
    stack.wait_healthy(timeout_s=60)

    assert dict.fromkeys(OURS, 0) == {name: codes[name] for name in OURS}
    assert not {137} & set(codes.values())  # killed: it did not end in time
    assert before <= len(stack.archived("--limit", "100000"))


def test_nothing_is_left_after_down(stack: Stack) -> None:
    """`down` ends within its time, and takes everything but the volumes with it."""
    started = time.monotonic()
    stack.compose("down")

    assert time.monotonic() - started < 40
    assert "" == stack.compose("ps", "-q")
