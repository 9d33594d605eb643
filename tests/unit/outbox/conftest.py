"""Fixtures of the tests of outboxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox_helpers import World


@pytest.fixture(params=["sqlite", "file"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Stores of either kind that needs no server."""
    world = World(f"{request.param}:{tmp_path / 'store'}")
    yield world
    world.close()


@pytest.fixture
def sqlite_world(tmp_path: Path) -> Iterator[World]:
    """Stores of one kind, where the kind makes no difference."""
    world = World(f"sqlite:{tmp_path / 'store'}")
    yield world
    world.close()
