"""One AMQP connection that is kept up, on a thread of its own.

pika is not thread-safe, and a listener must not cost a heartbeat: so each
connection lives on one thread that does nothing else.  A link connects, hands
the open channel to its user, notices when the broker falls silent, and starts
over, for ever, until it is stopped.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from pika.adapters import select_connection
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from pika.exceptions import AMQPError, ChannelWrongStateError, ConnectionWrongStateError

from antiphon.errors import AntiphonError, BrokerUnavailable
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_connection import QuickConnection
from antiphon.messaging.amqp_errors import explain, quieten_library
from antiphon.messaging.amqp_parameters import connection_parameters
from antiphon.messaging.amqp_route import Route
from antiphon.messaging.bell import Bell
from antiphon.messaging.room import doing_io

logger = logging.getLogger(__name__)

#: Seconds between looks at whether the broker still says something.
TICK_S = 1.0

#: Seconds for the broker to answer a polite goodbye.
GOODBYE_TIMEOUT_S = 1.0


class LinkUser(Protocol):
    """What a link works for; everything is called on the link's thread."""

    def opened(self, channel: Channel) -> None:
        """Declare what is needed on *channel*, which is new."""

    def woken(self) -> None:
        """Look for something to do: ``Link.wake`` was called."""

    def ticked(self) -> None:
        """Do what must be done about once a second."""

    def leaving(self) -> None:
        """Say what must be said before the connection is closed on purpose."""

    def lost(self, error: AntiphonError) -> None:
        """Take note that the connection is gone, or could not be made."""

    def blocked(self, reason: str | None) -> None:
        """Take note that the broker accepts nothing for *reason*; None: it does again."""


def _interrupt_pair() -> tuple[socket.socket, socket.socket]:
    # pika makes a TCP connection to itself for this: with packets lost on the loopback
    # interface, accept() may then wait for ever, and the link is never back (seen in chaos).
    pair = socket.socketpair()
    for end in pair:
        end.setblocking(False)
    return pair


def _local(poller: type) -> type:
    return type(poller.__name__, (poller,), {"_get_interrupt_pair": staticmethod(_interrupt_pair)})


_POLLERS = (
    ("epoll", _local(select_connection.EPollPoller)),
    ("kqueue", _local(select_connection.KQueuePoller)),
    ("poll", _local(select_connection.PollPoller)),
    ("select", _local(select_connection.SelectPoller)),
)


class _WatchedLoop(IOLoop):  # type: ignore[misc]
    """pika's loop, which also knows the sockets that it watches, and listens to a bell."""

    def __init__(self, bell: Bell, when_rung: Callable[[], None]) -> None:
        super().__init__()
        self.watched: set[int] = set()
        super().add_handler(bell.fileno(), lambda _fd, _events: when_rung(), self.READ)

    @staticmethod
    def _get_poller(*arguments: Any) -> Any:
        kind = next(kind for name, kind in _POLLERS if hasattr(select, name))
        return kind(*arguments)

    def add_handler(self, fd: int, handler: Callable[[int, int], None], events: int) -> None:
        self.watched.add(fd)
        super().add_handler(fd, handler, events)

    def remove_handler(self, fd: int) -> None:
        self.watched.discard(fd)
        super().remove_handler(fd)


