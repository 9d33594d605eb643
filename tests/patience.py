"""Waiting for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds between two looks at a condition.
_PAUSE_S = 0.001


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Wait until *condition* holds, or fail naming *what* was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(_PAUSE_S)
