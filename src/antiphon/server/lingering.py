"""Bodies that nobody reads: what becomes of them, and of the connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

#: What a client may still send after it was refused, before the connection is
#: closed: one that is cut off while it sends does not read why.
_LINGER_BYTES = 1 << 24
_LINGER_S = 2.0


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request with *headers*, by name in small letters, has a body."""
    length = headers.get(b"content-length", b"0")
    return length != b"0" or b"transfer-encoding" in headers


async def linger(receive: Callable[[], Awaitable[Any]]) -> None:
    """Read on, and throw away what comes, for a while or until the client stops.

    Args:
        receive: of ASGI.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            left = _LINGER_BYTES
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return
