"""The index of a memory store: made of what is asked for, and always right."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.storage import memory_index
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.memory_index import MemoryIndex
from antiphon.storage.metadata import encode_conditions, matches
from antiphon.storage.string_value import StringValue

_KEYS = st.sampled_from("abcde")
_ENTRIES = st.sampled_from(
    [0, 1, 1.0, True, "1", None, float("nan"), 0.0, -0.0, (1,), [1], b"1", frozenset({1})]
)
_METADATA = st.dictionaries(st.sampled_from("xyz"), _ENTRIES, max_size=3)
_CONDITIONS = st.dictionaries(st.sampled_from("xyz"), _ENTRIES, min_size=1, max_size=3)
_STEPS = st.one_of(
    st.tuples(st.just("set_metadata"), _KEYS, _METADATA),
    st.tuples(st.just("update_metadata"), _KEYS, _METADATA),
    st.tuples(st.just("delete"), _KEYS),
    st.tuples(st.just("query"), _CONDITIONS),
)


def all_of(store: DictMemoryStore) -> dict[str, dict[str, Any]]:
    """Return the metadata of all keys."""
    return dict(store.query())


@settings(max_examples=60)
@given(st.lists(_STEPS, max_size=20))
def test_a_query_finds_what_a_look_at_all_keys_finds(steps: list[tuple[Any, ...]]) -> None:
    """Whatever was asked and changed before."""
    store = DictMemoryStore()
    for name, *arguments in steps:
        if name == "query":
            (conditions,) = arguments
            encoded = encode_conditions(conditions)
            expected = {k for k, metadata in all_of(store).items() if matches(metadata, encoded)}
            found = list(store.query(**conditions))
            assert expected == {key for key, _ in found}
            assert expected == set(store.query_keys(**conditions))
            assert len(found) == len(expected)
        elif name == "set_metadata" or store.exists(arguments[0]):
            getattr(store, name)(*arguments)


def test_only_what_was_asked_for_has_an_index() -> None:
    """So that writing pays for nothing else."""
    store = DictMemoryStore()
    store.set_metadata("a", {"x": 1, "y": 2})
    assert not store._index

    list(store.query(x=1))

    assert ["x"] == list(store._index._by_name)


def test_a_later_query_does_not_look_at_all_keys() -> None:
    """The index is given the keys, and does not touch them."""
    index = MemoryIndex()
    index.find({"x": "1"}, lambda: [("a", {"x": 1}), ("b", {"x": 2})])
    index.change("b", {"x": 2}, {"x": 1})

    def nothing() -> Any:
        raise AssertionError("looked at all keys")

    assert ["a", "b"] == index.find({"x": "1"}, nothing)


def test_the_index_of_most_different_entries_makes_room() -> None:
    """Somebody who asks for ever more names does not fill the memory."""
    store = DictMemoryStore()
    store.set_metadata("a", {"x": 1})
    for number in range(memory_index.MAX_INDEXED):
        list(store.query(**{f"x{number}": 1}))
        list(store.query(x=1))

    assert memory_index.MAX_INDEXED == len(store._index._by_name)
    assert "x" in store._index._by_name
    assert "x0" not in store._index._by_name
    assert ["a"] == list(store.query_keys(x=1))


def test_values_that_nobody_has_any_more_leave_nothing_behind() -> None:
    """Else a counter in the metadata would fill the memory."""
    store = DictMemoryStore()
    list(store.query(n=0))
    for number in range(100):
        store.set_metadata("a", {"n": number})
        store.set_metadata("b", {"n": number})
    store.delete("a")
    store.delete("b")

    assert {"n": {}} == store._index._by_name


def test_a_result_is_read_while_keys_are_changed() -> None:
    """What was there when the query was made is found, as it was."""
    store = DictMemoryStore()
    for number in range(10):
        store.set_metadata(f"k{number}", {"n": 1})
    found = store.query(n=1)
    first = next(found)
    for number in range(10):
        store.delete(f"k{number}")

    assert 10 == len([first, *found])
    assert [] == list(store.query(n=1))


def test_changing_what_a_query_gave_changes_nothing() -> None:
    """Nested values are copied, too."""
    store = DictMemoryStore()
    store.set("a", StringValue(b"", {"n": 1, "list": [1]}))
    for _, metadata in [*store.query(n=1), *store.query()]:
        metadata["n"] = 2
        metadata["list"].append(2)

    assert {"n": 1, "list": [1]} == store.get_metadata("a")


def test_a_change_that_fails_leaves_the_index_alone() -> None:
    """A transaction of several changes is taken in whole or not at all."""
    store = DictMemoryStore()
    store.set_metadata("a", {"n": 1})
    list(store.query(n=1))
    version = store.get("a").version
    try:
        with store.transaction():
            store.set_metadata("b", {"n": 1})
            store.set_metadata("a", {"n": 2}, expect=version)
            changer = threading.Thread(target=store.set_metadata, args=("a", {"n": 3}))
            changer.start()
            changer.join()
    except RuntimeError:
        pass

    assert [] == list(store.query(n=1))
    assert ["a"] == list(store.query_keys(n=3))
