"""All orders of the steps of a cache: the invariants of docs/explanation/freshness.md hold.

Every test is a scene with two to four actors, which is played in all orders of
their steps; after each step the invariants are checked, and in the end that the
cache comes right.  The numbers are those of that page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from cache_world import BOUND_S, World
from stepping import Explored, explore

from antiphon.caching.applier import Applier

#: What a scene is made with: the cache's keys are "a" and "b", both in the store.
Scene = Callable[..., World]


def cached(letters: str = "a", **kwargs: Any) -> World:
    """Return a world whose cache has an entry of each key."""
    world = World(letters, **kwargs)
    for letter in letters:
        world.read(letter)()
    return world


def fill_race(**kwargs: Any) -> World:
    """Interleavings 1 and 2: a fill while its key changes twice."""
    world = World("a", **kwargs)
    world.act("writer", world.write("a"), world.write("a"))
    world.act("events", world.hear(0), world.hear(1))
    world.act("reader", world.read("a"))
    return world


def lost_last(**kwargs: Any) -> World:
    """Interleavings 6 and 7: the event is lost, and only the head tells, whenever it was asked."""
    world = cached(**kwargs)
    world.act("writer", world.write("a"))
    world.act("clock", world.tick(4.0))
    world.act("reader", world.read("a"), world.read("a"))
    return world


def position_last(**kwargs: Any) -> World:
    """Interleavings 4 and 8: a reader asks while a change is applied."""
    world = cached("a", **kwargs)
    world.act("writer", world.write("a"), world.hear(0))
    world.act("reader", world.tick(4.0), world.read("a"), world.read("a"))
    return world


def overtaken(**kwargs: Any) -> World:
    """Interleaving 5: the later of two events comes first, and then again."""
    world = cached("a", **kwargs)
    world.act("writer", world.write("a"), world.write("b"))
    world.act("events", world.hear(1), world.hear(0), world.hear(1))
    world.act("reader", world.tick(4.0), world.read("a"))
    return world


def lost_first(**kwargs: Any) -> World:
    """The first event was lost; the journal has it, while another change comes."""
    world = cached("a", **kwargs)
    world.write("a")()
    world.write("b")()
    world.hear(1)()
    world.act("writer", world.write("a"), world.hear(2))
    world.act("repair", world.look)
    return world


def truncated(**kwargs: Any) -> World:
    """Interleaving 10: the position is lost while a key is filled and changes."""
    world = World("a", **kwargs)
    world.write("b")()
    world.truncate()
    world.act("writer", world.write("a"))
    world.act("repair", world.look)
    world.act("reader", world.read("a"))
    return world


def suspected(**kwargs: Any) -> World:
    """Interleaving 10: the position is lost, and with it a change of a key that is cached."""
    world = cached("a", **kwargs)
    world.write("a")()
    world.truncate()
    world.act("repair", world.look)
    world.act("reader", world.tick(4.0), world.read("a"))
    return world


def restored(**kwargs: Any) -> World:
    """Interleavings 11 and 13: the store goes back in the midst of a fill."""
    world = World("aa", **kwargs)
    world.act("backup", world.restore(1))
    world.act("repair", world.look)
    world.act("reader", world.read("a"), world.tick(4.0), world.read("a"))
    return world


def confirmed(**kwargs: Any) -> World:
    """Interleaving 12: an entry is to be confirmed while its key changes."""
    world = cached("a", **kwargs)
    world.write("a")()
    world.repaired_elsewhere()
    world.act("writer", world.write("a"), world.hear(1))
    world.act("reader", world.read("a"))
    return world


def one_flight(**kwargs: Any) -> World:
    """Interleaving 14: two readers of a key that changes, and whose event is lost."""
    world = World("a", **kwargs)
    world.act("writer", world.write("a"))
    world.act("one", world.read("a"))
    world.act("other", world.read("a"))
    return world


def in_doubt(**kwargs: Any) -> World:
    """Interleaving 9: a break while a key changes, and the repair after it."""
    world = cached("a", **kwargs)
    world.act("writer", world.write("a"))
    world.act("invalidator", world.fall_into_doubt, world.look, world.vouch)
    world.act("reader", world.tick(4.0), world.read("a"))
    return world


def two_invalidators(**kwargs: Any) -> World:
    """One reads the journal and one hears events: neither waits for the other."""
    world = cached("ab", **kwargs)
    other = Applier(world.stepped, world.source, "p/")
    world.appliers.append(other)
    world.act("writer", world.write("a"), world.write("b"))
    world.act("events", world.hear(0), world.hear(1))
    world.act("repair", lambda: world.look(applier=other))
    return world


def equal_numbers(**kwargs: Any) -> World:
    """Interleaving 15: the store counts the same numbers again; the event that shows it is lost."""
    world = cached("ab", **kwargs)
    world.write("a")()
    world.hear(0)()
    world.restore(1)()
    world.act("writer", world.write("b"), world.write("a"))
    world.act("events", world.hear(2))
    world.act("reader", world.tick(4.0), world.read("b"))
    return world


def equal_numbers_overtaken(**kwargs: Any) -> World:
    """Interleaving 15, with events of the lost history that come late, and of the new one."""
    world = cached("ab", **kwargs)
    world.write("a", "a")()
    world.restore(2)()
    world.act("writer", world.write("b"), world.write("a"))
    world.act("late", world.hear(1), world.hear(0))
    world.act("reader", world.tick(4.0), world.read("b"))
    return world


def filled_and_lost(**kwargs: Any) -> World:
    """Interleaving 16: a change that no event told of is filled, and then the store loses it."""
    world = World("ab", **kwargs)
    world.write("a")()
    world.act("reader", world.read("a"), world.tick(4.0), world.read("a"))
    world.act("store", world.restore(1), world.write("b"))
    world.act("events", world.hear(1))
    return world


def confirmed_and_lost(**kwargs: Any) -> World:
    """Interleaving 16, with an entry that the source confirms before it loses it."""
    world = World("ab", **kwargs)
    world.write("a")()
    world.hear(0)()
    world.read("a")()
    world.repaired_elsewhere(back=1)
    world.act("reader", world.read("a"), world.tick(4.0), world.read("a"))
    world.act("store", world.restore(1), world.write("b"))
    world.act("events", world.hear(1))
    return world


SCENES: list[Scene] = [
    fill_race,
    lost_last,
    position_last,
    overtaken,
    lost_first,
    truncated,
    suspected,
    restored,
    confirmed,
    one_flight,
    in_doubt,
    two_invalidators,
    equal_numbers,
    equal_numbers_overtaken,
    filled_and_lost,
    confirmed_and_lost,
]


def play(scene: Scene, **kwargs: Any) -> Explored:
    """Play *scene* in all orders."""
    logging.disable()  # the same warning thousands of times
    try:
        return explore(lambda: scene(**kwargs))
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_every_order_keeps_the_invariants(scene: Scene) -> None:
    """Mode ``bounded``, a source that is right and has versions."""
    explored = play(scene)

    assert explored.ends > 0


@pytest.mark.parametrize("source", [{"lag": 1}, {"has_versions": False}], ids=str)
def test_a_source_that_lags_or_has_no_versions(source: dict[str, Any]) -> None:
    """Trap 14: a replica's late answer is not kept; without versions the reservation is all."""
    assert play(fill_race, **source).ends > 0


