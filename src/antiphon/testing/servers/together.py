"""Both servers at once, started in the background."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import Server
from antiphon.testing.servers.finding import find_rabbitmq, find_redis
from antiphon.testing.servers.progress import Report, report_to
from antiphon.testing.servers.rabbitmq_base import RabbitMQ
from antiphon.testing.servers.redis_base import Redis

_S = TypeVar("_S", bound=Server)


class Servers:
    """RabbitMQ and Redis, found or started in the background, and stopped together.

    :meth:`start` returns at once; :attr:`rabbitmq`, :attr:`redis` and the URLs wait
    until theirs is there.  Nothing is started before :meth:`start`.

    Args:
        given: whether servers named in the environment are used.
        report: takes the lines about what is going on; standard error if None.

    Example::

        with Servers() as servers:          # both begin to start
            prepare()
            run(servers.amqp_url, servers.redis_url)
    """

    def __init__(self, *, given: bool = True, report: Report | None = None) -> None:
        tell = report if report is not None else report_to()
        self._stopping = threading.Event()
        is_cancelled = self._stopping.is_set
        self._rabbitmq = _Starting("rabbitmq", lambda: find_rabbitmq(tell, given, is_cancelled))
        self._redis = _Starting("redis", lambda: find_redis(tell, given, is_cancelled))

    def start(self) -> Self:
        """Begin to start both, if that was not done yet; return this object."""
        self._redis.start()
        self._rabbitmq.start()
        return self

    @property
    def rabbitmq(self) -> RabbitMQ:
        """The RabbitMQ server; waits for it.

        Raises:
            ServersUnavailable: none was found, or it did not start.
        """
        return self._rabbitmq.result()

    @property
    def redis(self) -> Redis:
        """The Redis server; waits for it.

        Raises:
            ServersUnavailable: none was found, or it did not start.
        """
        return self._redis.result()

    @property
    def amqp_url(self) -> str:
        """URL of RabbitMQ; waits for it."""
        return self.rabbitmq.url

    @property
    def redis_url(self) -> str:
        """URL of Redis; waits for it."""
        return self.redis.url

    def stop(self) -> None:
        """Stop what was started here, also what is still starting."""
        self._stopping.set()
        self._rabbitmq.stop()
        self._redis.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _Starting(Generic[_S]):
    """One server that a thread finds, or the reason why it did not."""

    def __init__(self, name: str, find: Callable[[], _S]) -> None:
        self._find = find
        self._server: _S | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"antiphon-servers-{name}", daemon=True
        )

    def start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def _run(self) -> None:
        try:
            self._server = self._find()
        except BaseException as exc:  # raised again in the waiting thread
            self._error = exc

    def result(self) -> _S:
        self.start()
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._server is None:
            raise ServersUnavailable("the servers were stopped")
        return self._server

    def stop(self) -> None:
        if self._thread.ident is None:
            return
        self._thread.join()
        if self._server is not None:
            with contextlib.suppress(ServersUnavailable):
                self._server.stop()
            self._server = None
