"""How a message says that it belongs to a replay.

Whoever has handled an event passes over a message that brings it once more, for
its publisher may have sent it twice.  A replay brings on purpose what was handled
before: its messages carry a mark, drawn for this replay, and what has been handled
with another mark, or without one, is new again.  What the replay itself sends
twice, because the connection was lost, has the same mark and is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

#: Header with the mark of the replay, 24 hexadecimal digits.
REPLAY_HEADER = "antiphon-replay"

_MARK = re.compile(r"[0-9a-f]{24}")


def new_mark() -> str:
    """Return a mark that no other replay has."""
    return os.urandom(12).hex()


def mark_of(headers: Mapping[str, Any] | None) -> bytes:
    """Return the mark in *headers* as bytes; none for a message that is not replayed.

    What does not look like a mark is none: it would be remembered with each event,
    and may have been written by anybody.
    """
    if not headers:
        return b""
    mark = headers.get(REPLAY_HEADER)
    return bytes.fromhex(mark) if isinstance(mark, str) and _MARK.fullmatch(mark) else b""
