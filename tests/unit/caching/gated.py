"""A ledger that a test can hold up, as a locked database does, and that notes what is asked."""

import threading
from typing import Any

from antiphon.errors import StoreUnavailable
from antiphon.storage.memory_ledger import MemoryLedger


class GatedLedger:
    """Passes on to a ledger in memory; not one itself, so that its calls may take their time."""

    def __init__(self) -> None:
        self.inner = MemoryLedger()
        self.calls: list[tuple[str, Any]] = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.fails = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        def call(*args: Any) -> Any:
            if name in ("void", "void_many", "void_prefix", "advance"):
                self.entered.set()
                assert self.open.wait(10), "the test holds the ledger for ever"
                self.calls.append((name, args[0]))
                if self.fails:
                    raise StoreUnavailable("the cache is away")
            return method(*args)

        return call

    def calls_of(self, name: str) -> list[Any]:
        """Return what was asked of a method."""
        return [argument for called, argument in self.calls if called == name]
