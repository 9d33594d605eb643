"""What tests of ``antiphon store`` share."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from antiphon import StringValue, open_store
from antiphon.cli.main import run
from antiphon.events.event_manager import EventManager
from antiphon.storage.abstract_store import AbstractStore


class Scene:
    """A sqlite store in a folder, and the command line beside it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.url = f"sqlite://{folder}/shop.db"
        self._patch = patch

    def other(self, name: str, scheme: str = "sqlite") -> str:
        """Return the URL of another store in the folder."""
        return f"{scheme}://{self.folder}/{name}"

    def run(self, command: str, *arguments: object, stdin: bytes = b"") -> int:
        """Run ``antiphon store command``, and return its status."""
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return run(["store", command, *map(str, arguments)])

    def fill(self, values: Mapping[str, bytes | tuple[bytes, dict[str, Any]]]) -> None:
        """Put *values*, each data or a pair of data and metadata, into the store."""
        with opened(self.url) as store:
            for key, value in values.items():
                data, metadata = value if isinstance(value, tuple) else (value, {})
                store.set(key, StringValue(data, metadata))


def opened(url: str) -> AbstractStore:
    """Return the store of *url*, with an event manager of its own."""
    return open_store(url, event_manager=EventManager())


def content(url: str) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Return all that is in the store of *url*."""
    with opened(url) as store:
        return {key: (store.to_bytes(key), store.get_metadata(key)) for key in store.query_keys()}


def version_of(url: str, key: str) -> str:
    """Return the version of *key*, as the command line writes it."""
    with opened(url) as store:
        return str(store.get(key).version)
