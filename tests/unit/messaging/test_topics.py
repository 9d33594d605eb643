"""Topic matching by AMQP's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.messaging.topics import MAX_REMEMBERED, TopicTable, split_words

words = st.sampled_from(["a", "b", "", "@o", "+p", "#", "*"])
keys = st.lists(words, max_size=6).map(".".join)


def naive(pattern: list[str], key: list[str]) -> bool:
    """Say it as the specification says it."""
    if not pattern:
        return not key
    if pattern[0] == "#":
        return naive(pattern[1:], key) or (bool(key) and naive(pattern, key[1:]))
    return bool(key) and pattern[0] in ("*", key[0]) and naive(pattern[1:], key[1:])


@pytest.mark.parametrize(
    ("pattern", "key", "is_match"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", False),
        ("*", ".", False),
        ("*.*", ".", True),
        ("#", "", True),
        ("#.#", "a", True),
        ("a.#", "a", True),
        ("a.#.b", "a.x.y.b", True),
        ("a.#.b", "a.x.y", False),
        ("*.a", "x.a", True),
        ("*.a", "x.y.a", False),
    ],
)
def test_rules(pattern: str, key: str, is_match: bool) -> None:
    """One word for a star, any number for a hash; the empty key has no words."""
    table: TopicTable[str] = TopicTable()
    table.bind(pattern, "queue")

    assert (("queue",) if is_match else ()) == table.match(key)


@given(st.lists(keys, max_size=8), st.lists(keys, min_size=1, max_size=4))
def test_matches_as_specified(patterns: list[str], keys: list[str]) -> None:
    """Whatever the patterns, a key finds those that match, each once."""
    table: TopicTable[str] = TopicTable()
    for pattern in patterns:
        table.bind(pattern, pattern)

    for key in keys:
        expected = {p for p in patterns if naive(split_words(p), split_words(key))}
        found = table.match(key)
        assert expected == set(found)
        assert len(expected) == len(found)


@given(st.lists(keys, max_size=8, unique=True), st.data())
def test_unbound_is_as_never_bound(patterns: list[str], data: st.DataObject) -> None:
    """A table from which patterns were taken matches as one that never had them."""
    table: TopicTable[str] = TopicTable()
    for pattern in patterns:
        table.bind(pattern, pattern)
    gone = data.draw(st.sets(st.sampled_from(patterns))) if patterns else set()
    key = data.draw(keys)
    table.match(key)  # what is remembered must not survive

    for pattern in gone:
        table.unbind(pattern, pattern)

    expected = {p for p in patterns if p not in gone and naive(split_words(p), split_words(key))}
    assert expected == set(table.match(key))


def test_unbind_leaves_nothing_behind() -> None:
    """A pattern that is gone takes its nodes with it, also one that was never there."""
    table: TopicTable[str] = TopicTable()
    table.bind("a.b.c", "queue")

    table.unbind("a.b.c", "queue")
    table.unbind("x.y", "queue")

    assert {} == table._root.children


def test_remembers_a_bounded_number_of_keys() -> None:
    """Ever new routing keys do not fill the memory."""
    table: TopicTable[str] = TopicTable()
    table.bind("#", "queue")

    for number in range(MAX_REMEMBERED + 10):
        table.match(f"key.{number}")

    assert MAX_REMEMBERED >= len(table._remembered)


def test_many_hashes_are_no_trap() -> None:
    """A pattern of many hashes and a long key take no exponential time."""
    table: TopicTable[str] = TopicTable()
    table.bind(".".join(["#", "a"] * 30), "queue")

    assert () == table.match(".".join(["a"] * 29 + ["b"] * 30))
