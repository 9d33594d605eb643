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

from antiphon.errors import KeyNotFound, NotConnected
from antiphon.events.api import EventManager
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.metadata import encode, encode_value, normalise
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import (
    Call,
    MakeStore,
    Peek,
    Seed,
    SuiteBase,
    content,
    everything,
    large_bytes,
    value,
)


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

    def test_what_was_set_is_in_the_medium(self, store: AbstractStore, peek: Peek) -> None:
        """Each method that writes has written when it returns."""
        store.set("a", value(b"\x00\xff\n", title="x", n=1))
        store.set_data("b", io.BytesIO(b"b"))
        store.set_metadata("b", {"m": 1})
        store.set_metadata("c", {"m": 2})
        store.update_metadata("c", {"n": 3})
        store.from_bytes("d", b"d")
        store.set("e", value(b"", x=1))
        store.delete("e")

        assert {
            "a": (b"\x00\xff\n", {"title": "x", "n": 1}),
            "b": (b"b", {"m": 1}),
            "c": (b"", {"m": 2, "n": 3}),
            "d": (b"d", {}),
        } == peek()

    def test_what_the_medium_has_can_be_changed(
        self, store: AbstractStore, seed: Seed, peek: Peek
    ) -> None:
        """What came there behind the store's back is updated, replaced and deleted like its own."""
        seed({key: (b"before", {"n": 1}) for key in "abcd"})
        store.set("a", value(b"after", n=2))
        store.set_data("b", io.BytesIO(b"after"))
        store.update_metadata("c", {"m": 2})
        store.delete("d")

        assert {
            "a": (b"after", {"n": 2}),
            "b": (b"after", {"n": 1}),
            "c": (b"before", {"n": 1, "m": 2}),
        } == peek()

    def test_writing_needs_a_connection(self, make_store: MakeStore) -> None:
        """Before ``connect()`` and after ``disconnect()`` the error says what to do."""
        if not self.needs_connecting:
            return
        store = make_store()
        for _ in range(2):
            calls: list[Call] = [
                lambda: store.set("a", value()),
                lambda: store.set_data("a", io.BytesIO()),
                lambda: store.set_metadata("a", {}),
                lambda: store.update_metadata("a", {}),
                lambda: store.delete("a"),
                lambda: store.from_bytes("a", b""),
                lambda: store.multiset(["a"], [value()]),
            ]
            for write in calls:
                with pytest.raises(NotConnected, match="connect"):
                    write()
            store.connect(self.credentials)
            store.disconnect()

    def test_what_was_written_is_there_when_opened_again(self, make_store: MakeStore) -> None:
        """A medium outlives the stores that use it; a new one finds, queries and changes all."""
        if not self.shared:
            return
        first = self.connected(make_store())
        first.set("a", value(b"one", n=1))
        first.set("b", value(large_bytes(), n=2))
        first.delete("a")
        first.set("a", value(b"two", n=3))
        first.disconnect()
        second = self.connected(make_store())

        assert {"a": (b"two", {"n": 3}), "b": (large_bytes(), {"n": 2})} == everything(second)
        assert ["b"] == list(second.query_keys(n=2))
        second.update_metadata("b", {"n": 3})
        assert {"a", "b"} == set(second.query_keys(n=3))
        assert b"one" not in {content(second, key)[0] for key in second.query_keys()}
        second.disconnect()

    def test_a_value_knows_size_and_times(self, store: AbstractStore) -> None:
        """Size in bytes; created stays, modified grows; both in seconds since 1970."""
        store.set("a", value(b"one"))
        first = store.get("a")
        store.set("a", value(b"three"))
        second = store.get("a")
        store.set_metadata("a", {"n": 1})
        third = store.get("a")

        assert (3, 5, 5) == (first.size, second.size, third.size)
        assert first.created is not None
        assert first.created == second.created == third.created
        assert first.modified is not None
        assert second.modified is not None
        assert third.modified is not None
        assert 1.5e9 < first.created <= first.modified <= second.modified <= third.modified < 1e11

    def test_metadata_given_are_copied(self, store: AbstractStore) -> None:
        """Changing afterwards what was given does not change the store."""
        given: dict[str, Any] = {"deep": {"x": [1]}}
        store.set("k", (io.BytesIO(), given))
        store.set_metadata("m", given)
        given["deep"]["x"].append(2)
        given["more"] = 1

        assert {"deep": {"x": [1]}} == store.get_metadata("k") == store.get_metadata("m")

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

    def test_a_value_copies_between_stores_of_different_kinds(self, store: AbstractStore) -> None:
        """What a store hands out any other takes, of any size."""
        with DictMemoryStore() as memory:
            memory.event_manager = EventManager()
            for data in (b"", b"data", large_bytes()):
                memory.set("a", value(data, n=1, tags=["x"]))
                store.set("a", memory.get("a"))
                memory.set("b", store.get("a"))
                store.set("c", (store.get_data("a"), store.get_metadata("a")))

                expected = (data, {"n": 1, "tags": ["x"]})
                assert expected == content(store, "a") == content(memory, "b")
                assert expected == content(store, "c")

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

    def test_keys_may_be_changed_while_a_query_is_read(
        self, store: AbstractStore, seed: Seed
    ) -> None:
        """What is there all the while is found once."""
        seed({f"{number:05}": (b"", {"n": 1}) for number in range(1200)})
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

    def test_any_metadata_come_back(self, store: AbstractStore) -> None:
        """Whatever is permitted, with its type, alone and in company."""
        from antiphon.testing.store_tests.strategies import all_metadata, for_all

        @for_all(metadata=all_metadata)
        def check(metadata: dict[str, Any]) -> None:
            store.set_metadata("a", metadata)

            # The text tells types apart that Python calls equal.
            assert encode(normalise(metadata)) == encode(store.get_metadata("a"))
            assert encode(normalise(metadata)) == encode(dict(store.query())["a"])

    def test_any_value_can_be_asked_for(self, store: AbstractStore) -> None:
        """A query finds the keys with exactly that value and type."""
        from antiphon.testing.store_tests.strategies import all_items, for_all

        @for_all(drawn=all_items)
        def check(drawn: list[Any]) -> None:
            for number in range(5):
                store.set_metadata(f"{number}", {"x": drawn[number]} if drawn[number:] else {})
            for wanted in drawn:
                same = [
                    f"{number}"
                    for number, item in enumerate(drawn)
                    if encode_value(item) == encode_value(wanted)
                ]
                assert same == sorted(store.query_keys(x=wanted))

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
