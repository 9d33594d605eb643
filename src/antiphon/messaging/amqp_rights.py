"""Which rights a user needs at the broker, and how a missing one is granted."""

from __future__ import annotations

import logging
import re

from pika import spec

from antiphon.errors import AntiphonError
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.declarations import Binding, Change
from antiphon.messaging.topology import Topology

logger = logging.getLogger(__name__)

#: "[configure ]access to queue 'q' in vhost '/' refused for user 'u'"
_REFUSED = re.compile(
    r"(?:(configure|write|read) )?access to (exchange|queue|topic) '([^']*)' .*?refused"
)

#: The names that a system has at the broker, besides queues that the broker names.
_NAME_OF_SYSTEM = re.compile(r"(.+?)\.(?:events|sub|retry|dead)(?:\.|$)")

#: Class and method that the broker refuses -> the right that it needs.
_RIGHTS = {
    (spec.Exchange.INDEX, spec.Exchange.Declare.INDEX & 0xFFFF): "configure",
    (spec.Queue.INDEX, spec.Queue.Declare.INDEX & 0xFFFF): "configure",
    (spec.Queue.INDEX, spec.Queue.Delete.INDEX & 0xFFFF): "configure",
    (spec.Basic.INDEX, spec.Basic.Publish.INDEX & 0xFFFF): "write",
    (spec.Basic.INDEX, spec.Basic.Consume.INDEX & 0xFFFF): "read",
    (spec.Basic.INDEX, spec.Basic.Get.INDEX & 0xFFFF): "read",
}


def patterns(system: str) -> tuple[str, str, str]:
    """Return the patterns for configure, write and read that a user of *system* needs."""
    own = rf"{re.escape(system)}\..*|amq\.gen.*"
    # What is sent straight to a queue goes through the default exchange.
    return f"^({own})$", f"^({own}|amq\\.default)$", f"^({own})$"


def name_right(text: str, class_id: int, method_id: int) -> str:
    """Return *text* with the right that is missing, which RabbitMQ names only since 3.11.

    Args:
        text: with which the broker closed a channel.
        class_id, method_id: of the method that it refused.
    """
    found = _REFUSED.search(text)
    if found is None or found.group(1):
        return text
    right = _RIGHTS.get((class_id, method_id))
    if right is None:  # a binding reads its source, and writes to its destination
        right = "write" if found.group(2) == "queue" else "read"
    return f"{text[: found.start()]}{right} {text[found.start() :]}"


def take_back_bindings(
    topology: Topology, label: str, text: str, error: AntiphonError
) -> list[Change]:
    """Take back, and return, the bindings of a queue that the broker has refused.

    Args:
        topology: where they are.
        label: of the queue.
        text: with which the broker closed the channel: they were sent without an answer each.
        error: for whoever waits for them.

    An exchange that is not there counts if it is not wished for: it was refused itself.
    """
    found = _REFUSED.search(text)
    kind, name = found.group(2, 3) if found else ("", "")

    def is_meant(binding: Binding) -> bool:
        if kind == "topic":
            return binding.pattern == name
        exchange = binding.exchange
        if exchange is None:
            return False
        is_gone = f"no exchange '{exchange}' " in text and not topology.exchange_named(exchange)
        return is_gone or (kind == "exchange" and exchange == name)

    refused = [
        Change(one, True, topology.generation_of([one]))
        for one in topology.bindings
        if one.queue == label and is_meant(one)
    ]
    for change in refused:
        logger.error("listeners get nothing by %s any more: %s", change.what, error)
    topology.refuse(refused, error)
    return refused


def user_of(address: AmqpAddress) -> str:
    """Return the user of *address* for a message and a shell's quotes, also if there is none."""
    return address.user or "<name of the certificate>"


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
    if kind == "topic":
        return _about_topic(right, name, text, address)
    of = _NAME_OF_SYSTEM.match(name)
    configure, write, read = patterns(of.group(1) if of else "<system>")
    user = user_of(address)
    name = "amq.gen…" if name.startswith("amq.gen") else name  # of one connection only
    return (
        f"the broker at {address.where} does not let user '{user}' "
        f"{right or 'configure, write or read'} the {kind} '{name}'; an operator grants what is "
        f"needed with: rabbitmqctl set_permissions -p '{address.virtual_host}' '{user}' "
        f"'{configure}' '{write}' '{read}'"
    )


def _about_topic(right: str | None, topic: str, text: str, address: AmqpAddress) -> str:
    found = re.search(r"in exchange '([^']*)'", text)
    exchange = found.group(1) if found else "<exchange>"
    user = user_of(address)
    return (
        f"the broker at {address.where} does not let user '{user}' {right or 'read or write'} the "
        f"topic '{topic}' of the exchange '{exchange}'; an operator alters topic permissions with: "
        f"rabbitmqctl set_topic_permissions -p '{address.virtual_host}' '{user}' '{exchange}' "
        "<write pattern> <read pattern>"
    )
