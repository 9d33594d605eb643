"""One stack for all parts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.compose.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack, built and healthy; afterwards nothing of it is left."""
    made = Stack(f"antiphon-test-{secrets.token_hex(3)}")
    try:
        made.up()
        yield made
    finally:
        made.down()
