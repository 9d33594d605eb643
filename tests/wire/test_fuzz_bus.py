"""The short form of fuzz_bus.py: spoilt messages at the codec and at a whole bus."""

from __future__ import annotations

import os

import pytest
from fuzz_bus import fuzz_bus, fuzz_codec

#: Messages of the short form; ANTIPHON_FUZZ=1000000 asks for the long one.
COUNT = int(os.environ.get("ANTIPHON_FUZZ", "10000"))


@pytest.mark.timeout(7200)
def test_spoilt_messages_at_the_codec() -> None:
    """They are refused or read, by both libraries alike, quickly, and leave nothing behind."""
    counts = fuzz_codec(COUNT, 3)

    assert counts["read"] > COUNT / 20
    assert counts["refused"] > COUNT / 2


@pytest.mark.timeout(7200)
def test_spoilt_messages_at_a_bus() -> None:
    """Good events between them arrive at listeners and durable subscriptions alike."""
    counts = fuzz_bus(COUNT // 2, 4)

    assert counts["corrupt"] > COUNT / 4
    assert counts["dead letters"] > counts["corrupt"] * 0.9
