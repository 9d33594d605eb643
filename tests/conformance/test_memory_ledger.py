"""The ledger of the memory store passes the suite of all ledgers."""

import pytest

from antiphon.storage.ledger import CacheLedger
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.testing.ledger_suite import LedgerSuite


class TestMemoryLedger(LedgerSuite):
    """Entries in dictionaries, where histories take no time."""

    histories = 60

    @pytest.fixture
    def ledger(self) -> CacheLedger:
        """A fresh ledger."""
        return MemoryLedger()
