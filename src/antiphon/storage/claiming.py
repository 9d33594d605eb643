"""Taking a medium over whose cache was filled from other stores before."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from antiphon.errors import PositionLost
from antiphon.storage.journal import Journal
from antiphon.storage.ledger import CacheLedger

logger = logging.getLogger(__name__)


def claim(ledger: CacheLedger, journals: Sequence[Journal]) -> None:
    """Doubt all that *ledger* holds if it follows other stores than those of *journals*.

    Otherwise what is filled from now on would stand below the position of the
    store of before: whoever uses that one again would be served it as fresh.

    Raises:
        StoreError: the medium cannot be read or written.
    """
    own = {journal.store_id for journal in journals}
    if own.issuperset(ledger.positions()):
        return
    logger.warning("the cache was filled from another store; all of it is checked anew")
    # Doubt comes first: without a position nothing is shown, and what is there is doubted.
    ledger.suspect()
    try:
        ledger.advance(None)
    except PositionLost:  # a Redis that was restarted says so once, and takes it then
        ledger.advance(None)
