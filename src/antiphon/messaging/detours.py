"""What becomes of messages for an exchange that the broker refuses."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from antiphon.errors import AntiphonError
from antiphon.messaging.exchanges import BCC_HEADER, REFUSAL_S
from antiphon.messaging.transport import KEY_HEADER, Message

logger = logging.getLogger(__name__)


class Detours:
    """Has messages for an exchange that was refused published to the bus's own.

    Each refusal costs the connection, and such a message would be in the way of
    all that come after it.  The listeners of its class get it so; those of its
    topic could not listen to that exchange, or belong to another user.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}  # by exchange; then it is tried again

    def refused(self, link: str, exchanges: Iterable[str], error: AntiphonError) -> bool:
        """Take note of *error*; return whether one of *exchanges* was what was refused."""
        # The broker tells no more than its text.
        name = next((one for one in exchanges if f"'{one}'" in str(error)), None)
        if name is None:
            return False
        if name not in self._until:
            logger.error(
                "%s: the broker refuses the exchange '%s': what is published there goes to the "
                "listeners of its class only (tried again every %.0f s): %s",
                link,
                name,
                REFUSAL_S,
                error,
            )
        self._until[name] = time.monotonic() + REFUSAL_S
        return True

    def of(self, message: Message) -> Message:
        """Return *message*, which has an exchange of its own, as it is to be published now."""
        if time.monotonic() >= self._until.get(message.exchange or "", 0.0):
            return message
        headers = {**(message.headers or {})}
        key = headers.pop(KEY_HEADER, message.routing_key)
        headers.pop(BCC_HEADER, None)
        return replace(message, routing_key=str(key), headers=headers or None, exchange=None)