class Link:
    """Keeps one AMQP connection with one channel.

    Args:
        address: where to connect to; while connected, and after a failure, the
            attribute is the address of that one node.
        name: shown by the broker beside the connection, and in thread names.
        user: gets the channel and hears of losses.
    """

    _bell: Bell  # from start() to the end of the thread; rung only while the link is open

    def __init__(self, address: AmqpAddress, name: str, user: LinkUser) -> None:
        quieten_library()
        self.address = address
        self.name = name
        self._user = user
        self._thread = threading.Thread(target=self._run, name=f"antiphon {name}", daemon=True)
        self._loop: _WatchedLoop | None = None
        self._connection: QuickConnection | None = None
        self._is_open = False
        self._is_woken = False
        self._stop = threading.Event()
        self._error: AntiphonError | None = None
        self._told = ""  # the failure that was logged last
        self._bytes_seen = 0
        self._silent_ticks = 0
        #: When the broker last said anything, a tick too early, in seconds since the Unix epoch.
        self.heard_at: float | None = None

    # -- From any thread -----------------------------------------------------------

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._bell = Bell()
        self._thread.start()

    def wake(self) -> None:
        """Have ``woken`` called soon; calls that come before it are one."""
        # The flag is cleared before woken() looks, so nothing is overlooked.
        if not self._is_woken and self._is_open:
            self._is_woken = True
            self._bell.ring()

    def stop(self, timeout_s: float) -> None:
        """Say goodbye, end the thread, and wait for that; twice is fine."""
        self._stop.set()
        if (loop := self._loop) is not None:
            loop.add_callback_threadsafe(self._say_goodbye)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def renew(self, error: AntiphonError) -> None:
        """Have the connection, if it is open, given up because of *error*, and made anew."""
        if (loop := self._loop) is not None and self._is_open:
            loop.add_callback_threadsafe(lambda: self.drop(error) if self._is_open else None)

    def is_alive(self) -> bool:
        """Return whether the thread runs, if it is to."""
        return self._thread.ident is None or self._stop.is_set() or self._thread.is_alive()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's socket without a word on it."""
        self._stop.set()
        self._is_open = False
        if self._loop is None:
            return
        # The numbers stay taken, since the dead thread's objects still hold them.
        null = os.open(os.devnull, os.O_RDWR)
        for fd in self._loop.watched:
            os.dup2(null, fd)
        os.close(null)

    def has_input(self) -> bool:
        """Return whether the socket has something to read; a hint, for any thread."""
        connection = self._connection
        return connection is not None and connection.has_input

    @property
    def silent_s(self) -> float:
        """For how many seconds the broker has said nothing, as far as ticks tell."""
        return self._silent_ticks * TICK_S

    # -- On the link's thread --------------------------------------------------------

    def drop(self, error: AntiphonError) -> None:
        """Give the connection up because of *error*, and start over."""
        if self._error is None:
            self._error = error
        self._is_open = False
        self._cut()

    def _run(self) -> None:
        with doing_io():
            self._keep_up()
        self._bell.close()

    def _keep_up(self) -> None:
        route = Route(self.address)
        while not self._stop.is_set():
            if (address := route.choose()) is None:
                self._stop.wait(route.pause_s())
                continue
            self.address = address
            self._connect_and_serve(route)
            error = self._error or BrokerUnavailable(f"the connection to {address.where} ended")
            delay_s, report = route.failed(address, error)
            if not self._stop.is_set() and report is not None:
                self._user.lost(report)
            self._stop.wait(delay_s)

    def _connect_and_serve(self, route: Route) -> None:
        self._error = None
        self._bytes_seen = self._silent_ticks = 0
        self._loop = loop = _WatchedLoop(self._bell, self._on_woken)
        try:
            self._connection = QuickConnection(
                connection_parameters(self.address, self.name),
                on_open_callback=lambda connection: self._on_open(connection, route),
                on_open_error_callback=lambda _, exc: self._on_closed(exc),
                on_close_callback=lambda _, exc: self._on_closed(exc),
                custom_ioloop=loop,
            )
            if self._stop.is_set():  # stop() may have looked before there was a loop
                loop.add_callback_threadsafe(self._say_goodbye)
            loop.call_later(TICK_S, self._on_tick)
            loop.start()
        except Exception as exc:
            # pika raises whatever its state makes it raise; on this thread nobody
            # else would hear of it, and a new connection is the cure for all of it.
            # At the end it is of no interest: an attempt that is ended while it
            # fails trips an assertion in pika 1.4.
            self._tell(exc)
            self._on_closed(exc)
        finally:
            if self._connection is not None and self._connection.failure is not None:
                self._tell(self._connection.failure)
            self._is_open = False
            self._connection = None
            loop.close()

    def _tell(self, failure: Exception) -> None:
        """Log what should not have happened, once while it happens again and again."""
        # What a broker does to the protocol is no failure of ours, and told as a loss.
        if self._stop.is_set() or isinstance(failure, AntiphonError | AMQPError):
            return
        if repr(failure) != self._told:
            self._told = repr(failure)
            logger.error(
                "%s: the AMQP library failed; connecting anew", self.name, exc_info=failure
            )

    def _on_open(self, connection: QuickConnection, route: Route) -> None:
        route.connected()
        connection.add_on_connection_blocked_callback(
            lambda _, frame: self._guarded(self._user.blocked, str(frame.method.reason))
        )
        connection.add_on_connection_unblocked_callback(
            lambda _, frame: self._guarded(self._user.blocked, None)
        )
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Channel) -> None:
        channel.add_on_close_callback(lambda _, reason: self._on_channel_closed(reason))
        if self._connection is not None:
            self._connection.quicken(channel)
        self._is_woken = False
        self._is_open = True
        self._guarded(self._user.opened, channel)

    def _on_channel_closed(self, reason: Exception) -> None:
        if not self._stop.is_set():
            self.drop(explain(reason, self.address))

    def _on_closed(self, exc: BaseException) -> None:
        if self._error is None:
            self._error = explain(exc, self.address)
        if self._loop is not None:
            self._loop.stop()

    def _on_woken(self) -> None:
        self._bell.hush()
        self._is_woken = False
        if self._is_open:
            if self._connection is not None:
                self._connection.resume()
            self._guarded(self._user.woken)

    def _on_tick(self) -> None:
        if self._loop is None:
            return
        self._loop.call_later(TICK_S, self._on_tick)
        if not self._is_open or self._connection is None:
            return
        # Ticks are counted, not seconds: a process that was stopped or suspended
        # has not listened meanwhile, so its broker was not silent.
        seen = self._connection.bytes_seen
        self._silent_ticks = 0 if seen != self._bytes_seen else self._silent_ticks + 1
        self._bytes_seen = seen
        if not self._silent_ticks:
            self.heard_at = time.time() - TICK_S
        limit_s = self.address.heartbeat_s + 1
        if self.address.heartbeat_s and self._silent_ticks * TICK_S >= limit_s:
            self.drop(
                BrokerUnavailable(
                    f"the broker at {self.address.where} has said nothing for {limit_s} s: it "
                    "hangs, or the network between is broken"
                )
            )
            return
        self._guarded(self._user.ticked)

    def _guarded(self, call: Callable[..., None], *args: Any) -> None:
        # An error of ours inside a callback would end pika's loop with the socket open.
        try:
            call(*args)
        except (ChannelWrongStateError, ConnectionWrongStateError) as exc:
            # pika closes the channels before it tells of the connection's end.
            if self._connection is not None and self._connection.is_open:
                logger.exception("%s: internal failure; connecting anew", self.name)
                self.drop(explain(exc, self.address))
        except Exception as exc:
            logger.exception("%s: internal failure; connecting anew", self.name)
            self.drop(explain(exc, self.address))

    def _say_goodbye(self) -> None:
        connection, loop = self._connection, self._loop
        if connection is None or loop is None:
            return
        if self._is_open:
            self._guarded(self._user.leaving)
            self._is_open = False  # the channels are closing now, and nobody may use them
        # close() also ends an attempt to connect; it raises if the end has begun already.
        with contextlib.suppress(ConnectionWrongStateError):
            connection.close()
        loop.call_later(GOODBYE_TIMEOUT_S, self._cut)
        loop.call_later(2 * GOODBYE_TIMEOUT_S, loop.stop)

    def _cut(self) -> None:
        # Shutting the sockets down is the way that pika notices at once, in every
        # state; close() waits for the answer of a broker that may be silent.
        for fd in tuple(self._loop.watched) if self._loop is not None else ():
            try:
                with socket.socket(fileno=os.dup(fd)) as same:
                    same.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # not connected yet, or gone already
