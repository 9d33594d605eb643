"""What headers say of a message that arrives."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.messaging.arrivals import delivery_count, restored
from antiphon.messaging.transport import KEY_HEADER


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, ("q", None)),
        ({}, ("q", None)),
        ({"own": 1}, ("q", {"own": 1})),
        ({KEY_HEADER: "a.b"}, ("a.b", None)),
        ({KEY_HEADER: "a.b", "own": 1}, ("a.b", {"own": 1})),
        ({KEY_HEADER: 5}, ("q", None)),
        ({"x-delivery-count": 3}, ("q", None)),
        (
            {"x-death": [{"routing-keys": ["a.b"]}]},
            ("a.b", {"x-death": [{"routing-keys": ["a.b"]}]}),
        ),
        ({"x-death": "?"}, ("q", {"x-death": "?"})),
        ({"x-death": [5]}, ("q", {"x-death": [5]})),
        ({"x-death": [{"routing-keys": []}]}, ("q", {"x-death": [{"routing-keys": []}]})),
    ],
)
def test_restored(headers: Any, expected: Any) -> None:
    """The key that a message was sent with comes back, whatever else the headers are."""
    assert expected == restored("q", headers)


def test_key_before_deaths() -> None:
    """What was sent straight to a queue, and given up there, has the key that its sender gave."""
    headers = {KEY_HEADER: "own", "x-death": [{"routing-keys": ["queue"]}]}

    assert "own" == restored("q", headers)[0]


@pytest.mark.parametrize(
    ("headers", "redelivered", "expected"),
    [
        (None, False, 0),
        (None, True, 1),
        ({"x-delivery-count": 4}, True, 4),
        ({"x-delivery-count": 4}, False, 0),
        ({"x-delivery-count": "4"}, True, 1),
        ({"x-delivery-count": -4}, True, 1),
    ],
)
def test_delivery_count(headers: Any, redelivered: bool, expected: int) -> None:
    """The broker's count is taken where the broker says that it was delivered before."""
    assert expected == delivery_count(headers, redelivered=redelivered)
