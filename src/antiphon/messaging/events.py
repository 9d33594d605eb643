"""Events that a bus tells of itself; they stay in the process."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent


class EventsMayBeMissing(BaseEvent):
    """Events may have been emitted that a subscription has not got, and will not get.

    Told when a broadcast listener's connection broke and came back, and when the
    queue of a durable subscription was not there any more: deleted by hand, or
    expired.  A queue that is made for the first time cannot be told from one
    that has expired, so the first subscription under a name is told as well.

    Attributes:
        subscription: name of the subscription; ``"broadcast"`` for the listeners
            that were connected with ``connect``.
        since: seconds since the Unix epoch from which on events may be missing;
            None if that is not known.
        reason: a sentence for people.
    """

    travels = False

    def __init__(
        self,
        source: object = None,
        *,
        subscription: str = "broadcast",
        since: float | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(source, subscription=subscription, since=since, reason=reason)


def refuse_forged(events: Sequence[BaseEvent]) -> None:
    """Check that *events*, which came in one message, are none that only a bus itself tells.

    Raises:
        CorruptMessage: they are.
    """
    if isinstance(events[0], EventsMayBeMissing):  # a message has one class
        raise CorruptMessage("it says that events may be missing, which is told by nobody else")
