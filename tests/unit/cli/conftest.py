"""A system for the command line to look at."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from antiphon import BrokerEventManager, open_bus


@pytest.fixture
def url() -> str:
    """URL of a broker in this process that no other test uses."""
    return f"memory://{secrets.token_hex(6)}"


@pytest.fixture
def bus(url: str) -> Iterator[BrokerEventManager]:
    """A bus of that broker, of the process that is called ``shop.till``."""
    with open_bus(url, origin="shop.till") as bus:
        yield bus
