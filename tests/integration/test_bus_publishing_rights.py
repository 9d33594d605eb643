"""A publisher whose user may not publish says so, keeps its events, and goes on when it may."""

from __future__ import annotations

import secrets
import urllib.parse
from collections.abc import Callable, Iterator

import pytest
from bus_helpers import Heard, Numbered, wait_until

from antiphon import open_bus
from antiphon.testing.servers import RabbitMQ

#: What a bus needs for its own queue.
WRITE_QUEUES = "^amq[.]gen-.*"


@pytest.fixture
def restricted(broker: RabbitMQ, broker_url: str) -> Iterator[tuple[str, Callable[[str], None]]]:
    """URL of a user without the right to publish, and what gives the user other rights."""
    name, password = f"u{secrets.token_hex(4)}", secrets.token_hex(8)
    parts = urllib.parse.urlsplit(broker_url)
    virtual_host = urllib.parse.unquote(parts.path[1:])

    def allow(write: str) -> None:
        broker.rabbitmqctl("set_permissions", "-p", virtual_host, name, ".*", write, ".*")

    broker.rabbitmqctl("add_user", name, password)
    allow(WRITE_QUEUES)
    yield parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}").geturl(), allow
    broker.rabbitmqctl("delete_user", name)


def test_no_right_to_publish(
    broker_url: str,
    restricted: tuple[str, Callable[[str], None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged once, stays visible, costs no events, and heals when the right is given."""
    url, allow = restricted
    heard = Heard()
    with open_bus(broker_url) as receiver, open_bus(url) as bus:
        receiver.connect(Numbered, heard)
        for number in range(5):
            bus.emit(Numbered(number=number))
        wait_until(lambda: "write" in str(bus.last_error), "the missing right is told")
        wait_until(lambda: len(refusals(caplog)) > 0, "it is logged")
        assert not bus.is_connected
        assert 5 == bus.stats().buffered

        allow(".*")
        bus.flush(30)

        assert [0, 1, 2, 3, 4] == [event.number for event in heard.wait(5)]
        assert 1 == len(refusals(caplog))
        wait_until(lambda: bus.last_error is None, "all is well")


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "refuses what is published" in text]
