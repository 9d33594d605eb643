"""A queue at the broker on a channel of its own: declared, bound, consumed, and tried again.

A channel that the broker closes takes down everything on it.  With a channel
each, a queue that cannot be had (other arguments than before, no right, no
leader) is tried again with pauses while the others go on.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.frame import Method

from antiphon.errors import AntiphonError, BrokerRefused, BrokerUnavailable
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_arguments import are_alike, arguments_of
from antiphon.messaging.amqp_birth import SETTLE_S, have_noted
from antiphon.messaging.amqp_callbacks import ignore, ignore_message, is_missing, keep_consumers
from antiphon.messaging.amqp_doubts import Doubts
from antiphon.messaging.amqp_errors import explain
from antiphon.messaging.amqp_queue_user import QueueUser
from antiphon.messaging.amqp_rights import take_back_bindings
from antiphon.messaging.amqp_settling import Consumption
from antiphon.messaging.backoff import Backoff
from antiphon.messaging.declarations import Binding, Change, QueueSpec
from antiphon.messaging.topology import Topology

logger = logging.getLogger(__name__)

#: Seconds for the broker to answer a step; a quorum queue may be electing its leader.
STEP_TIMEOUT_S = 6.0

#: Likewise, if it may never get one: it was made shortly before the broker was lost.
SUSPECT_TIMEOUT_S = 4.0

#: Seconds for the broker to delete a queue without a leader; RabbitMQ 3.10 takes five.
REVIVE_TIMEOUT_S = 20.0

#: Seconds more for each binding that goes with a step.
BINDING_TIMEOUT_S = 0.02

#: Seconds between two attempts without a pause.
AT_ONCE_INTERVAL_S = 5.0

#: Seconds between two looks at whether a queue that is only declared is still there.
LOOK_INTERVAL_S = 10.0
#: Reply codes by which the broker says that it will not, and trying again changes nothing.
REFUSALS = frozenset({403, 405, 406})
NO_RIGHT, NOT_FOUND = 403, 404


class QueueChannel(ABC):
    """One queue of a topology; used on the link's thread.

    Args:
        queue: the queue.
        connection: pika's.
        topology: where bindings come from, and successes go to.
        user: hears of it.
        address: of the broker, for messages.
        doubts: what is known of queues that do not answer.
    """

    def __init__(
        self,
        queue: QueueSpec,
        connection: Any,
        topology: Topology,
        user: QueueUser,
        address: AmqpAddress,
        doubts: Doubts,
    ) -> None:
        self.queue = queue
        self.consumption: Consumption | None = None
        #: Whether it stands, or was found not to: the others need not wait for it any more.
        self.is_tried = False
        self.is_standing = False
        self._connection = connection
        self._topology = topology
        self._user = user
        self._address = address
        self._name = queue.name
        self._channel: Channel | None = None
        self._attempt = 0
        self._step_since: float | None = None  # while an answer is due
        self._step_limit_s = STEP_TIMEOUT_S
        self._retry_at: float | None = None
        self._at_once_after = 0.0
        self._look_at = 0.0
        self._backoff = Backoff()
        self._doubts = doubts
        self._is_probing = self._is_missing = self._is_settling = False
        self._is_suspect = doubts.is_suspect(queue.name)
        self._is_reviving = doubts.is_to_revive(queue.name)
        self._tag = ""
        self._pending: list[Change] = []  # on their way
        self._later: list[Change] = []  # when those are done
        self._end: Change | None = None

    def open(self) -> None:
        """Begin to declare."""
        self._reset()
        if not self._connection.is_open:
            return  # it is closing: everything is made anew with the next
        self._step_since = time.monotonic()
        attempt = self._attempt = self._attempt + 1
        self._connection.channel(
            on_open_callback=lambda channel: self._on_open(channel, attempt=attempt)
        )

    @abstractmethod
    def _delete(self, channel: Channel) -> None:
        """Delete the queue on *channel*, which was opened for that."""

    @abstractmethod
    def _ended(self) -> None:
        """Take note that the end that was wished for is reached."""

    @abstractmethod
    def _carry_out(self) -> None:
        """Carry out what waits until the queue stands."""

    # -- Opening -------------------------------------------------------------------

    def forget(self) -> None:
        """Take note that the channel is gone."""
        if self.consumption is not None:
            self.consumption.is_over = True
        self.consumption = None
        self._channel = None
        self.is_standing = False

    def _reset(self) -> None:
        self.forget()
        self._retry_at = None
        self._pending.clear()
        self._later.clear()

    def _on_open(self, channel: Channel, *, attempt: int) -> None:
        if attempt != self._attempt:
            channel.close()  # it was given up
            return
        self._channel = channel
        channel.add_on_close_callback(self._on_closed)
        channel.add_on_cancel_callback(lambda _: self._on_cancelled(channel))
        if self._end is not None:
            self._delete(channel)
        elif self._is_reviving:
            self._step_limit_s = REVIVE_TIMEOUT_S
            channel.queue_delete(self._name, callback=self._if(channel, self._on_revived))
        elif self.queue.is_exclusive or self._is_missing:
            self._declare(channel)
        else:
            # The answer to a declaration does not tell whether the queue was there.
            self._is_probing = True
            channel.queue_declare(
                self._name, passive=True, callback=self._if(channel, self._on_found)
            )

    def _if(self, channel: Channel, call: Callable[[Channel, Method], None]) -> Any:
        """Return a callback that calls *call* unless *channel* was given up meanwhile."""

        def on_answer(frame: Method) -> None:
            if not channel.is_open:
                return  # it is closing, and whoever closed it goes on from there
            if channel is self._channel:
                self._step_since = time.monotonic()
                call(channel, frame)
            else:
                channel.close()

        return on_answer

    def _on_revived(self, channel: Channel, _frame: Method) -> None:
        self._is_reviving, self._is_missing = False, True
        self._declare(channel)

    def _on_found(self, channel: Channel, _frame: Method) -> None:
        self._is_probing = False
        self._declare(channel)

    def _declare(self, channel: Channel) -> None:
        queue = self.queue
        if self._is_missing:
            self._doubts.making(queue.name)
        channel.queue_declare(
            queue.name,
            exclusive=queue.is_exclusive,
            durable=not queue.is_exclusive,
            auto_delete=queue.is_exclusive,
            arguments=arguments_of(queue),
            callback=self._if(channel, self._on_declared),
        )

    def _on_declared(self, channel: Channel, frame: Method) -> None:
        self._name = frame.method.queue
        if self._is_missing:
            self._is_missing = False
            # Before it is bound: what is confirmed in it must not be forgotten with it.
            self._is_settling = True
            have_noted(channel, self._name, self._if(channel, self._on_noted))
            return
        self._bind_all(channel)

    def _on_noted(self, channel: Channel, _frame: Method) -> None:
        self._is_settling = False
        self._doubts.settled(self.queue.name)
        self._bind_all(channel)

    def _bind_all(self, channel: Channel) -> None:
        part = self._topology.part(self.queue.label)
        if part is None or self._end is not None:
            return  # the change that took it away is on its way
        if are_alike(self.queue, part.queue):
            self.queue = part.queue
        limit_s = SUSPECT_TIMEOUT_S if self._is_suspect else STEP_TIMEOUT_S
        self._step_limit_s = limit_s + BINDING_TIMEOUT_S * len(part.bindings)
        # Without an answer each: the channel keeps the order, so the last one tells of all.
        for binding in part.bindings:
            self._bind(channel, binding, None)
        for binding in part.unbindings:
            self._unbind(channel, binding, ignore)
        self._consume(channel, part.generation)

    def _consume(self, channel: Channel, generation: int) -> None:
        stands = self._if(channel, lambda _channel, frame: self._stands(frame, generation))
        if not self.queue.is_consumed and self._is_suspect:
            # Only who consumes learns that there is no leader.
            self._tag = channel.basic_consume(
                self._name, ignore_message, callback=self._if(channel, self._on_cleared)
            )
            return
        if not self.queue.is_consumed:
            channel.queue_declare(self._name, passive=True, callback=stands)
            return
        self.consumption = consumption = self.consumption or Consumption(self.queue, channel)
        channel.basic_qos(prefetch_count=self.queue.prefetch)
        on_message = self._user.on_message
        self._tag = channel.basic_consume(
            self._name,
            lambda _, method, properties, body: on_message(consumption, method, properties, body),
            exclusive=self.queue.is_exclusive,
            callback=stands,
        )

    def _on_cleared(self, _channel: Channel, _frame: Method) -> None:
        self._is_suspect = False
        self._close()
        self.open()

    def _stands(self, _frame: Method, generation: int) -> None:
        self._step_since = None
        self._look_at = time.monotonic() + LOOK_INTERVAL_S
        is_new = self._doubts.stood(self.queue.name)
        self._backoff.connected()
        self.is_standing = self.is_tried = True
        self._topology.stands(self.queue.label, generation)
        self._later = [change for change in self._later if change.generation > generation]
        self._user.stood(self, is_new=is_new)
        self._carry_out()

    def _bind(self, channel: Channel, binding: Binding, answer: Any) -> None:
        exchange = binding.exchange or self._topology.exchange
        channel.queue_bind(self._name, exchange, binding.pattern, callback=answer)

    def _unbind(self, channel: Channel, binding: Binding, answer: Any) -> None:
        # pika has no queue.unbind without an answer.
        exchange = binding.exchange or self._topology.exchange
        channel.queue_unbind(self._name, exchange, binding.pattern, callback=answer)

    def _close(self) -> None:
        channel = self._channel
        self.forget()
        self._attempt += 1
        self._step_since = None
        if channel is not None and channel.is_open:
            keep_consumers(channel)
            channel.close()

    # -- Failing -------------------------------------------------------------------

    def _on_cancelled(self, channel: Channel) -> None:
        # Deleted by somebody, expired, or the node that had it failed.
        if channel is not self._channel or self._end is not None:
            return
        error = BrokerUnavailable(
            f"the broker at {self._address.where} cancelled the consumer of queue '{self._name}': "
            "it was deleted, or the node that had it failed"
        )
        self._close()
        self._fail(error, at_once=True)

    def _on_closed(self, channel: Channel, reason: Exception) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        if not isinstance(reason, ChannelClosedByBroker):
            if self._end is not None:
                self._ended()
            return  # else with the connection, which is made anew with everything
        if self._is_settling and self._end is None:
            # There is no right to more than this queue: time does it as well.
            self._is_settling, self.is_tried = False, True
            self._step_since, self._retry_at = None, time.monotonic() + SETTLE_S
            self._doubts.settled(self.queue.name)
            return
        if self._is_probing and reason.reply_code == NOT_FOUND and is_missing(reason):
            self._is_probing, self._is_missing = False, True
            self.open()
            return
        self._fail_with(reason)

    def _fail_with(self, reason: ChannelClosedByBroker) -> None:
        # Deleted just now, by whomever: bindings on their way to it are made with it anew.
        is_gone = reason.reply_code == NOT_FOUND and is_missing(reason)
        is_refusal = not is_gone and reason.reply_code in (*REFUSALS, NOT_FOUND)
        error: AntiphonError
        if (self.queue.is_exclusive and not is_gone) or reason.reply_code == NO_RIGHT:
            error = explain(reason, self._address)
        else:
            error = (BrokerRefused if is_refusal else BrokerUnavailable)(
                f"the broker at {self._address.where} closed the channel of queue "
                f"'{self._name}': {reason.reply_text}"
            )
        if self._end is not None:
            self._topology.refuse([self._end], error)
            self._topology.deleted(self.queue.name)
            self._ended()
            return
        stood = self.is_standing
        if self._pending and is_refusal:
            # Without the bindings on their way, which were refused, the rest can stand again.
            self._topology.refuse(self._pending, error)
        elif self.queue.is_exclusive and not stood:  # a durable one is in nobody's way
            label, text = self.queue.label, reason.reply_text
            is_refusal = not take_back_bindings(self._topology, label, text, error) and is_refusal
        is_refusal = is_refusal and not stood and reason.reply_code in REFUSALS
        self._fail(error, at_once=stood, is_refusal=is_refusal)

    def _give_up(self) -> None:
        # Not closed: the broker's channel is stuck, and its answer may come after all.
        error = BrokerUnavailable(
            f"queue '{self._name}' at {self._address.where} has not answered for "
            f"{self._step_limit_s:.0f} s: it may have no leader; if none of its nodes is down, "
            "RabbitMQ has lost it in a crash: delete it (rabbitmqctl delete_queue)"
        )
        is_consuming = self.consumption is not None
        self.forget()
        self._attempt += 1
        if self._end is not None:
            self._ended()
        elif self._is_suspect and not self._is_reviving:
            logger.warning("%s; it was made just before the broker was lost: making it anew", error)
            self._doubts.revive(self.queue.name)
            self._is_suspect, self._is_reviving = False, True
            self.is_tried = True
            self.open()
        else:
            self._is_reviving = False
            if is_consuming:
                self._doubts.keep_apart(self.queue.name, self._address)
            self._fail(error)

    @property
    def is_apart(self) -> bool:
        """Whether it must not be tried beside others now."""
        return self._doubts.is_apart(self.queue.name)

    def stay_apart(self) -> None:
        """Begin without the queue, which is tried over a connection of its own."""
        self._fail(
            BrokerUnavailable(
                f"queue '{self._name}' at {self._address.where} does not answer those who consume "
                "from it: it may have no leader"
            )
        )

    def _fail(
        self, error: AntiphonError, *, at_once: bool = False, is_refusal: bool = False
    ) -> None:
        now = time.monotonic()
        self._step_since = None
        self.forget()
        self._is_probing = False
        self.is_tried = True
        self._topology.trouble(self.queue.label, error, is_refusal=is_refusal)
        self._user.failed(self, error)
        if self.queue.is_exclusive:
            return
        if at_once and now >= self._at_once_after:
            self._at_once_after = now + AT_ONCE_INTERVAL_S
            self.open()
        else:
            self._retry_at = now + self._backoff.next_delay_s()
