"""Whoever commits for others learns what was committed."""

import threading

from antiphon.storage.commits import noted_commits
from antiphon.storage.dict_memory_store import DictMemoryStore


def test_commits_are_noted_in_order_with_their_positions() -> None:
    """Each change of the block is there, with its action and its place in the journal."""
    store = DictMemoryStore()

    with noted_commits() as noted:
        store.from_bytes("a", b"1")
        with store.transaction("two"):
            store.from_bytes("b", b"2")
            store.delete("a")

    entries = [note.committed.entry for note in noted]
    assert [("set", "a"), ("set", "b"), ("delete", "a")] == [(e.action, e.key) for e in entries]
    assert store.head() == noted[-1].position


def test_blocks_nest_and_end() -> None:
    """An inner block hears what it contains, an outer one all; after the end nobody does."""
    store = DictMemoryStore()

    with noted_commits() as outer:
        with noted_commits() as inner:
            store.from_bytes("a", b"1")
        store.from_bytes("b", b"2")
    store.from_bytes("c", b"3")

    assert ["a"] == [note.committed.entry.key for note in inner]
    assert ["a", "b"] == [note.committed.entry.key for note in outer]


def test_other_threads_are_not_heard() -> None:
    """Two requests served at once do not see each other's changes."""
    store = DictMemoryStore()

    with noted_commits() as noted:
        thread = threading.Thread(target=store.from_bytes, args=("a", b"1"))
        thread.start()
        thread.join()

    assert [] == noted
