"""Opening an event manager that reaches every process on the same broker."""

from __future__ import annotations

import re

from antiphon.environment import broker_url
from antiphon.errors import InvalidBusOption
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.options import BusOptions, BusStats
from antiphon.messaging.subscription import Subscription
from antiphon.messaging.subscription_options import SubscriptionOptions, SubscriptionStats
from antiphon.messaging.transport import transports

__all__ = [
    "BrokerEventManager",
    "BusOptions",
    "BusStats",
    "EventsMayBeMissing",
    "Subscription",
    "SubscriptionOptions",
    "SubscriptionStats",
    "open_bus",
]

_SYSTEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def open_bus(
    url: str | None = None,
    *,
    origin: str | None = None,
    system: str = "antiphon",
    connect_timeout_s: float = 10.0,
    wait: bool = True,
    options: BusOptions | None = None,
) -> BrokerEventManager:
    """Return an event manager that reaches all processes on the broker at *url*.

    Args:
        url: ``amqp://user:password@host:port/virtual-host``, with further hosts
            after commas, ``amqps://…``, or ``memory:`` for one within this process.
            None takes it from ``ANTIPHON_AMQP_URL`` or ``ANTIPHON_AMQP_URL_FILE``.
            User and password that it leaves out come from ``ANTIPHON_AMQP_USER`` and
            ``ANTIPHON_AMQP_PASSWORD`` (or ``…_FILE``), else they are ``guest``.
        origin: dotted words that say where this process's events come from,
            unless an event or its source says so itself.
        system: a name; buses of different systems never hear each other.
        connect_timeout_s: seconds to wait for a broker that does not answer;
            one that cannot be reached raises at once.
        wait: False returns at once, and connects in the background for as long
            as it takes; events wait in the buffer meanwhile.
        options: what is rarely changed.

    Raises:
        UnknownScheme, InvalidURL, InvalidBusOption: an argument makes no sense.
        InvalidEnvironment: a variable, or the file that it names, makes none.
        TLSFailed: a certificate, a key or a port is wrong.
        BrokerUnavailable: the broker cannot be reached; says where and what to check.
        BrokerRefused: wrong password, virtual host or rights.

    Once open it keeps itself connected: after a loss it comes back by itself,
    with everything declared again, and sends what was not confirmed.  Close it,
    or use it in a ``with`` statement; at the end of the program a bus that was
    left open gets two seconds to send what is under way.
    """
    if not isinstance(system, str) or not _SYSTEM.fullmatch(system) or system.startswith("amq."):
        raise InvalidBusOption(
            f"system is 1 to 100 letters, digits, '_', '-' and '.', begins with a letter or digit "
            f"and not with 'amq.'; it is not {system!r}"
        )
    if not (origin is None or isinstance(origin, str)):
        raise InvalidBusOption(f"origin is text or None, not {origin!r}")
    if not (options is None or isinstance(options, BusOptions)):
        raise InvalidBusOption(f"options are BusOptions(...), not {options!r}")
    url = broker_url(url)
    name = f"{system}/{origin}" if origin else system
    transport = transports.load(url)(url, name=name)
    bus = BrokerEventManager(
        transport, url=url, origin=origin, system=system, options=options or BusOptions()
    )
    bus.start(connect_timeout_s if wait else None)
    return bus