@pytest.mark.parametrize("scene", [position_last, lost_last], ids=lambda scene: scene.__name__)
def test_available_calls_nothing_fresh_that_is_not(scene: Scene) -> None:
    """I9: what mode ``available`` serves beyond its bound, it calls unsure."""
    assert play(scene, freshness=f"available({BOUND_S})").ends > 0


@pytest.mark.parametrize(
    "scene", [position_last, lost_last, overtaken], ids=lambda scene: scene.__name__
)
def test_strict_is_never_behind_the_beginning_of_a_read(scene: Scene) -> None:
    """Mode ``strict``: what was replaced before a read began is not served by it."""

    def strict() -> World:
        world = scene(freshness="strict")
        world.bound_s = None
        return world

    assert explore(strict).ends > 0


def test_a_read_that_asks_for_a_position_gets_it() -> None:
    """I8: ``at_least`` waits for the position, or reads the source."""

    def make() -> World:
        world = cached("a")
        world.write("a")()
        world.act("events", world.hear(0))
        world.act("reader", world.read("a", at_least=world.source.now_head()))
        return world

    assert explore(make).ends > 0


def test_own_keys_are_untouched() -> None:
    """I6: whatever happens to the store and to the cache, a user reads back what he wrote."""

    def make() -> World:
        world = cached("a")
        world.write_own("a", b"mine")
        world.act("backup", world.write("a"), world.restore(1))
        world.act("events", world.hear(0))
        world.act("repair", world.look)
        world.act("reader", world.read("a"))
        return world

    assert explore(make).ends > 0


def test_a_read_that_asks_for_a_position_is_not_fooled_by_a_lost_one() -> None:
    """I8: the position of before the store went back has a larger number than what is asked for."""

    def make() -> World:
        world = cached("a")
        world.write("b", "b")()
        world.hear(0)()
        world.hear(1)()
        world.read("a")()
        world.restore(2)()
        world.write("a")()
        world.act("clock", world.tick(1.1))
        world.act("reader", world.read("a", at_least=world.source.now_head()))
        return world

    assert explore(make).ends > 0
