"""Which rights a user needs at the broker, and how a missing one is granted."""

from __future__ import annotations

import re

from antiphon.messaging.amqp_address import AmqpAddress

#: RabbitMQ names the right only since 3.11: "configure access to queue 'q' in vhost …".
_REFUSED = re.compile(
    r"(?:(configure|write|read) )?access to (exchange|queue|topic) '([^']*)' .*?refused"
)

#: The names that a system has at the broker, besides queues that the broker names.
_NAME_OF_SYSTEM = re.compile(r"(.+?)\.(?:events|sub|retry|dead)(?:\.|$)")


def patterns(system: str) -> tuple[str, str, str]:
    """Return the patterns for configure, write and read that a user of *system* needs."""
    own = rf"{re.escape(system)}\..*|amq\.gen.*"
    # What is sent straight to a queue goes through the default exchange.
    return f"^({own})$", f"^({own}|amq\\.default)$", f"^({own})$"


def explain_right(text: str, address: AmqpAddress) -> str | None:
    """Return what right is missing, and the command that grants it; None if none is.

    Args:
        text: with which the broker closed the channel.
        address: says user and virtual host.
    """
    found = _REFUSED.search(text)
    if found is None:
        return None
    right, kind, name = found.groups()
    of = _NAME_OF_SYSTEM.match(name)
    configure, write, read = patterns(of.group(1) if of else "<system>")
    user = address.user or "<the certificate's name>"
    return (
        f"the broker at {address.where} does not let user '{user}' "
        f"{right or 'configure, write or read'} the {kind} '{name}'; an operator grants what is "
        f"needed with: rabbitmqctl set_permissions -p '{address.virtual_host}' '{user}' "
        f"'{configure}' '{write}' '{read}'"
    )
