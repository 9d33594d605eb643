"""Writers, under whose names Redis remembers the answers to commits."""

from __future__ import annotations

import os

import pytest

from antiphon.storage.redis_commit import Writers


def test_a_writer_counts_its_commits() -> None:
    """The next commit of a writer has the next number, so that late calls are recognised."""
    writers = Writers()
    name, number = writers.take()
    writers.give_back((name, number))

    assert (name, number + 1) == writers.take()


def test_commits_under_way_have_different_writers() -> None:
    """Nobody gets the answer to somebody else's commit."""
    writers = Writers()

    assert 3 == len({writers.take()[0] for _ in range(3)})


def test_a_forked_child_has_writers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child does not go on with the names of its parent."""
    writers = Writers()
    writer = writers.take()
    writers.give_back(writer)
    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert writer[0] != writers.take()[0]
