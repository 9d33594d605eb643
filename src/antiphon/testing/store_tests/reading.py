"""The suite's part on reading: get, ranges, metadata, queries."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import InvalidValue, KeyNotFound, NotConnected
from antiphon.storage.abstract_store import AuthorizationError
from antiphon.storage.backend_store import BackendStore
from antiphon.testing.store_tests.base import (
    LOOKALIKES,
    Call,
    MakeStore,
    SuiteBase,
    content,
    large_bytes,
    value,
)


class Reading(SuiteBase):
    """Reading."""

    def test_a_store_is_connected_between_connect_and_disconnect(
        self, make_store: MakeStore
    ) -> None:
        """``is_connected`` tells; connecting or disconnecting twice is fine."""
        store = make_store()
        seen = [store.is_connected()]
        store.connect()
        store.connect()
        seen.append(store.is_connected())
        store.disconnect()
        store.disconnect()

        assert [False, True, False] == [*seen, store.is_connected()]

    def test_use_before_connect_is_an_error(self, make_store: MakeStore) -> None:
        """A store that is not connected says so, whatever is called."""
        store = make_store()
        if not self.needs_connecting:
            assert not store.exists("a")
            return
        calls: list[Call] = [
            lambda: store.get("a"),
            lambda: store.exists("a"),
            lambda: store.query(),
            lambda: store.query_keys(),
            lambda: store.set("a", value()),
            lambda: store.delete("a"),
            lambda: store.transaction("x"),
            lambda: store.head(),
        ]
        for use in calls:
            with pytest.raises(NotConnected, match="connect"):
                use()

    def test_a_with_block_connects_and_disconnects(self, make_store: MakeStore) -> None:
        """A store is a context manager."""
        with make_store() as store:
            store.set("a", value())

            assert store.is_connected()
        assert not store.is_connected()

    def test_info_says_that_it_can_be_written(self, store: BackendStore) -> None:
        """A backend store is neither read-only nor authorizing."""
        info = store.info()

        assert (False, False) == (info["readonly"], info["authorizing"])
        assert str(store.store_id) == info["store_id"]

    def test_the_identity_is_that_of_the_medium(
        self, store: BackendStore, other: BackendStore
    ) -> None:
        """Two stores on one medium have one identity."""
        assert store.store_id is not None
        assert store.store_id == other.store_id

    def test_what_was_set_is_read_elsewhere(self, store: BackendStore, other: BackendStore) -> None:
        """Data and metadata come back as they were given."""
        store.set("a", value(b"\x00\xff\n", title="x", n=1))

        assert (b"\x00\xff\n", {"title": "x", "n": 1}) == content(other, "a")
        assert b"\x00\xff\n" == other.get_data("a").read()
        assert b"\x00\xff\n" == other.to_bytes("a")

    def test_a_value_knows_size_and_times(self, store: BackendStore) -> None:
        """Size in bytes; created stays, modified grows; both in seconds since 1970."""
        store.set("a", value(b"one"))
        first = store.get("a")
        store.set("a", value(b"three"))
        second = store.get("a")

        assert (3, 5) == (first.size, second.size)
        assert first.created is not None
        assert first.created == second.created == first.modified
        assert second.modified is not None
        assert 1.5e9 < first.created <= second.modified < 1e11

    def test_a_missing_key_is_a_key_error(self, store: BackendStore) -> None:
        """All that reads a key says that there is none, and names it."""
        assert not store.exists("no/such")
        for read in (store.get, store.get_data, store.get_metadata, store.to_bytes):
            with pytest.raises(KeyNotFound, match="no/such"):
                read("no/such")
        with pytest.raises(KeyError):
            store.get_data_range("no/such", 1, 2)

    def test_a_missing_key_leaves_the_file_alone(self, store: BackendStore, tmp_path: Path) -> None:
        """``to_file`` of what is not there does not empty the file."""
        path = tmp_path / "file"
        path.write_bytes(b"before")
        with pytest.raises(KeyError):
            store.to_file("none", path)

        assert b"before" == path.read_bytes()

    @pytest.mark.parametrize("size", [0, 11, 1 << 20, (1 << 20) + 1, 3 * (1 << 20) + 17])
    def test_ranges_are_slices(self, store: BackendStore, size: int) -> None:
        """Start is inclusive, end exclusive, negative ones count from the end."""
        data = large_bytes(size)
        store.set("a", value(data))
        mid = size // 2
        for start, end in [
            (None, None), (0, 4), (2, 5), (2, 2), (5, 2), (-3, None), (None, -3), (mid, None),
            (mid, mid + 100_000), (size - 1, size), (size, size + 9), (-10 * size, 10 * size + 1),
        ]:  # fmt: skip
            assert data[start:end] == store.get_data_range("a", start, end).read()

    def test_a_value_gives_ranges_and_pieces(self, store: BackendStore) -> None:
        """``range`` opens anew each time, ``iterdata`` reads the stream on."""
        store.set("a", value(b"0123456789"))
        found = store.get("a")

        assert b"234" == found.range(2, 5).read()
        assert b"234" == found.range(2, 5).read()
        assert [b"0123", b"4567", b"89"] == list(found.iterdata(4))
        assert b"" == found.data.read()

    def test_a_large_stream_can_be_read_in_any_way(self, store: BackendStore) -> None:
        """Pieces of any size, seeks, and the rest at once."""
        data = large_bytes()
        store.set("a", value(data))
        with store.get_data("a") as stream:
            begin = stream.read(5) + stream.read(1 << 20)
            assert data[: len(begin)] == begin
            assert data[len(begin) :] == stream.read()
            stream.seek(-20, io.SEEK_END)
            assert data[-20:] == stream.read()
            stream.seek(3)
            assert data[3:9] == stream.read(6)

    def test_a_value_stays_what_it_was(self, store: BackendStore, other: BackendStore) -> None:
        """A value read before a change gives the data and metadata of before."""
        for size in (5, 3 * (1 << 20) + 17):
            data = large_bytes(size)
            store.set("a", value(data, n=1))
            found = store.get("a")
            other.set("a", value(b"new", n=2))
            other.delete("a")

            assert (data, {"n": 1}) == (found.data.read(), found.metadata)

    def test_metadata_handed_out_is_a_copy(self, store: BackendStore) -> None:
        """Changing what was returned, or what was given, does not change the store."""
        given: dict[str, Any] = {"tags": ["a"], "deep": {"x": [1]}}
        store.set("k", value(b"", **given))
        given["deep"]["x"].append(2)
        for copy in (
            store.get_metadata("k"),
            store.get("k").metadata,
            next(store.query())[1],
            next(store.query(tags=["a"]))[1],
        ):
            copy["tags"].append("b")
            copy["more"] = 1

        assert {"tags": ["a"], "deep": {"x": [1]}} == store.get_metadata("k")

    def test_every_permitted_type_comes_back_as_itself(self, store: BackendStore) -> None:
        """Metadata keep value and type, nested ones too."""
        for number, item in enumerate(LOOKALIKES):
            store.set_metadata(f"k{number}", {"item": item, "nested": {"list": [item]}})
        for number, item in enumerate(LOOKALIKES):
            found = store.get_metadata(f"k{number}")

            assert item == found["item"] == found["nested"]["list"][0]
            assert type(item) is type(found["item"]) is type(found["nested"]["list"][0])

    def test_select_leaves_missing_names_out(self, store: BackendStore) -> None:
        """``get_metadata(select=…)`` returns what is there of what was asked for."""
        store.set_metadata("a", {"x": 1, "y": 2})

        assert {"x": 1} == store.get_metadata("a", ["x", "z"])
        assert {} == store.get_metadata("a", [])
        assert [{"y": 2}] == list(store.multiget_metadata(["a"], iter(["y"])))

    def test_a_query_matches_exactly(self, store: BackendStore) -> None:
        """``1``, ``1.0``, ``True``, ``"1"`` and the like are different values."""
        for number, item in enumerate(LOOKALIKES):
            store.set_metadata(f"k{number}", {"item": item, "same": "s"})
        for number, item in enumerate(LOOKALIKES):
            assert [f"k{number}"] == list(store.query_keys(item=item))
            assert [f"k{number}"] == list(store.query_keys(same="s", item=item))
        assert len(LOOKALIKES) == len(list(store.query_keys(same="s")))

    def test_a_query_matches_all_conditions(self, store: BackendStore) -> None:
        """Keys match if every condition holds; a missing entry matches nothing, None included."""
        store.set_metadata("a", {"x": 1, "y": 2})
        store.set_metadata("b", {"x": 1})
        store.set_metadata("c", {"y": 2, "x": None})

        assert {"a", "b"} == set(store.query_keys(x=1))
        assert {"a"} == set(store.query_keys(x=1, y=2))
        assert {"c"} == set(store.query_keys(x=None))
        assert [] == list(store.query_keys(z=None))
        assert {"a", "b", "c"} == set(store.query_keys())

    def test_a_query_returns_metadata(self, store: BackendStore) -> None:
        """With keys come their metadata, or what was selected of them."""
        store.set_metadata("a", {"x": 1, "y": 2})
        store.set_metadata("b", {"x": 3})

        assert {"a": {"x": 1, "y": 2}, "b": {"x": 3}} == dict(store.query())
        assert {"a": {"y": 2}} == dict(store.query(["y", "z"], x=1))
        assert {"a": {}, "b": {}} == dict(store.query([]))

    def test_a_query_follows_changes(self, store: BackendStore, other: BackendStore) -> None:
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

    def test_a_query_may_use_any_name(self, store: BackendStore) -> None:
        """Names of entries mean nothing to the medium."""
        names = ["key", "data", "Key", "key'", 'x"; drop table store; --', "ü", "", "a b", "!x",
                 "rowid", "self", "n" * 300]  # fmt: skip
        for number, name in enumerate(names):
            store.set_metadata(f"k{number}", {name: number})
        for number, name in enumerate(names):
            found = [key for key, metadata in store.query() if metadata == {name: number}]
            assert [f"k{number}"] == found
            if name not in ("self", "select"):
                assert [f"k{number}"] == list(store.query_keys(**{name: number}))

    def test_names_differ_by_capitals(self, store: BackendStore) -> None:
        """``Title`` and ``title`` are two entries, in any order of arrival."""
        store.set_metadata("a", {"Title": 1})
        store.set_metadata("b", {"title": 1})

        assert ["a"] == list(store.query_keys(Title=1))
        assert ["b"] == list(store.query_keys(title=1))

    def test_a_query_for_what_no_metadata_can_have_is_an_error(self, store: BackendStore) -> None:
        """The error names the value, and comes at once."""
        with pytest.raises(InvalidValue, match="object"):
            store.query_keys(x=object())

    def test_keys_may_be_changed_while_a_query_is_read(self, store: BackendStore) -> None:
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

    def test_glob_matches_like_file_names(self, store: BackendStore) -> None:
        """``*``, ``?`` and ``[]``; capitals count; ``*`` matches ``/`` too."""
        for key in ("a.jpg", "B.jpg", "dir/c.jpg", "d.JPG", "e1", "e2", "[x]"):
            store.set_data(key, io.BytesIO())

        assert {"a.jpg", "B.jpg", "dir/c.jpg"} == set(store.glob("*.jpg"))
        assert {"e1", "e2"} == set(store.glob("e?"))
        assert {"e2"} == set(store.glob("e[!1]"))
        assert {"[x]"} == set(store.glob("[[]x]"))

    def test_many_keys_at_once(self, store: BackendStore) -> None:
        """The multi methods give what the single ones give, one by one."""
        store.set("a", value(b"1", n=1))
        store.set("b", value(b"2", n=2))

        keys = ["b", "a", "b"]
        assert [b"2", b"1", b"2"] == [each.data.read() for each in store.multiget(iter(keys))]
        assert [b"2", b"1", b"2"] == [each.read() for each in store.multiget_data(keys)]
        assert [{"n": 2}, {"n": 1}, {"n": 2}] == list(store.multiget_metadata(keys))
        lazily = store.multiget(["a", "none"])
        assert b"1" == next(lazily).data.read()
        with pytest.raises(KeyError):
            next(lazily)

    def test_data_go_into_a_file(self, store: BackendStore, tmp_path: Path) -> None:
        """``to_file`` replaces the file with the data, of any size."""
        path = tmp_path / "file"
        for data in (b"a longer one", b"short", large_bytes()):
            store.set("a", value(data))
            store.to_file("a", str(path), 1 << 16)

            assert data == path.read_bytes()

    def test_a_value_unpacks_as_a_pair(self, store: BackendStore) -> None:
        """Encore's old interface goes on working, with a warning."""
        store.set("a", value(b"data", n=1))
        old_fashioned: Any = store.get("a")
        with pytest.warns(DeprecationWarning, match="attributes"):
            stream, metadata = old_fashioned

        assert (b"data", {"n": 1}) == (stream.read(), metadata)
        assert 2 == len(store.get("a"))

    def test_permissions_are_for_owners(self, store: BackendStore) -> None:
        """A store without permissions shows none."""
        store.set("a", value())
        with pytest.raises(AuthorizationError):
            store.get("a").permissions  # noqa: B018

    def test_a_with_block_closes_the_stream(self, store: BackendStore) -> None:
        """A value is a context manager over its stream."""
        store.set("a", value(b"data"))
        with store.get("a") as stream:
            assert b"data" == stream.read()

        assert stream.closed
