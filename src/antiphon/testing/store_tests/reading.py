"""The suite's part on reading: get, metadata, many keys, files."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import KeyNotFound, NotConnected
from antiphon.storage.abstract_store import AbstractReadOnlyStore, AuthorizationError
from antiphon.testing.store_tests.base import (
    LOOKALIKES,
    Call,
    MakeStore,
    Seed,
    content,
    large_bytes,
)
from antiphon.testing.store_tests.querying import Querying


class Reading(Querying):
    """What every store can do; what is read was put there behind the store's back."""

    def test_a_store_is_connected_between_connect_and_disconnect(
        self, make_store: MakeStore
    ) -> None:
        """``is_connected`` tells; connecting or disconnecting twice is fine."""
        store = make_store()
        seen = [store.is_connected()]
        store.connect(self.credentials)
        store.connect(self.credentials)
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
        for use in self._uses(store):
            with pytest.raises(NotConnected, match="connect"):
                use()

    def test_use_after_disconnect_is_an_error(self, make_store: MakeStore) -> None:
        """A store that was closed says so, and can be connected again."""
        store = self.connected(make_store())
        store.disconnect()
        if self.needs_connecting:
            for use in self._uses(store):
                with pytest.raises(NotConnected, match="connect"):
                    use()
        store.connect(self.credentials)

        assert not store.exists("a")
        store.disconnect()

    def _uses(self, store: AbstractReadOnlyStore) -> list[Call]:
        return [
            lambda: store.get("a"),
            lambda: store.get_data("a"),
            lambda: store.get_metadata("a"),
            lambda: store.exists("a"),
            lambda: store.to_bytes("a"),
            lambda: list(store.query()),
            lambda: list(store.query_keys()),
            lambda: list(store.glob("*")),
        ]

    def test_a_with_block_connects_and_disconnects(self, make_store: MakeStore) -> None:
        """A store is a context manager; one that asks who it is may be connected before."""
        store = make_store()
        if self.credentials is not None:
            store.connect(self.credentials)
        with store as entered:
            assert entered is store
            assert store.is_connected()
        assert not store.is_connected()

    def test_info_tells_what_the_store_is(self, store: AbstractReadOnlyStore) -> None:
        """It has at least the two flags of the manual."""
        info = store.info()

        assert {bool} == {type(info["readonly"]), type(info["authorizing"])}

    def test_what_is_there_is_read(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """Data and metadata come as they are in the medium, however they are asked for."""
        data = b"\x00\xff\n"
        seed({"a": (data, {"title": "x", "n": 1})})

        assert store.exists("a")
        assert (data, {"title": "x", "n": 1}) == content(store, "a")
        assert {"title": "x", "n": 1} == store.get_metadata("a")
        with store.get_data("a") as stream:
            assert data == stream.read()
        assert data == store.to_bytes("a")

    def test_an_empty_value_is_a_value(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """No bytes and no metadata are something that is there."""
        seed({"a": (b"", {})})

        assert store.exists("a")
        assert (b"", {}) == content(store, "a")
        assert b"" == store.to_bytes("a")
        assert b"" == _all_of(store.get_data_range("a", 0, 5))

    def test_a_missing_key_is_a_key_error(self, store: AbstractReadOnlyStore) -> None:
        """All that reads a key says that there is none, and names it."""
        assert not store.exists("no/such")
        for read in (store.get, store.get_data, store.get_metadata, store.to_bytes):
            with pytest.raises(KeyNotFound, match="no/such"):
                read("no/such")
        with pytest.raises(KeyError):
            store.get_data_range("no/such", 1, 2)

    def test_a_missing_key_leaves_the_file_alone(
        self, store: AbstractReadOnlyStore, tmp_path: Path
    ) -> None:
        """``to_file`` of what is not there does not empty the file."""
        path = tmp_path / "file"
        path.write_bytes(b"before")
        with pytest.raises(KeyError):
            store.to_file("none", path)

        assert b"before" == path.read_bytes()

    def test_a_value_gives_ranges_and_pieces(
        self, store: AbstractReadOnlyStore, seed: Seed
    ) -> None:
        """``range`` opens anew each time, ``iterdata`` reads the stream on."""
        seed({"a": (b"0123456789", {})})
        found = store.get("a")

        for _ in range(2):
            assert b"234" == _all_of(found.range(2, 5))
        assert [b"0123", b"4567", b"89"] == list(found.iterdata(4))
        assert b"" == _all_of(found.data)

    def test_a_value_has_one_stream(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """``data`` is one and the same at every access."""
        seed({"a": (b"0123456789", {})})
        found = store.get("a")
        with found.data as stream:
            assert b"01" == stream.read(2)
            assert found.data is stream
            assert b"23" == found.data.read(2)

    def test_metadata_handed_out_is_a_copy(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """Changing what was returned does not change the store."""
        seed({"k": (b"", {"tags": ["a"], "deep": {"x": [1]}})})
        for copy in (
            store.get_metadata("k"),
            store.get("k").metadata,
            next(iter(store.query()))[1],
            next(iter(store.query(tags=["a"])))[1],
        ):
            copy["tags"].append("b")
            copy["deep"]["x"].append(2)
            copy["more"] = 1

        assert {"tags": ["a"], "deep": {"x": [1]}} == store.get_metadata("k")

    def test_every_permitted_type_comes_back_as_itself(
        self, store: AbstractReadOnlyStore, seed: Seed
    ) -> None:
        """Metadata keep value and type, nested ones too."""
        seed(
            {
                f"k{number}": (b"", {"item": item, "nested": {"list": [item]}})
                for number, item in enumerate(LOOKALIKES)
            }
        )
        for number, item in enumerate(LOOKALIKES):
            found = store.get_metadata(f"k{number}")

            assert item == found["item"] == found["nested"]["list"][0]
            assert type(item) is type(found["item"]) is type(found["nested"]["list"][0])

    def test_select_leaves_missing_names_out(
        self, store: AbstractReadOnlyStore, seed: Seed
    ) -> None:
        """``get_metadata(select=…)`` returns what is there of what was asked for."""
        seed({"a": (b"", {"x": 1, "y": 2})})

        assert {"x": 1} == store.get_metadata("a", ["x", "z"])
        assert {} == store.get_metadata("a", [])
        assert [{"y": 2}] == list(store.multiget_metadata(["a"], iter(["y"])))

    def test_many_keys_at_once(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """The multi methods give what the single ones give, one by one."""
        seed({"a": (b"1", {"n": 1}), "b": (b"2", {"n": 2})})

        keys = ["b", "a", "b"]
        assert [b"2", b"1", b"2"] == [_all_of(each.data) for each in store.multiget(iter(keys))]
        assert [b"2", b"1", b"2"] == [_all_of(each) for each in store.multiget_data(keys)]
        assert [{"n": 2}, {"n": 1}, {"n": 2}] == list(store.multiget_metadata(keys))
        lazily = store.multiget(["a", "none"])
        assert b"1" == _all_of(next(lazily).data)
        with pytest.raises(KeyError):
            next(lazily)

    def test_data_go_into_a_file(
        self, store: AbstractReadOnlyStore, seed: Seed, tmp_path: Path
    ) -> None:
        """``to_file`` replaces the file with the data, of any size."""
        path = tmp_path / "file"
        contents = {"a": b"a longer one", "b": b"short", "c": large_bytes()}
        seed({key: (data, {}) for key, data in contents.items()})
        for key, data in contents.items():
            store.to_file(key, str(path), 1 << 16)

            assert data == path.read_bytes()

    def test_a_value_unpacks_as_a_pair(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """Encore's old interface goes on working, with a warning."""
        seed({"a": (b"data", {"n": 1})})
        old_fashioned: Any = store.get("a")
        with pytest.warns(DeprecationWarning, match="attributes"):
            stream, metadata = old_fashioned

        assert (b"data", {"n": 1}) == (_all_of(stream), metadata)
        assert 2 == len(old_fashioned)

    def test_permissions_are_for_owners(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """A store without permissions shows none."""
        seed({"a": (b"", {})})
        if store.info()["authorizing"]:
            assert "owned" in store.get("a").permissions
            return
        with pytest.raises(AuthorizationError):
            store.get("a").permissions  # noqa: B018

    def test_a_with_block_closes_the_stream(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """A value is a context manager over its stream."""
        seed({"a": (b"data", {})})
        with store.get("a") as stream:
            assert b"data" == stream.read()

        assert stream.closed


def _all_of(stream: Any) -> bytes:
    with stream:
        data: bytes = stream.read()
    return data
