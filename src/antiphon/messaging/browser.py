"""Looking into queues from outside: what waits there, taken out one by one or left.

For commands that people run, beside a bus or without one: every call asks the
broker and waits for its answer.  Nothing that is looked at can get lost: a
message that was got is back in its queue at the latest when the browser is
closed, or its process is killed, unless it was acknowledged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from antiphon.messaging.transport import KEY_HEADER, Message
from antiphon.schemes import SchemeRegistry

#: URL scheme -> ``open_browser(url, *, name)``, which returns a ``QueueBrowser``.
browsers = SchemeRegistry(
    "browser",
    "antiphon.browsers",
    {
        "amqp": "antiphon.messaging.amqp_browser:open_browser",
        "amqps": "antiphon.messaging.amqp_browser:open_browser",
        "memory": "antiphon.messaging.memory_browser:open_browser",
    },
)

#: A quorum queue of RabbitMQ 4.x drops what came back 20 times.  What has come back so often
#: is put at the end of its queue as a new message, whose count begins anew.
MAX_RETURNS = 8


@dataclass(frozen=True, slots=True)
class Depth:
    """How much is in a queue.

    Attributes:
        ready: messages that wait there, those not counted that a consumer has.
        consumers: how many consume it.
    """

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Broker:
    """What a broker says of itself.

    Attributes:
        product: such as RabbitMQ; empty if it says nothing.
        version: of it, such as 3.10.8; empty likewise.
        user: who asks, as the broker knows them; empty where there are no users.
    """

    product: str = ""
    version: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A message that was got from a queue, and is nobody else's until it is settled.

    Attributes:
        message: with the routing key that its events were published with.
        queue: name of the queue.
        token: the browser's own mark.
        delivery_count: how often it came back before, as far as the broker counts.
    """

    message: Message
    queue: str
    token: Any = None
    delivery_count: int = 0


class QueueBrowser(ABC):
    """A connection to a broker, to look into queues; not for several threads at once.

    Every method may raise ``BrokerUnavailable``: the connection is gone, and
    what was got and not acknowledged is back in its queue; and ``BrokerRefused``:
    this user must not do that.
    """

    @abstractmethod
    def depth(self, queue: str) -> Depth | None:
        """Return how much is in *queue*; None if there is no such queue."""

    @abstractmethod
    def get(self, queue: str) -> Found | None:
        """Take the first message out of *queue*; None if none waits, or there is no queue."""

    @abstractmethod
    def acknowledge(self, found: Found) -> None:
        """Let *found* be gone from its queue for good."""

    @abstractmethod
    def give_back(self, found: Found) -> None:
        """Put *found* back into its queue; where in it, is the broker's choice."""

    @abstractmethod
    def publish(self, message: Message) -> bool:
        """Publish *message*, and wait until the broker has it.

        Returns:
            Whether a queue took it.
        """

    @abstractmethod
    def alone(self, name: str, timeout_s: float) -> AbstractContextManager[None]:
        """Be the only browser inside ``alone(name)``; wait for others to leave.

        Raises:
            BrowserBusy: another one was still there after *timeout_s*.
        """

    def broker(self) -> Broker:
        """Return what the broker says of itself."""
        return Broker()

    def try_rights(self, queue: str, exchange: str) -> None:  # noqa: B027 - some know no rights
        """Do with a queue what a durable subscription does, and leave nothing behind.

        Args:
            queue: its name, which no queue may have; this connection alone can use it.
            exchange: is there; the queue is bound to it.

        Raises:
            BrokerRefused: a right is missing; the message says which, and how it is granted.
        """

    @abstractmethod
    def close(self) -> None:
        """Disconnect; what was got and not acknowledged goes back.  Twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_browser(url: str, *, name: str = "antiphon browser") -> QueueBrowser:
    """Return a browser of the queues of the broker at *url*, connected.

    Args:
        url: as for ``open_bus``.
        name: shown by the broker beside the connection.

    Raises:
        UnknownScheme, InvalidURL: the URL makes no sense.
        BrokerUnavailable, BrokerRefused: there is no connection.
    """
    browser: QueueBrowser = browsers.load(url)(url, name=name)
    return browser


def with_own_key(message: Message) -> Message:
    """Return *message* with the routing key of its events, if a header holds that."""
    headers = message.headers
    key = headers.get(KEY_HEADER) if headers else None
    if not isinstance(key, str):
        return message
    rest = {name: value for name, value in (headers or {}).items() if name != KEY_HEADER}
    return Message(key, message.body, rest or None, message.publisher, message.persistent)


def kept_headers(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return *headers* without those that the broker writes itself (``x-delivery-count``…)."""
    return {name: value for name, value in (headers or {}).items() if not name.startswith("x-")}
