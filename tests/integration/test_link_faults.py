"""A link when its user, or the library, fails; and what may still be said at its end."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from bus_helpers import wait_until

from antiphon.messaging import amqp_link
from antiphon.messaging.amqp_address import parse_address
from antiphon.messaging.amqp_link import Link


class User:
    """Does nothing; base of those below."""

    def __init__(self, url: str) -> None:
        self.is_open = threading.Event()
        self.opened_count = 0
        self.link = Link(parse_address(url), "test link", self)

    def opened(self, channel: Any) -> None:
        self.channel = channel
        self.opened_count += 1
        self.is_open.set()

    def woken(self) -> None:
        pass

    def ticked(self) -> None:
        pass

    def leaving(self) -> None:
        pass

    def lost(self, error: Exception) -> None:
        pass

    def blocked(self, reason: str | None) -> None:
        pass


class Clumsy(User):
    """Fails in a callback of the library."""

    def opened(self, channel: Any) -> None:
        super().opened(channel)
        channel.queue_declare("", exclusive=True, callback=self._on_declared)

    def _on_declared(self, frame: Any) -> None:
        raise LookupError("we have lost our notes")


class Busy(User):
    """Has something to say until the very end."""

    def leaving(self) -> None:
        self.link.wake()

    def woken(self) -> None:
        self.channel.basic_qos(prefetch_count=1)


class Late(User):
    """Uses a channel that is closing, as do those who do not know of it yet."""

    def woken(self) -> None:
        self.channel.connection.close()
        self.channel.basic_qos(prefetch_count=1)


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the link has logged with a traceback."""
    return [one for one in caplog.records if one.name == amqp_link.__name__ and one.exc_info]


def test_a_failure_in_a_callback_is_logged_once(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has its traceback, although the library tells it as a lost connection."""
    user = Clumsy(amqp_url)
    user.link.start()
    wait_until(lambda: user.opened_count > 2, "it has failed twice")
    user.link.stop(10)

    (failure,) = failures(caplog)
    assert failure.exc_info is not None
    assert "we have lost our notes" == str(failure.exc_info[1])
    assert failure.exc_info[2] is not None


def test_nothing_is_asked_of_channels_that_close(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is woken just before the link ends is no longer asked."""
    user = Busy(amqp_url)
    user.link.start()
    assert user.is_open.wait(20)
    user.link.stop(10)

    assert [] == failures(caplog)


def test_a_connection_that_ends_meanwhile(amqp_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A channel that cannot be used as its connection is ending is no failure: it is made anew."""
    user = Late(amqp_url)
    user.link.start()
    assert user.is_open.wait(20)
    user.link.wake()
    wait_until(lambda: user.opened_count > 1, "it is back")
    user.link.stop(10)

    assert [] == failures(caplog)
