"""A broker that takes connections, and says nothing."""

from __future__ import annotations

import socket

import pytest

from antiphon.errors import BrokerUnavailable
from antiphon.messaging import amqp_parameters
from antiphon.messaging.browser import open_browser


def test_a_browser_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is unavailable, as one that is away; and no other error."""
    monkeypatch.setattr(amqp_parameters, "HANDSHAKE_TIMEOUT_S", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(BrokerUnavailable, match="did not answer in time"),
    ):
        open_browser(f"amqp://127.0.0.1:{silent.getsockname()[1]}")
