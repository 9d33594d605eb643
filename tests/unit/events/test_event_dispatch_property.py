"""Indexed dispatch does what a plain loop over all listeners would do, whatever happens."""

from __future__ import annotations

import enum
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from types import MethodType, SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.events.api import BaseEvent, EventManager


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Size(enum.IntEnum):
    ONE = 1


class EqualToAll:
    """Equals everything, and hashes as nothing else does."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 7_654_321


class EqualToNothing:
    """Not even equal to itself, as NaN."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__


class Word(str):
    """Text that compares without regard to case, and hashes as text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    __hash__ = str.__hash__


@dataclass(frozen=True)
class Point:
    x: int


NAN = float("nan")
#: Few enough that equal ones meet often; each kind of comparison is there.
VALUES: list[Any] = [
    0, 1, True, 1.0, 2, -0.0, 1 + 0j, NAN, math.inf, Size.ONE, Color.RED, Color.BLUE,
    "a", "A", Word("a"), b"a", bytearray(b"a"), None, "", uuid.UUID(int=1),
    [], [1], (1,), (1.0,), (NAN,), (Word("a"),), ([],), {1}, frozenset({1}), {"a": 1},
    Point(1), Point(1), EqualToAll(), EqualToNothing(), object(), BaseEvent, Color,
]  # fmt: skip
PATHS = ["a", "b", "inner.x", "inner.x.real", "missing"]

PRIORITIES = [0, 0, 0, 1, -1, 0.5, 10]


@dataclass(eq=False)
class Connection:
    """What the model knows of one connected listener."""

    cls: type
    name: str
    number: int
    priority: float
    filter: dict[str, Any]
    condition: Callable[[Any], bool] | None

    def matches(self, event: BaseEvent) -> bool:
        if not isinstance(event, self.cls):
            return False
        for path, value in self.filter.items():
            found: Any = event
            for part in path.split("."):
                if not hasattr(found, part):
                    return False
                found = getattr(found, part)
            if not found == value:  # noqa: SIM201 - the very comparison that is promised
                return False
        return self.condition is None or self.condition(event)


@dataclass
class Model:
    """An event manager without any index: a list of connections."""

    connections: dict[tuple[type, str], Connection] = field(default_factory=dict)
    count: int = 0

    def connect(self, cls: type, name: str, *rest: Any) -> None:
        self.count += 1
        self.connections.pop((cls, name), None)
        self.connections[cls, name] = Connection(cls, name, self.count, *rest)

    def called(self, event: BaseEvent, handler: str | None) -> list[str]:
        matching = [c for c in self.connections.values() if c.matches(event)]
        names = []
        for connection in sorted(matching, key=lambda c: (-c.priority, c.number)):
            names.append(connection.name)
            if connection.name == handler:
                break
        return names


class Owner:
    """An object whose method listens."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name

    def heard(self, event: BaseEvent) -> None:
        self.world.heard(self.name, event)


