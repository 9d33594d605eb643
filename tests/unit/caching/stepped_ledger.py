"""A ledger each of whose transactions is a step, and a store that holds it."""

from __future__ import annotations

from typing import Any, Protocol

from cache_state import canonical

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.ledger import CacheLedger


class Judge(Protocol):
    """Who is told of each transaction, before it and after."""

    def step(self, label: str) -> None: ...

    def tell(self, what: object) -> None: ...

    def before(self, name: str, args: tuple[Any, ...]) -> None: ...

    def after(self, name: str, args: tuple[Any, ...], answer: Any) -> None: ...


#: Calls of the ledger that are steps; those that only readers of numbers need are not.
_STEPS = frozenset(
    (
        *("lookup", "reserve", "fill", "confirm"),
        *("void", "void_many", "void_prefix", "suspect"),
        *("position", "positions", "advance", "beat", "doubt"),
    )
)


class SteppedLedger:
    """A ledger each of whose transactions is a step."""

    def __init__(self, inner: CacheLedger, world: Judge) -> None:
        self.inner = inner
        self._world = world

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in _STEPS:
            return method

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self._world.step(f"ledger: {name}")
            self._world.before(name, args)
            answer = method(*args, **kwargs)
            self._world.after(name, args, answer)
            self._world.tell(canonical(answer))
            return answer

        return stepped


class MountStore(DictMemoryStore):
    """Holds the user's own keys, and the ledger of the world."""

    def __init__(self, ledger: SteppedLedger) -> None:
        super().__init__()
        self._stepped = ledger

    def cache_ledger(self) -> Any:
        return self._stepped
