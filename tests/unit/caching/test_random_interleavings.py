"""Longer scenes than can be played in all orders: drawn ones, in drawn orders."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cache_world import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stepping import finish, take

#: What an actor may do, by name; each letter is a key.
ACTS: dict[str, Callable[[World], Callable[[], object]]] = {
    "write a": lambda world: world.write("a"),
    "write b": lambda world: world.write("b"),
    "write both": lambda world: world.write("a", "b"),
    "read a": lambda world: world.read("a"),
    "read b": lambda world: world.read("b"),
    "look": lambda world: world.look,
    "look, vouch": lambda world: lambda: (world.look(), world.vouch()),
    "doubt": lambda world: world.fall_into_doubt,
    "tick": lambda world: world.tick(1.1),
    "long tick": lambda world: world.tick(4.0),
    "truncate": lambda world: world.truncate,
    "restore": lambda world: world.restore(1),
}

#: Numbers of the changes whose events come, in the order in which they come.
EVENTS = st.lists(st.integers(0, 5), max_size=8)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    acts=st.lists(st.lists(st.sampled_from(sorted(ACTS)), max_size=5), min_size=1, max_size=3),
    events=EVENTS,
    freshness=st.sampled_from(["strict", None]),
    has_versions=st.booleans(),
    turns=st.lists(st.integers(0, 7), max_size=120),
)
def test_drawn_orders_keep_the_invariants(
    acts: list[list[str]],
    events: list[int],
    freshness: str | None,
    has_versions: bool,
    turns: list[int],
) -> None:
    """Writers, events, readers, repairs and breaks as they come."""
    mounting: dict[str, Any] = {"freshness": freshness} if freshness else {}
    world = World("ab", has_versions=has_versions, **mounting)
    if freshness:
        world.bound_s = None
    try:
        for number, names in enumerate(acts):
            world.act(f"actor {number}", *(ACTS[name](world) for name in names))
        world.act("events", *(world.hear_if_there(number) for number in events))
        for turn in turns:
            if not (able := world.stage.runnable()):
                break
            take(world, able[turn % len(able)])
        while able := world.stage.runnable():
            take(world, able[0])
        finish(world)
    finally:
        world.close()
