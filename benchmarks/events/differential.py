"""Do the same at random with Antiphon and with Encore, and compare who is called.

    .venv/bin/python benchmarks/events/differential.py [scenarios]

Left out is where Antiphon differs on purpose: docs/reference/events.md, "Differences
from Encore".
"""

from __future__ import annotations

import logging
import sys
from random import Random
from types import SimpleNamespace
from typing import Any

import encore.events.api as encore

import antiphon.events.api as antiphon

VALUES: list[Any] = [0, 1, True, 1.0, 2, "a", "b", None, (), (1,), [1], {"a": 1}, 1j]
PATHS = ["a", "b", "inner.x", "inner.x.real", "missing"]


class Side:
    """One of the two, and what was called there."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.manager = api.EventManager()
        self.classes: list[type] = [api.BaseEvent]
        self.listeners: dict[str, Any] = {}
        self.calls: list[str] = []
        self.handler = ""
        self.meanwhile: tuple[Any, ...] = ()

    def make_class(self, bases: list[int], number: int) -> bool:
        try:
            cls = type(f"E{number}", tuple(self.classes[base] for base in bases), {})
        except TypeError:
            return False
        self.classes.append(cls)
        return True

    def listener(self, name: str) -> Any:
        def listen(event: Any) -> None:
            self.calls.append(name)
            change, self.meanwhile = self.meanwhile, ()
            if change:
                self.act(*change)
            if name == self.handler:
                event.mark_as_handled()
            if name.endswith("fails"):
                raise RuntimeError(name)

        return self.listeners.setdefault(name, listen)

    def act(self, action: str, cls: int, *arguments: Any) -> Any:
        """Do *action*; return what can be compared of what came of it."""
        chosen = self.classes[cls]
        try:
            if action == "connect":
                name, filter, priority = arguments
                self.manager.connect(chosen, self.listener(name), filter, priority)
            elif action == "disconnect":
                self.manager.disconnect(chosen, self.listener(arguments[0]))
            elif action == "emit":
                self.calls, (self.handler, self.meanwhile, attributes) = [], arguments
                self.manager.emit(chosen(**attributes))
                return self.calls
            elif action == "listeners":
                event = chosen(**arguments[0])
                found = [list(self.manager.get_listeners(one)) for one in (event, chosen)]
                names = {id(func): name for name, func in self.listeners.items()}
                return [[names[id(func)] for func in funcs] for funcs in found]
            else:
                return getattr(self.manager, action)(chosen)
        except (KeyError, ValueError) as exc:
            return KeyError if isinstance(exc, KeyError) else ValueError
        return None


def scenario(random: Random, steps: int) -> int:
    """Run one; return how many listeners were called."""
    sides = (Side(antiphon), Side(encore))
    called = 0
    count = 1
    for number in range(random.randint(1, 5)):
        bases = random.sample(range(count), random.randint(1, min(2, count)))
        made = [side.make_class(bases, number) for side in sides]  # both, whatever one says
        count += all(made)

    def connection() -> tuple[Any, ...]:
        name = f"{random.randrange(12)}{random.choice(['', '', '', ' fails'])}"
        paths = random.sample(PATHS, random.choice([0, 0, 1, 2]))
        filter = {path: random.choice(VALUES) for path in paths} or None
        return ("connect", random.randrange(count), name, filter, random.choice([0, 0, 1, -1]))

    for _ in range(steps):
        kind = random.choice(["connect"] * 5 + ["emit"] * 6 + ["disconnect"] * 3 + ["other"])
        attributes = {"a": random.choice(VALUES), "b": random.choice(VALUES)}
        attributes["inner"] = SimpleNamespace(x=random.choice(VALUES))
        change: tuple[Any, ...] = connection()
        if kind == "disconnect":
            change = ("disconnect", change[1], change[2])
        elif kind == "emit":
            meanwhile = connection() if random.random() < 0.2 else ()
            if meanwhile and random.random() < 0.5:
                meanwhile = ("disconnect", *meanwhile[1:3])
            change = ("emit", change[1], random.choice([change[2], ""]), meanwhile, attributes)
        elif kind == "other":
            name = random.choice(["disable", "enable", "enable", "is_enabled", "listeners"])
            change = (name, change[1], attributes) if name == "listeners" else (name, change[1])
        ours, theirs = (side.act(*change) for side in sides)
        assert ours == theirs, (change, ours, theirs)
        called += len(ours) if kind == "emit" else 0
    return called


def main() -> None:
    scenarios = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    logging.disable()  # of the listeners that fail
    called = sum(scenario(Random(seed), 120) for seed in range(scenarios))
    print(f"{scenarios} scenarios, {called} calls: the same listeners in the same order")


if __name__ == "__main__":
    main()
