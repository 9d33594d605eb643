"""A way to a backing store that takes its time now and then, and may answer late."""

from __future__ import annotations

import random
import time
from typing import Any

from antiphon.storage.string_value import StringValue


def slow_down(store: Any, rng: random.Random, slow_s: float, *, lag_s: float = 0.0) -> None:
    """Let answers of *store* be held up between being given and arriving.

    Args:
        store: any store; only its ``get`` is changed.
        rng: of the dice.
        slow_s: seconds that it may take an answer to arrive; one in five does.
        lag_s: seconds for which an answer may be given again: a proxy before it.
    """
    read = store.get
    given: dict[str, tuple[float, Any]] = {}

    def late(key: str) -> Any:
        at, kept = given.get(key, (0.0, None))
        if kept is None or time.monotonic() - at > lag_s or rng.random() < 0.5:
            began = time.monotonic()
            value = read(key)
            with value.data as stream:
                kept = stream.read(), value.metadata, value.version
            given[key] = began, kept
        value = StringValue(kept[0], kept[1])
        value.version = kept[2]
        return value

    def get(key: str) -> Any:
        value = late(key) if lag_s else read(key)
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, slow_s))
        return value

    store.get = get
