"""A listener that hears of what was applied may end the invalidator that applied it."""

from __future__ import annotations

import threading

from antiphon.caching.applier import Applier
from antiphon.caching.changes import Applied
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.memory_ledger import MemoryLedger

DEADLINE_S = 20.0


def test_who_is_told_of_a_reading_may_begin_another() -> None:
    """Ending an invalidator reads the journal once more: not a wait for the reading that tells."""
    source = DictMemoryStore()
    source.connect()
    ledger = MemoryLedger()
    applier = Applier(ledger, source, "")
    applier.catch_up(after_doubt=True)
    told: list[Applied] = []

    def listener(done: list[Applied]) -> None:
        told.extend(done)
        applier.catch_up(after_doubt=False)

    source.from_bytes("k", b"1")
    reader = threading.Thread(
        target=lambda: applier.catch_up(after_doubt=False, tell=listener), daemon=True
    )
    reader.start()
    reader.join(DEADLINE_S)

    assert not reader.is_alive()
    assert ["k"] == [one.key for one in told]
    assert source.head() == ledger.position()