class World:
    """Does the same at random to an event manager and to the model."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.manager = EventManager()
        self.model = Model()
        self.classes: list[type] = [BaseEvent, type("Mixin", (), {})]
        self.listeners: dict[str, Any] = {}
        self.calls: list[str] = []
        self.handler: str | None = None
        self.meanwhile: list[Callable[[], None]] = []
        for _ in range(random.randint(1, 6)):
            self.make_class()

    def heard(self, name: str, event: BaseEvent) -> None:
        self.calls.append(name)
        while self.meanwhile:
            self.meanwhile.pop()()
        if name == self.handler:
            event.mark_as_handled()

    # -- What may happen ---------------------------------------------------------

    def make_class(self) -> None:
        bases = self.random.sample(self.classes, min(len(self.classes), self.random.randint(1, 3)))
        if not any(issubclass(base, BaseEvent) for base in bases):
            bases.append(BaseEvent)
        try:
            self.classes.append(type(f"E{len(self.classes)}", tuple(bases), {}))
        except TypeError:  # no order of these bases is consistent
            return

    def connect(self) -> None:
        if len(self.listeners) < 40 and self.random.random() < 0.7:
            name = f"listener {self.model.count} {len(self.listeners)}"
            self.listeners[name] = (
                Owner(self, name) if self.random.random() < 0.3 else partial(self.heard, name)
            )
        if not self.listeners:
            return
        name = self.random.choice(list(self.listeners))
        paths = self.random.sample(PATHS, self.random.choice([0, 1, 1, 2]))
        filter = {path: self.random.choice(VALUES) for path in paths}
        condition = (lambda event: hasattr(event, "b")) if self.random.random() < 0.1 else None
        priority = self.random.choice(PRIORITIES)
        cls = self.random.choice(self.classes)
        if not self.meanwhile and self.random.random() < 0.1:
            self.meanwhile.append(lambda: self._connect(cls, name, filter, priority, condition))
        else:
            self._connect(cls, name, filter, priority, condition)

    def _connect(self, cls: type, name: str, filter: Any, priority: float, condition: Any) -> None:
        if name not in self.listeners:
            return
        if condition is None:
            self.manager.connect(cls, self._func(name), filter, priority)
        else:
            self.manager._connect(cls, self._func(name), filter, priority, condition)
        self.model.connect(cls, name, priority, filter, condition)

    def _func(self, name: str) -> Any:
        listener = self.listeners[name]
        return listener.heard if isinstance(listener, Owner) else listener

    def disconnect(self) -> None:
        if not self.model.connections:
            return
        cls, name = self.random.choice(list(self.model.connections))
        if not self.meanwhile and self.random.random() < 0.2:
            self.meanwhile.append(lambda: self._disconnect(cls, name))
        else:
            self._disconnect(cls, name)

    def _disconnect(self, cls: type, name: str) -> None:
        if self.model.connections.pop((cls, name), None) is not None:
            self.manager.disconnect(cls, self._func(name))

    def let_an_object_go(self) -> None:
        owners = [name for name, one in self.listeners.items() if isinstance(one, Owner)]
        if owners:
            name = self.random.choice(owners)
            del self.listeners[name]
            for key in [key for key in self.model.connections if key[1] == name]:
                del self.model.connections[key]

    def emit(self) -> None:
        cls = self.random.choice([cls for cls in self.classes if issubclass(cls, BaseEvent)])
        event = cls(**self._attributes())
        self.handler = self.random.choice([*self.listeners, *[None] * 20])
        expected = self.model.called(event, self.handler)
        listed = self.model.called(event, None)

        assert listed == [self._name(func) for func in self.manager.get_listeners(event)]

        self.calls = []
        self.manager.emit(event)

        assert expected == self.calls

    def _attributes(self) -> dict[str, Any]:
        wanted = [c for c in self.model.connections.values() if c.filter]
        asked = self.random.choice(wanted).filter if wanted else {}
        value = {
            name: asked[path] if path in asked and self.random.random() < 0.7
            else self.random.choice(VALUES)
            for name, path in (("a", "a"), ("b", "b"), ("x", "inner.x"))
        }  # fmt: skip
        attributes = {"a": value["a"], "b": value["b"], "inner": SimpleNamespace(x=value["x"])}
        if self.random.random() < 0.2:
            del attributes[self.random.choice(["a", "b", "inner"])]
        return attributes

    def _name(self, func: Any) -> str:
        return func.__self__.name if isinstance(func, MethodType) else func.args[0]


def live(seed: int, steps: int) -> None:
    """Let *steps* things happen, and compare after each emit."""
    world = World(Random(seed))
    actions = (
        [world.connect] * 6
        + [world.emit] * 8
        + [world.disconnect] * 4
        + [world.let_an_object_go, world.make_class]
    )
    for _ in range(steps):
        world.random.choice(actions)()
    world.emit()


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 250))
def test_calls_whom_a_plain_loop_over_all_listeners_would_call(seed: int, steps: int) -> None:
    """Classes with diamonds, all kinds of values, changes between and during emits."""
    live(seed, steps)
