"""The suite's part on stores that can only be read."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from typing import Any

import pytest

from antiphon.errors import ReadOnlyStore
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.testing.store_tests.base import Peek, Seed, content, value
from antiphon.testing.store_tests.reading import Reading


class ReadingOnly(Reading):
    """``Reading``, and that nothing can be written.

    A backend's class overrides ``seed``, which alone puts things there, and
    leaves the store such that it sees them; and ``peek``.
    """

    def test_info_says_that_it_can_only_be_read(self, store: AbstractReadOnlyStore) -> None:
        """So that programs need not try."""
        assert store.info()["readonly"] is True

    def test_nothing_can_be_written(
        self, store: AbstractReadOnlyStore, seed: Seed, peek: Peek
    ) -> None:
        """The methods that write are missing, or say that they cannot."""
        seed({"a": (b"before", {"n": 1})})
        before = dict(peek())
        attempts: dict[str, tuple[Any, ...]] = {
            "set": ("a", value()),
            "set_data": ("a", io.BytesIO(b"x")),
            "set_metadata": ("a", {}),
            "update_metadata": ("a", {"m": 1}),
            "delete": ("a",),
            "from_bytes": ("a", b"x"),
            "multiset": (["a"], [value()]),
        }
        for name, arguments in attempts.items():
            method = getattr(store, name, None)
            if method is not None:
                with pytest.raises(ReadOnlyStore):
                    method(*arguments)

        assert before == dict(peek())
        assert (b"before", {"n": 1}) == content(store, "a")
