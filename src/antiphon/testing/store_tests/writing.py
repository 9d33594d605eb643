"""The suite's part on writing: set and the rest, values of any size, bad input."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import datetime
import enum
import io
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import InvalidKey, InvalidValue, KeyNotFound
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import (
    LARGE,
    Call,
    FailingStream,
    SuiteBase,
    content,
    everything,
    journal_of,
    large_bytes,
    value,
)

#: Keys that mean something to some medium, and nothing to a store.
KEYS = [
    "", "a", "A", "a/b", "/", "//", "..", "../../etc/passwd", ".", "a\nb", "a\x00b", "a\x00",
    "\x00", "ü", "u\u0308", "日本語", "\U0001f600", "\uffff", "a b", " a", "%41", "*", "?", "[a]",
    "{a}", "#", "'", '"; drop table store', "a.b", "key", "%", "_", "k" * 10_000, "\\", "con",
    "-rf", "\x7f",
]  # fmt: skip


class Colour(enum.IntEnum):
    """An enumeration, which is kept as the number that it is."""

    RED = 1


class Writing(SuiteBase):
    """Writing."""

    def test_set_replaces_data_and_metadata(self, store: BackendStore) -> None:
        """Nothing of the old value stays."""
        store.set("a", value(b"a longer one", x=1, y=2))
        store.set("a", value(b"short", y=3))

        assert (b"short", {"y": 3}) == content(store, "a")

    def test_set_takes_a_pair(self, store: BackendStore) -> None:
        """Encore's tuple of stream and metadata is a value too."""
        store.set("a", (io.BytesIO(b"data"), {"n": 1}))

        assert (b"data", {"n": 1}) == content(store, "a")

    def test_a_value_copies_from_store_to_store(
        self, store: BackendStore, other: BackendStore
    ) -> None:
        """What one store hands out another takes, also the same one, of any size."""
        for data in (b"data", large_bytes()):
            store.set("a", value(data, n=1))
            other.set("b", store.get("a"))
            other.set("a", other.get("a"))

            assert (data, {"n": 1}) == content(store, "b") == content(store, "a")

    def test_set_data_keeps_metadata(self, store: BackendStore) -> None:
        """Only the data change; a new key gets no metadata."""
        store.set("a", value(b"old", n=1))
        store.set_data("a", io.BytesIO(b"new"))
        store.set_data("b", io.BytesIO(b"b"))

        assert (b"new", {"n": 1}) == content(store, "a")
        assert (b"b", {}) == content(store, "b")

    def test_set_metadata_keeps_data(self, store: BackendStore) -> None:
        """Only the metadata change, and all of them; a new key gets no data."""
        for data in (b"data", large_bytes()):
            store.set("a", value(data, x=1, y=2))
            store.set_metadata("a", {"z": 3})

            assert (data, {"z": 3}) == content(store, "a")
        store.set_metadata("b", {"n": 1})
        assert (b"", {"n": 1}) == content(store, "b")

    def test_update_metadata_adds(self, store: BackendStore) -> None:
        """Present entries stay unless they are given; the data stay."""
        store.set("a", value(b"data", x=1, y=2))
        store.update_metadata("a", {"y": 3, "z": 4})

        assert (b"data", {"x": 1, "y": 3, "z": 4}) == content(store, "a")

    def test_what_needs_a_key_says_that_there_is_none(self, store: BackendStore) -> None:
        """Updating and deleting what is not there changes nothing."""
        with pytest.raises(KeyNotFound, match="none"):
            store.update_metadata("none", {"x": 1})
        with pytest.raises(KeyNotFound, match="none"):
            store.delete("none")

        assert {} == everything(store)
        assert [] == journal_of(store)

    def test_delete_removes_all_of_a_key(self, store: BackendStore, other: BackendStore) -> None:
        """A key set again after its end has nothing of before."""
        for data in (b"data", large_bytes()):
            store.set("a", value(data, x=1))
            store.delete("a")

            assert not other.exists("a")
            store.set_metadata("a", {"y": 1})
            assert (b"", {"y": 1}) == content(other, "a")
            store.delete("a")

    @pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20, LARGE])
    def test_data_of_any_size(self, store: BackendStore, other: BackendStore, size: int) -> None:
        """Bytes come back unchanged, and the size is known."""
        data = large_bytes(size)
        store.set_data("a", io.BytesIO(data))

        assert data == other.to_bytes("a")
        assert size == other.get("a").size

    def test_a_large_source_is_read_piece_by_piece(self, store: BackendStore) -> None:
        """No more than a buffer is asked for at a time, and the source is not closed."""
        asked: list[int] = []

        class Watched(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                asked.append(-1 if size is None else size)
                return super().read(size)

        source = Watched(large_bytes())
        store.set_data("a", source, 1 << 16)

        assert large_bytes() == store.to_bytes("a")
        assert 0 < min(asked)
        assert 1 << 16 == max(asked)
        assert not source.closed

    def test_a_source_may_give_less_than_asked(self, store: BackendStore) -> None:
        """Short reads do not end a value, an empty one does."""

        class Slow(io.RawIOBase):
            pieces = iter([b"a", bytearray(b"bc"), memoryview(b"def"), b""])

            def read(self, size: int = -1) -> Any:
                return next(self.pieces)

        store.set_data("a", Slow())

        assert b"abcdef" == store.to_bytes("a")

    @pytest.mark.parametrize("good_bytes", [0, 1000, LARGE])
    def test_a_source_that_fails_changes_nothing(
        self, store: BackendStore, heard: list[Any], good_bytes: int
    ) -> None:
        """The source's error comes through; nothing was written, nothing is told of a change."""
        store.set("a", value(b"before", n=1))
        del heard[:]
        calls: list[Call] = [
            lambda: store.set("a", (FailingStream(good_bytes), {})),
            lambda: store.set_data("a", FailingStream(good_bytes)),
            lambda: store.set_data("new", FailingStream(good_bytes)),
        ]
        for write in calls:
            with pytest.raises(OSError, match="the source failed"):
                write()

        assert {"a": (b"before", {"n": 1})} == everything(store)
        assert ["a"] == [entry.key for entry in journal_of(store)]
        assert [] == [event for event in heard if "Progress" not in type(event).__name__]

    def test_bytes_and_files_come_in(self, store: BackendStore, tmp_path: Path) -> None:
        """``from_bytes`` and ``from_file`` set the data and leave the metadata."""
        store.set("a", value(b"old", n=1))
        store.from_bytes("a", b"bytes")
        assert (b"bytes", {"n": 1}) == content(store, "a")
        path = tmp_path / "file"
        path.write_bytes(large_bytes())
        store.from_file("a", path)

        assert (large_bytes(), {"n": 1}) == content(store, "a")

    def test_many_keys_are_set_at_once(self, store: BackendStore) -> None:
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

    def test_many_keys_are_all_set_or_none(self, store: BackendStore, changes: list[Any]) -> None:
        """If one of them fails the others are not there."""
        with pytest.raises(InvalidKey):
            store.multiset(["a", 1, "b"], [value(), value(), value()])  # type: ignore[list-item]

        assert {} == everything(store)
        assert [] == changes

    # -- Keys ----------------------------------------------------------------

    def test_a_key_is_any_text(self, store: BackendStore, other: BackendStore) -> None:
        """No sign has a meaning, and no two keys are mixed up."""
        for number, key in enumerate(KEYS):
            store.set(key, value(str(number).encode(), n=number))
        for number, key in enumerate(KEYS):
            assert (str(number).encode(), {"n": number}) == content(other, key)
            assert [key] == list(other.query_keys(n=number))
        assert sorted(KEYS) == sorted(other.query_keys())
        assert KEYS == [entry.key for entry in journal_of(store)]
        for key in KEYS:
            store.delete(key)
        assert {} == everything(store)

    def test_any_key_may_have_a_large_value(self, store: BackendStore) -> None:
        """Values that are staged are found by any key too."""
        for key in ("", "../x", "a\x00\n", "k" * 5000):
            store.set(key, value(large_bytes(), n=1))

            assert large_bytes() == store.to_bytes(key)

    @pytest.mark.parametrize("key", [None, 1, b"a", ["a"], ("a",), 1.5, object()])
    def test_a_key_that_is_not_text_is_refused(self, store: BackendStore, key: Any) -> None:
        """Whatever is called, the error says what a key must be."""
        calls: list[Call] = [
            lambda: store.get(key),
            lambda: store.exists(key),
            lambda: store.get_metadata(key),
            lambda: store.set(key, value()),
            lambda: store.set_data(key, io.BytesIO()),
            lambda: store.set_metadata(key, {}),
            lambda: store.update_metadata(key, {}),
            lambda: store.delete(key),
        ]
        for call in calls:
            with pytest.raises(InvalidKey, match="must be text"):
                call()
        assert {} == everything(store)

    def test_a_key_with_half_a_character_is_refused(self, store: BackendStore) -> None:
        """A lone surrogate cannot be written as UTF-8, nor travel."""
        with pytest.raises(InvalidKey, match="UTF-8"):
            store.set("a\ud800", value())
        with pytest.raises(InvalidKey, match="UTF-8"):
            store.get("a\ud800")

    def test_a_key_without_end_is_refused(self, store: BackendStore) -> None:
        """1 MiB is a key, a byte more is none: its event could not travel."""
        longest = "k" * (1 << 20)
        store.set(longest, value(b"x"))
        assert b"x" == store.to_bytes(longest)
        for key in (longest + "k", "ü" * (1 << 19) + "k"):
            with pytest.raises(InvalidKey, match="at most 1048576"):
                store.set(key, value())

    # -- Values --------------------------------------------------------------

    @pytest.mark.parametrize(
        "bad",
        [None, b"bytes", "text", 1, (), (io.BytesIO(),), (1, 2, 3), (b"x", {}), (None, {}),
         (io.StringIO("text"), {}), (io.BytesIO(), None), (io.BytesIO(), [("a", 1)]), {"a": 1}],
    )  # fmt: skip
    def test_what_is_no_value_is_refused(self, store: BackendStore, bad: Any) -> None:
        """One clear error, and the old value stays."""
        store.set("a", value(b"before", n=1))
        with pytest.raises(InvalidValue):
            store.set("a", bad)

        assert {"a": (b"before", {"n": 1})} == everything(store)

    @pytest.mark.parametrize("bad", [None, b"bytes", "text", io.StringIO("text"), object()])
    def test_data_that_cannot_be_read_are_refused(self, store: BackendStore, bad: Any) -> None:
        """Data are a stream of bytes; the error names the key."""
        with pytest.raises(InvalidValue, match="some-key"):
            store.set_data("some-key", bad)
        with pytest.raises(InvalidValue, match="some-key"):
            store.from_bytes("some-key", bad if not isinstance(bad, bytes) else "text")  # type: ignore[arg-type]
        assert not store.exists("some-key")

    @pytest.mark.parametrize(
        "item",
        [object(), 1j, lambda: 1, datetime.timedelta(1), "a\ud800", 2**64, -(2**63) - 1, {1: "x"},
         {"x": {("a",): 1}}, [object()], {"x": [{"y": object()}]}, range(3)],
    )  # fmt: skip
    def test_metadata_that_cannot_be_stored_are_refused(
        self, store: BackendStore, changes: list[Any], item: Any
    ) -> None:
        """The error names the entry; nothing was written."""
        store.set_metadata("a", {"n": 1})
        del changes[:]
        calls: list[Call] = [
            lambda: store.set("a", value(b"", good=1, culprit=item)),
            lambda: store.set_metadata("a", {"good": 1, "culprit": item}),
            lambda: store.update_metadata("a", {"good": 1, "culprit": item}),
        ]
        for write in calls:
            with pytest.raises(InvalidValue, match="culprit"):
                write()

        assert {"a": (b"", {"n": 1})} == everything(store)
        assert [] == changes

    def test_metadata_nested_without_end_are_refused(self, store: BackendStore) -> None:
        """A list that contains itself is an error, not a crash."""
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidValue, match="endless"):
            store.set_metadata("a", {"endless": endless})

    def test_metadata_without_end_are_refused(self, store: BackendStore) -> None:
        """At once, or when they were added up little by little; nothing was written."""
        store.set_metadata("a", {"x": "x" * (1 << 22 >> 1)})
        calls: list[Call] = [
            lambda: store.set_metadata("a", {"x": "x" * (1 << 22)}),
            lambda: store.set_metadata("a", {"x": ["ü" * (1 << 20)]}),
            lambda: store.update_metadata("a", {"y": b"y" * (1 << 22 >> 1)}),
        ]
        for write in calls:
            with pytest.raises(InvalidValue, match="too much"):
                write()

        assert ["x"] == list(store.get_metadata("a"))
        assert 1 == store.head().sequence

    @pytest.mark.parametrize("bad", [None, [("a", 1)], "text", {1: 2}, {None: 1}, {"a\ud800": 1}])
    def test_metadata_are_a_dictionary_with_names(self, store: BackendStore, bad: Any) -> None:
        """Anything else is refused."""
        with pytest.raises(InvalidValue):
            store.set_metadata("a", bad)
        assert not store.exists("a")

    def test_metadata_keep_what_json_lacks(self, store: BackendStore, other: BackendStore) -> None:
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

    def test_subclasses_are_kept_as_what_they_derive_from(self, store: BackendStore) -> None:
        """An enumeration's member becomes its number, a subclass of str plain text."""
        store.set_metadata("a", {"colour": Colour.RED})

        assert {"colour": 1} == store.get_metadata("a")
        assert int is type(store.get_metadata("a")["colour"])
        assert ["a"] == list(store.query_keys(colour=Colour.RED))

    def test_a_value_of_another_kind_will_do(self, store: BackendStore) -> None:
        """Whatever has data and metadata is a value."""

        class Mine:
            def __init__(self) -> None:
                self.data = io.BytesIO(b"mine")
                self.metadata = {"n": 1}

        store.set("a", Mine())
        store.set("b", StringValue())

        assert {"a": (b"mine", {"n": 1}), "b": (b"", {})} == everything(store)

    def test_a_buffer_size_that_makes_no_sense_is_ignored(self, store: BackendStore) -> None:
        """It is a hint: nothing is lost by a wrong one."""
        for buffer_size in (0, -1, 1):
            store.set_data("a", io.BytesIO(b"data"), buffer_size)

            assert b"data" == store.to_bytes("a", buffer_size)
