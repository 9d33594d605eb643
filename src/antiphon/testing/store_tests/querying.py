"""The suite's part on searching: query, query_keys, glob."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import tracemalloc
from typing import Any

import pytest

from antiphon.errors import InvalidValue
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.testing.store_tests.base import LOOKALIKES, Seed, SuiteBase


class Querying(SuiteBase):
    """Searching, by metadata and by pattern; part of ``Reading``."""

    def test_a_query_matches_exactly(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """``1``, ``1.0``, ``True``, ``"1"`` and the like are different values."""
        seed(
            {
                f"k{number}": (b"", {"item": item, "same": "s"})
                for number, item in enumerate(LOOKALIKES)
            }
        )
        for number, item in enumerate(LOOKALIKES):
            assert [f"k{number}"] == list(store.query_keys(item=item))
            assert [f"k{number}"] == list(store.query_keys(same="s", item=item))
            assert [f"k{number}"] == [key for key, _ in store.query(item=item)]
        assert len(LOOKALIKES) == len(list(store.query_keys(same="s")))

    def test_a_query_matches_all_conditions(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """Keys match if every condition holds; a missing entry matches nothing, None included."""
        seed(
            {
                "a": (b"", {"x": 1, "y": 2}),
                "b": (b"", {"x": 1}),
                "c": (b"", {"y": 2, "x": None}),
            }
        )

        assert {"a", "b"} == set(store.query_keys(x=1))
        assert {"a"} == set(store.query_keys(x=1, y=2))
        assert {"c"} == set(store.query_keys(x=None))
        assert [] == list(store.query_keys(z=None))
        assert {"a", "b", "c"} == set(store.query_keys())

    def test_a_query_returns_metadata(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """With keys come their metadata, or what was selected of them."""
        seed({"a": (b"", {"x": 1, "y": 2}), "b": (b"", {"x": 3})})

        assert {"a": {"x": 1, "y": 2}, "b": {"x": 3}} == dict(store.query())
        assert {"a": {"y": 2}} == dict(store.query(["y", "z"], x=1))
        assert {"a": {"y": 2}} == dict(store.query(iter(["y"]), x=1))
        assert {"a": {}, "b": {}} == dict(store.query([]))

    def test_a_text_is_no_selection(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """``query("x")`` is refused: its letters would be taken for names."""
        seed({"a": (b"", {"x": 1})})

        with pytest.raises(InvalidValue, match="select"):
            store.get_metadata("a", "x")
        with pytest.raises(InvalidValue, match="select"):
            list(store.query("x"))

    def test_a_query_of_an_empty_store_finds_nothing(self, store: AbstractReadOnlyStore) -> None:
        """And is no error."""
        assert [] == list(store.query()) == list(store.query(x=1))
        assert [] == list(store.query_keys()) == list(store.glob("*"))

    def test_a_query_may_use_any_name(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """Names of entries mean nothing to the medium."""
        names = ["key", "data", "Key", "key'", 'x"; drop table store; --', "ü", "", "a b", "!x",
                 "rowid", "self", "n" * 300]  # fmt: skip
        seed({f"k{number}": (b"", {name: number}) for number, name in enumerate(names)})
        everything = dict(store.query())
        for number, name in enumerate(names):
            assert {name: number} == everything[f"k{number}"]
            if name not in ("self", "select"):
                assert [f"k{number}"] == list(store.query_keys(**{name: number}))

    def test_names_differ_by_capitals(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """``Title`` and ``title`` are two entries, in any order of arrival."""
        seed({"a": (b"", {"Title": 1}), "b": (b"", {"title": 1})})

        assert ["a"] == list(store.query_keys(Title=1))
        assert ["b"] == list(store.query_keys(title=1))

    def test_a_query_for_what_no_metadata_can_have_is_an_error(
        self, store: AbstractReadOnlyStore
    ) -> None:
        """The error names the value."""
        with pytest.raises(InvalidValue, match="object"):
            list(store.query_keys(x=object()))
        with pytest.raises(InvalidValue, match="object"):
            list(store.query(x=object()))

    def test_a_large_result_is_not_collected(
        self, store: AbstractReadOnlyStore, seed: Seed
    ) -> None:
        """Rows are read as they are asked for: a result is never in memory as a whole."""
        text, count = "x" * 1500, 3000
        seed({f"k{number}": (b"", {"n": 1, "text": text + str(number)}) for number in range(count)})
        assert store.exists("k0")  # an index that the store keeps anyway is made now
        queries: list[dict[str, Any]] = [{}, {"n": 1}, {"select": ["n"]}]
        for query in queries:
            tracemalloc.start()
            try:
                found = sum(1 for _ in store.query(**query))
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()

            assert count == found
            assert peak < count * len(text) // 2

    def test_glob_matches_like_file_names(self, store: AbstractReadOnlyStore, seed: Seed) -> None:
        """``*``, ``?`` and ``[]``; capitals count; ``*`` matches ``/`` too."""
        keys = ("a.jpg", "B.jpg", "dir/c.jpg", "d.JPG", "e1", "e2", "[x]")
        seed({key: (b"", {}) for key in keys})

        assert {"a.jpg", "B.jpg", "dir/c.jpg"} == set(store.glob("*.jpg"))
        assert {"e1", "e2"} == set(store.glob("e?"))
        assert {"e2"} == set(store.glob("e[!1]"))
        assert {"[x]"} == set(store.glob("[[]x]"))
        assert [] == list(store.glob("none*"))
