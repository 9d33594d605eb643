"""The invalidator service ends cleanly."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from services.invalidator.service import Invalidator
from services.invalidator.settings import CacheSettings, InvalidatorSettings

#: Seconds that the cache may take until it is vouched for.
DEADLINE_S = 10.0


def test_a_clean_end_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is called by warnings sleeps through a new version."""
    cache = CacheSettings(
        mount_point="p/",
        cache_url=f"sqlite:{tmp_path}/cache.db",
        backing_url=f"sqlite:{tmp_path}/store.db",
    )
    service = Invalidator(InvalidatorSettings(amqp_url="memory://ends-cleanly", caches=(cache,)))
    service.start()
    deadline = time.monotonic() + DEADLINE_S
    while service.readiness()["cache p/"] is not None:
        assert time.monotonic() < deadline, service.readiness()
        time.sleep(0.005)
    caplog.clear()
    service.stop()

    assert [] == [one.message for one in caplog.records if one.levelno >= logging.WARNING]
