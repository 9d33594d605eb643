"""The suite's part on writing: set and the rest."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import datetime
import enum
import io
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import KeyNotFound
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import SuiteBase, content, everything, large_bytes, value


class Colour(enum.IntEnum):
    """An enumeration, which is kept as the number that it is."""

    RED = 1


class Writing(SuiteBase):
    """Setting, changing and deleting keys."""

    def test_info_says_that_it_can_be_written(self, store: AbstractStore) -> None:
        """So that programs need not try."""
        assert store.info()["readonly"] is False

    def test_set_replaces_data_and_metadata(self, store: AbstractStore) -> None:
        """Nothing of the old value stays."""
        store.set("a", value(b"a longer one", x=1, y=2))
        store.set("a", value(b"short", y=3))

        assert (b"short", {"y": 3}) == content(store, "a")

    def test_set_takes_a_pair(self, store: AbstractStore) -> None:
        """Encore's tuple of stream and metadata is a value too."""
        store.set("a", (io.BytesIO(b"data"), {"n": 1}))

        assert (b"data", {"n": 1}) == content(store, "a")

    def test_a_value_copies_from_store_to_store(
        self, store: AbstractStore, other: AbstractStore
    ) -> None:
        """What one store hands out another takes, also the same one, of any size."""
        for data in (b"data", large_bytes()):
            store.set("a", value(data, n=1))
            other.set("b", store.get("a"))
            other.set("a", other.get("a"))

            assert (data, {"n": 1}) == content(store, "b") == content(store, "a")

    def test_set_data_keeps_metadata(self, store: AbstractStore) -> None:
        """Only the data change; a new key gets no metadata."""
        store.set("a", value(b"old", n=1))
        store.set_data("a", io.BytesIO(b"new"))
        store.set_data("b", io.BytesIO(b"b"))

        assert (b"new", {"n": 1}) == content(store, "a")
        assert (b"b", {}) == content(store, "b")

    def test_set_metadata_keeps_data(self, store: AbstractStore) -> None:
        """Only the metadata change, and all of them; a new key gets no data."""
        for data in (b"data", large_bytes()):
            store.set("a", value(data, x=1, y=2))
            store.set_metadata("a", {"z": 3})

            assert (data, {"z": 3}) == content(store, "a")
        store.set_metadata("b", {"n": 1})
        assert (b"", {"n": 1}) == content(store, "b")

    def test_update_metadata_adds(self, store: AbstractStore) -> None:
        """Present entries stay unless they are given; the data stay."""
        store.set("a", value(b"data", x=1, y=2))
        store.update_metadata("a", {"y": 3, "z": 4})

        assert (b"data", {"x": 1, "y": 3, "z": 4}) == content(store, "a")

    def test_what_needs_a_key_says_that_there_is_none(self, store: AbstractStore) -> None:
        """Updating and deleting what is not there changes nothing."""
        with pytest.raises(KeyNotFound, match="none"):
            store.update_metadata("none", {"x": 1})
        with pytest.raises(KeyNotFound, match="none"):
            store.delete("none")

        assert {} == everything(store)

    def test_delete_removes_all_of_a_key(self, store: AbstractStore, other: AbstractStore) -> None:
        """A key set again after its end has nothing of before."""
        for data in (b"data", large_bytes()):
            store.set("a", value(data, x=1))
            store.delete("a")

            assert not other.exists("a")
            store.set_metadata("a", {"y": 1})
            assert (b"", {"y": 1}) == content(other, "a")
            store.delete("a")

    def test_bytes_and_files_come_in(self, store: AbstractStore, tmp_path: Path) -> None:
        """``from_bytes`` and ``from_file`` set the data and leave the metadata."""
        store.set("a", value(b"old", n=1))
        store.from_bytes("a", b"bytes")
        assert (b"bytes", {"n": 1}) == content(store, "a")
        path = tmp_path / "file"
        path.write_bytes(large_bytes())
        store.from_file("a", path)

        assert (large_bytes(), {"n": 1}) == content(store, "a")

    def test_many_keys_are_set_at_once(self, store: AbstractStore) -> None:
        """The multi methods take iterators; what one has too many is ignored."""
        store.multiset(iter("abc"), iter([value(b"1", n=1), value(b"2", n=2)]))
        store.multiset_data(["b", "c"], [io.BytesIO(b"3"), io.BytesIO(b"4"), io.BytesIO(b"5")])
        store.multiset_metadata(["c"], [{"n": 4}])
        store.multiupdate_metadata(["a", "b"], [{"m": 1}, {"n": 3}])

        assert {
            "a": (b"1", {"n": 1, "m": 1}),
            "b": (b"3", {"n": 3}),
            "c": (b"4", {"n": 4}),
        } == everything(store)

    def test_a_query_follows_changes(self, store: AbstractStore, other: AbstractStore) -> None:
        """What was changed or deleted is no longer found under its old metadata."""
        store.set("a", value(b"", colour="red"))
        other.set("b", value(b"", colour="red"))
        other.set("c", value(b"", colour="red"))
        other.set_metadata("a", {"colour": "blue"})
        store.update_metadata("b", {"other": 1})
        store.delete("c")

        for each in (store, other):
            assert ["b"] == list(each.query_keys(colour="red"))
            assert ["a"] == list(each.query_keys(colour="blue"))

    def test_keys_may_be_changed_while_a_query_is_read(self, store: AbstractStore) -> None:
        """What is there all the while is found once."""
        for number in range(1200):
            store.set_metadata(f"{number:05}", {"n": 1})
        assert 1200 == len(list(store.query_keys())) == len(list(store.query()))
        seen = []
        for number, key in enumerate(store.query_keys(n=1)):
            seen.append(key)
            if number % 400 == 0:
                store.delete(key)
                store.set_metadata(f"new{number}", {"n": 2})

        expected = {f"{number:05}" for number in range(1200)}
        assert expected == {key for key in seen if not key.startswith("new")}
        assert len(seen) == len(set(seen))

    def test_metadata_keep_what_json_lacks(
        self, store: AbstractStore, other: AbstractStore
    ) -> None:
        """Bytes, tuples, sets, moments, UUIDs, odd floats and odd names come back."""
        berlin = datetime.timezone(datetime.timedelta(hours=2))
        given: dict[str, Any] = {
            "bytes": b"\x00\xff", "tuple": (1, (2, [3])), "set": {1, "a", (2,)},
            "frozen": frozenset({b"x"}), "naive": datetime.datetime(2024, 5, 6, 7, 8, 9, 10),
            "aware": datetime.datetime(2024, 5, 6, tzinfo=berlin), "date": datetime.date(1, 1, 1),
            "uuid": UUID(int=5), "inf": float("inf"), "tiny": 5e-324, "big": 2**63 - 1,
            "small": -(2**63), "!tag": {"!bytes": "x", "!!x": 1}, "": "", "nul": "a\x00b",
            "smile": "\U0001f600",
        }  # fmt: skip
        store.set_metadata("a", given)
        found = other.get_metadata("a")

        assert given == found
        assert {name: type(item) for name, item in given.items()} == {
            name: type(item) for name, item in found.items()
        }

    def test_subclasses_are_kept_as_what_they_derive_from(self, store: AbstractStore) -> None:
        """An enumeration's member becomes its number, a subclass of str plain text."""
        store.set_metadata("a", {"colour": Colour.RED})

        assert {"colour": 1} == store.get_metadata("a")
        assert int is type(store.get_metadata("a")["colour"])
        assert ["a"] == list(store.query_keys(colour=Colour.RED))

    def test_a_value_of_another_kind_will_do(self, store: AbstractStore) -> None:
        """Whatever has data and metadata is a value."""

        class Mine:
            def __init__(self) -> None:
                self.data = io.BytesIO(b"mine")
                self.metadata = {"n": 1}

        store.set("a", Mine())
        store.set("b", StringValue())

        assert {"a": (b"mine", {"n": 1}), "b": (b"", {})} == everything(store)

    def test_a_buffer_size_that_makes_no_sense_is_ignored(self, store: AbstractStore) -> None:
        """It is a hint: nothing is lost by a wrong one."""
        for buffer_size in (0, -1, 1):
            store.set_data("a", io.BytesIO(b"data"), buffer_size)

            assert b"data" == store.to_bytes("a", buffer_size)
