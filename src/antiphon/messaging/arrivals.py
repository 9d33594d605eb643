"""What the broker's headers say of a message that comes from a queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.messaging.transport import KEY_HEADER

#: Header in which a quorum queue counts how often a message came back to it.
DELIVERY_COUNT_HEADER = "x-delivery-count"

#: Header in which the broker tells where it took a message from that it gave up.
DEATHS_HEADER = "x-death"


def restored(
    routing_key: str, headers: Mapping[str, Any] | None
) -> tuple[str, Mapping[str, Any] | None]:
    """Return the routing key that a message was sent with, and its headers without the broker's.

    A message that went straight to a queue carries its key in ``KEY_HEADER``; of
    one that the broker itself moved to another queue the broker tells the key.
    """
    if not headers:
        return routing_key, None
    if KEY_HEADER not in headers:
        if DELIVERY_COUNT_HEADER not in headers and DEATHS_HEADER not in headers:
            return routing_key, headers
        key = _first_key(headers.get(DEATHS_HEADER))
    else:
        key = headers[KEY_HEADER]
    own = (KEY_HEADER, DELIVERY_COUNT_HEADER)
    kept = {name: value for name, value in headers.items() if name not in own}
    return key if isinstance(key, str) else routing_key, kept or None


def delivery_count(headers: Mapping[str, Any] | None, *, redelivered: bool) -> int:
    """Return how often a message came back unacknowledged; see ``Arrival``."""
    if not redelivered:
        return 0  # a header that says otherwise is the sender's, and not to be trusted
    count = (headers or {}).get(DELIVERY_COUNT_HEADER)
    # pika reads numbers as a subclass of int.
    return int(count) if isinstance(count, int) and count > 0 else 1


def _first_key(deaths: object) -> object:
    # [{"queue": …, "reason": …, "routing-keys": [key, …]}, …]; the oldest is the last.
    last = deaths[-1] if isinstance(deaths, list) and deaths else None
    keys = last.get("routing-keys") if isinstance(last, dict) else None
    return keys[0] if isinstance(keys, list) and keys else None
