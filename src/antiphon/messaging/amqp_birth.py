"""What keeps RabbitMQ from forgetting a quorum queue that was made just before a crash.

A node writes down which quorum queues it has half a second to a second later, or
when the next one is made, whichever comes first (``names.dets`` of its library
Ra; tried with 3.10).  Killed before that, it comes back with a queue that has no
leader, and everything that was confirmed in it is gone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from pika.channel import Channel
from pika.frame import Method

from antiphon.messaging.amqp_arguments import passing_arguments

#: Seconds after which it is written down in any case: twice what was seen.
SETTLE_S = 2.0

#: Bytes of a name that are left when room is made for ours.
_MAX_PREFIX_BYTES = 230


def have_noted(channel: Channel, name: str, then: Callable[[Method], None]) -> None:
    """Have the broker write down that it has queue *name*, then call *then*.

    It makes another queue, and deletes it: 12 ms.  The name begins alike, since
    rights are given by that, and has a sign that no subscription's name has.
    """
    start = name.encode()[:_MAX_PREFIX_BYTES].decode(errors="ignore")
    other = f"{start}.!{secrets.token_hex(6)}"

    def made(_frame: Method) -> None:
        if channel.is_open:
            channel.queue_delete(other, callback=then)

    channel.queue_declare(other, durable=True, arguments=passing_arguments(), callback=made)
