"""What happens to a queue while the connection stands: changed, drained, deleted."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import takewhile

from pika.channel import Channel
from pika.frame import Method

from antiphon.messaging.amqp_arguments import are_alike
from antiphon.messaging.amqp_callbacks import ignore, keep_consumers
from antiphon.messaging.amqp_queue import QueueChannel
from antiphon.messaging.declarations import Binding, Change, QueueSpec


class Lane(QueueChannel):
    """A queue that follows the changes of its topology; see ``QueueChannel``."""

    def feed(self, change: Change) -> None:
        """Carry *change* out, now or when those before it are done."""
        if self._end is not None:
            return  # whoever wants the queue again gets a new lane
        if isinstance(change.what, QueueSpec) and not change.is_wanted:
            self._finish(change)
        elif isinstance(change.what, QueueSpec) and not are_alike(self.queue, change.what):
            self.queue = change.what
            self._close()
            self.open()
        else:
            self._later.append(change)
            self._carry_out()

    def ticked(self) -> None:
        """Do what must be done about once a second."""
        now = time.monotonic()
        if self.consumption is not None:
            self.consumption.acknowledge(now=True)
        if self.queue.is_exclusive:
            return  # goes with the connection, whose silence is noticed by the link
        elif self._step_since is not None and self._is_late(now - self._step_since):
            self._give_up()
        elif self._retry_at is not None and now >= self._retry_at and not self.is_apart:
            self.open()
        elif self.is_standing and not self.queue.is_consumed and now >= self._look_at:
            self._look()

    def _is_late(self, waited_s: float) -> bool:
        # A broker that hangs as a whole is noticed by the link, after a heartbeat.
        patience_s = self._address.heartbeat_s + 1 if self._user.is_silent() else 0
        return waited_s > self._step_limit_s + patience_s

    def leave(self) -> None:
        """Acknowledge what was handled, for the connection is about to be closed."""
        if self.consumption is not None:
            self.consumption.acknowledge(now=True)
            self.consumption.is_over = True
        if self._channel is not None:
            keep_consumers(self._channel)

    # -- Changing ------------------------------------------------------------------

    def _carry_out(self) -> None:
        channel = self._channel
        if not self.is_standing or self._pending or not self._later or channel is None:
            return
        first = self._later[0]
        if isinstance(first.what, QueueSpec):
            del self._later[0]
            self._consume_anew(channel, first.what, first.generation)
            return
        self._pending = list(
            takewhile(lambda change: isinstance(change.what, Binding), self._later)
        )
        del self._later[: len(self._pending)]
        self._step_since = time.monotonic()
        for change in self._pending:
            is_last = change is self._pending[-1]
            answer = self._if(channel, self._on_carried_out) if is_last else None
            if isinstance(change.what, Binding) and change.is_wanted:
                self._bind(channel, change.what, answer)
            elif isinstance(change.what, Binding):
                self._unbind(channel, change.what, answer or ignore)

    def _on_carried_out(self, _channel: Channel, _frame: Method) -> None:
        self._step_since = None
        pending, self._pending = self._pending, []
        self._topology.stands(self.queue.label, pending[-1].generation)
        self._carry_out()

    def _consume_anew(self, channel: Channel, queue: QueueSpec, generation: int) -> None:
        # On the same channel, where what is under way can still be acknowledged.
        self.queue = queue
        if self.consumption is not None:
            self.consumption.spec = queue
        self._cancel(channel, lambda channel, _frame: self._consume(channel, generation))

    def _cancel(self, channel: Channel, then: Callable[[Channel, Method], None]) -> None:
        self.is_standing = False
        self._step_since = time.monotonic()
        channel.basic_cancel(self._tag, callback=self._if(channel, then))
        # pika would reject what is on its way, and a quorum queue would take that to its end.
        getattr(channel, "_cancelled", set()).discard(self._tag)

    def _look(self) -> None:
        channel = self._channel
        if channel is not None:
            self._step_since = time.monotonic()
            self._declare(channel)

    # -- Ending --------------------------------------------------------------------

    def _finish(self, change: Change) -> None:
        self._end = change
        self._later.clear()
        self._retry_at = None
        channel = self._channel
        self._step_since = time.monotonic()
        if change.deletes or self.queue.is_exclusive:
            if channel is None or not self.is_standing:
                self._close()
                self.open()
            else:
                self._delete(channel)
        elif channel is None or self.consumption is None or not self.is_standing:
            self._close()
            self._ended()
        else:
            # What is not handled goes back in one step with the consumer: if it were
            # cancelled first, the next one would get newer messages before these.
            self.consumption.acknowledge(now=True)
            self.consumption.is_over = True
            keep_consumers(channel)
            channel.close()

    def _delete(self, channel: Channel) -> None:
        # One that is not there is no error to RabbitMQ.
        channel.queue_delete(self._name, callback=self._if(channel, self._on_deleted))

    def _on_deleted(self, _channel: Channel, _frame: Method) -> None:
        self._topology.deleted(self.queue.name)
        self._close()
        self._ended()

    def _ended(self) -> None:
        self._step_since = None
        self.is_standing = False
        self.is_tried = True
        if self._end is not None:
            self._topology.stands(self.queue.label, self._end.generation)
        self._doubts.release(self.queue.name)
        self._user.ended(self)
