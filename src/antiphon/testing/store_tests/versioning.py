"""The suite's part on versions and conditional writes."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from typing import Any

import pytest

from antiphon.errors import InvalidValue, VersionConflict
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import ABSENT, Version
from antiphon.testing.store_tests.base import (
    Call,
    MakeStore,
    SuiteBase,
    content,
    everything,
    large_bytes,
    listen,
    value,
)
from antiphon.testing.store_tests.concurrency import at_once


class Versioning(SuiteBase):
    """Each key has a version, and a write may expect one."""

    def test_versions_grow(self, store: BackendStore, other: BackendStore) -> None:
        """Each change of a key gives it a later version, whoever makes it."""
        versions: list[Any] = [
            store.set("a", value()),
            other.set_data("a", io.BytesIO()),
            store.set_metadata("a", {}),
            other.update_metadata("a", {}),
            store.delete("a"),
            other.set("a", value()),
        ]
        numbers = [version[:2] for version in versions]

        assert sorted(set(numbers)) == numbers
        assert versions[-1] == store.get("a").version
        assert len(versions) == len({version.entry_id for version in versions})

    def test_a_change_of_one_key_leaves_the_version_of_others(self, store: BackendStore) -> None:
        """A version belongs to its key."""
        first = store.set("a", value())
        store.set("b", value())

        assert first == store.get("a").version

    def test_a_write_may_expect_a_version(self, store: BackendStore, other: BackendStore) -> None:
        """With the present version it is done, with any other nothing happens."""
        old = store.set("a", value(b"1"))
        new = other.set("a", value(b"2"), expect=old)
        assert new is not None
        changes = listen(self.emitter(store), StoreModificationEvent)
        for stale in (old, ABSENT, Version(1, 999, b"12345678"), new._replace(entry_id=b"x" * 8)):
            for write in self._writes(store, stale):
                with pytest.raises(VersionConflict, match="'a'"):
                    write()

        assert ([], (b"2", {})) == (changes, content(store, "a"))
        third = store.set_metadata("a", {"n": 1}, expect=new)
        fourth = store.update_metadata("a", {"m": 1}, expect=third)
        fifth = store.set_data("a", io.BytesIO(b"5"), expect=fourth)
        store.delete("a", expect=fifth)
        assert {} == everything(store)

    def _writes(self, store: BackendStore, expect: Version | None) -> list[Call]:
        return [
            lambda: store.set("a", value(b"3"), expect=expect),
            lambda: store.set_data("a", io.BytesIO(b"3"), expect=expect),
            lambda: store.set_metadata("a", {"n": 3}, expect=expect),
            lambda: store.update_metadata("a", {"n": 3}, expect=expect),
            lambda: store.delete("a", expect=expect),
        ]

    def test_a_write_may_expect_no_key(self, store: BackendStore) -> None:
        """``ABSENT`` creates only; a version of what is gone is a conflict."""
        version = store.set("a", value(b"1"), expect=ABSENT)
        with pytest.raises(VersionConflict):
            store.set("a", value(b"2"), expect=ABSENT)
        store.delete("a")
        calls: list[Call] = [
            lambda: store.set("a", value(b"2"), expect=version),
            lambda: store.delete("a", expect=version),
            lambda: store.update_metadata("a", {}, expect=version),
        ]
        for write in calls:
            with pytest.raises(VersionConflict):
                write()

        assert {} == everything(store)

    def test_a_conflict_leaves_no_large_value_behind(self, store: BackendStore) -> None:
        """What was staged for a write that is refused harms nothing later."""
        store.set("a", value(b"1"))
        with pytest.raises(VersionConflict):
            store.set("a", value(large_bytes()), expect=ABSENT)
        store.set("a", value(large_bytes(seed=8)))

        assert large_bytes(seed=8) == store.to_bytes("a")

    @pytest.mark.parametrize("expect", [1, "1-1-00", (1, 1, b""), b"", True])
    def test_only_a_version_can_be_expected(self, store: BackendStore, expect: Any) -> None:
        """Anything else is refused rather than ignored."""
        with pytest.raises(InvalidValue, match="expect"):
            store.set("a", value(), expect=expect)
        assert not store.exists("a")

    def test_a_counter_counted_by_many_is_right(
        self, make_store: MakeStore, store: BackendStore
    ) -> None:
        """Read, add, write if unchanged, else again: no count is lost."""
        handles = [store] + [self.connected(make_store()) for _ in range(2) if self.shared]
        store.set("counter", value(b"", n=0))

        def count(worker: int) -> None:
            mine = handles[worker % len(handles)]
            done = 0
            while done < 10:
                found = mine.get("counter")
                try:
                    mine.set_metadata(
                        "counter", {"n": found.metadata["n"] + 1}, expect=found.version
                    )
                except VersionConflict:
                    continue
                done += 1

        at_once(count, 3)
        for handle in handles[1:]:
            handle.disconnect()

        assert {"n": 30} == store.get_metadata("counter")
