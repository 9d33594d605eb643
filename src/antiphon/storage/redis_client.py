"""The only module that imports redis-py: calls, retries, and its errors made ours."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from antiphon.errors import (
    AuthorizationError,
    InvalidURL,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from antiphon.storage.redis_calls import (
    PackedCall,
    ScriptCall,
    by_digest,
    by_source,
    in_one,
    packed,
)
from antiphon.storage.redis_refusals import refusal, unreachable
from antiphon.storage.redis_scripts import Script
from antiphon.storage.redis_url import RedisAddress
from antiphon.storage.redis_wire import pack_command

_T = TypeVar("_T")

#: Seconds before the first repetition of a call, doubled each time up to the last.
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5

#: As good as no limit: redis-py's own is 100, and a program with more threads would fail.
_MAX_CONNECTIONS = 1 << 20


class RedisClient:
    """Connections to one Redis, for all threads of a process.

    A connection is made when it is first needed and again when it broke.  After
    a fork the child makes its own (redis-py's pool compares process ids).

    Args:
        address: where and how.
    """

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        #: Called with ``call(*command)`` on each new connection, before it is used.
        self.on_connect: list[Callable[[Callable[..., Any]], None]] = []
        # Any: what redis-py says of its own types changes between its releases.
        self._redis: Any = redis.Redis(**self._settings())
        self._pid = os.getpid()
        self._is_closed = False
        # Connections that nobody uses now, the last used one last.  The pool of redis-py
        # takes as long to give one out as Redis takes to answer.
        self._idle: list[Any] = []
        # Connections on which Redis has been asked to answer when something happens,
        # and what says whether it has.
        self._waiting: dict[Any, Callable[[], bool]] = {}

    def _settings(self) -> dict[str, Any]:
        address = self.address
        settings: dict[str, Any] = {
            "db": address.database,
            "username": address.username,
            "password": address.password,
            "socket_timeout": address.timeout_s,
            "socket_connect_timeout": address.connect_timeout_s,
            # redis-py would repeat calls that must not be repeated.
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "max_connections": _MAX_CONNECTIONS,
            "redis_connect_func": self._connected,
        }
        if address.path:
            return {**settings, "unix_socket_path": address.path}
        settings |= {"host": address.host, "port": address.port, "socket_keepalive": True}
        return settings if address.tls is None else {**settings, "ssl": True, **address.tls}

    def _connected(self, connection: Any) -> None:
        connection.on_connect()

        def call(*command: Any) -> Any:
            connection.send_command(*command)
            return connection.read_response()

        for listener in self.on_connect:
            listener(call)

    def close(self) -> None:
        """Close all connections; who waits in ``wait_for`` is let go.  Twice is fine."""
        self._is_closed = True
        self.interrupt()
        self._disconnect_idle()
        with contextlib.suppress(RedisError, OSError):
            self._redis.close()

    def interrupt(self) -> None:
        """Have each ``wait_for`` under way fail as if its connection had broken."""
        if self._pid == os.getpid():
            for connection in list(self._waiting):
                _interrupt(connection)

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._is_closed

    def has_input(self) -> bool:
        """Return whether a ``wait_for`` has an answer that its thread has not read yet; a hint."""
        return any(is_there() for is_there in list(self._waiting.values()))

    def _disconnect_idle(self) -> None:
        taken = []
        with contextlib.suppress(IndexError):
            while True:  # One by one: another thread may take one at any moment.
                taken.append(self._idle.pop())
        for connection in taken:
            with contextlib.suppress(RedisError, OSError):
                connection.disconnect()
        # They connect again when they are used.
        self._idle += taken

    def _take(self, *, may_be_stale: bool) -> Any:
        if self._pid != os.getpid():
            # What a child would send on them, its parent would read the answers of.
            self._pid, self._idle, self._waiting = os.getpid(), [], {}
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._redis.connection_pool.make_connection()
        if not may_be_stale:
            _refresh(connection)
        return connection

    def _give_back(self, connection: Any) -> None:
        self._idle.append(connection)
        if self._is_closed:
            self._disconnect_idle()

    # -- Calls ---------------------------------------------------------------

    def call(self, *command: Any, retry: bool = True) -> Any:
        """Send one command and return its answer.

        Args:
            command: the command's words.
            retry: whether it may be sent again when no answer came, for up to
                ``address.retry_s`` seconds.

        Raises:
            StoreError: the leaf of the tree that fits; see the module's table.
        """
        return self.call_packed(pack_command(*command), retry=retry)

    def call_packed(self, command: bytes, *, retry: bool = True) -> Any:
        """Do what ``call`` does with a command that ``pack_command`` made."""
        return self._again(lambda: _checked(self._exchange([command], 1, retry))[0], retry)

    def calls(self, commands: Sequence[tuple[Any, ...]], *, retry: bool = True) -> list[Any]:
        """Send several commands in one round trip, in order, and return their answers.

        Others' commands may run between them.  Raises as ``call`` does; the
        commands after the one that failed were run.
        """
        return self.calls_packed([pack_command(*command) for command in commands], retry=retry)

    def calls_packed(self, commands: Sequence[bytes], *, retry: bool = True) -> list[Any]:
        """Do what ``calls`` does with commands that ``pack_command`` made."""
        return self._again(lambda: _checked(self._exchange(commands, len(commands), retry)), retry)

    def wait_for(self, commands: Sequence[bytes], wait_s: float) -> list[Any]:
        """Send several commands, the first of which Redis may answer as late as in *wait_s*.

        On a connection that nobody else uses meanwhile; nothing is sent again, and
        ``close()`` ends it.  Raises as ``call`` does.
        """
        return self._again(
            lambda: _checked(self._exchange(commands, len(commands), wait_s=wait_s)), retry=False
        )

    def run(
        self, script: Script, keys: Sequence[Any], args: Sequence[Any], *, retry: bool = True
    ) -> Any:
        """Run a script as one step; Redis is given its text when it does not know it."""
        return self._again(lambda: self._run(script, keys, args, retry), retry)

    def run_all(
        self, calls: Callable[[bool], Sequence[ScriptCall | PackedCall | bytes]]
    ) -> list[Any]:
        """Run several scripts in one round trip, in order, and return their answers.

        Others' commands may run between them.

        Args:
            calls: called with whether it is a repetition, returns the scripts
                to run with their keys and arguments, or commands that
                ``pack_command`` made.  They have to know by themselves that
                they ran before.
        """
        tried: list[bool] = []

        def send() -> list[Any]:
            given = calls(bool(tried))
            tried.append(True)
            answers = self._exchange([packed(call) for call in given], len(given))
            if any(isinstance(answer, NoScriptError) for answer in answers):
                answers = self._exchange(
                    [packed(call, with_source=True) for call in given], len(given)
                )
            return _checked(answers)

        return self._again(send, retry=True)

    def _run(self, script: Script, keys: Sequence[Any], args: Sequence[Any], retry: bool) -> Any:
        answers = self._exchange([pack_command(*by_digest(script, keys, args))], 1, retry)
        if isinstance(answers[0], NoScriptError):
            answers = self._exchange([pack_command(*by_source(script, keys, args))], 1)
        return _checked(answers)[0]

    def _exchange(
        self,
        commands: Sequence[bytes],
        count: int,
        may_be_stale: bool = True,
        wait_s: float = 0.0,
    ) -> list[Any]:
        """Send commands, and return the *count* answers, refusals among them.

        Args:
            may_be_stale: whether a connection may be used that Redis has closed
                meanwhile; who cannot repeat what it sends finds out before.
            wait_s: how much later than usual the first answer may come.
        """
        connection = self._take(may_be_stale=may_be_stale)
        answers: list[Any] = []
        try:
            connection.send_packed_command(in_one(commands))
            if wait_s:
                self._await(connection, wait_s)
            for _ in range(count):
                try:
                    answers.append(connection.read_response())
                except ResponseError as exc:
                    answers.append(exc)
        except BaseException:
            # The others are most likely as dead; and this one may still have an answer to come.
            connection.disconnect()
            self._disconnect_idle()
            raise
        finally:
            self._give_back(connection)
        return answers

    def _await(self, connection: Any, wait_s: float) -> None:
        self._waiting[connection] = _looking_at(connection)
        try:
            # Whoever closes looks who waits after having said so.
            if self._is_closed:
                raise redis.exceptions.ConnectionError("it was closed meanwhile")
            if not connection.can_read(wait_s + self.address.timeout_s):
                raise redis.exceptions.TimeoutError("no answer")
        finally:
            self._waiting.pop(connection, None)

    def _again(self, send: Callable[[], _T], retry: bool) -> _T:
        began = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        retries = 0
        while True:
            try:
                return send()
            except (RedisError, OSError) as exc:
                error = self._mapped(exc)
                waited_s = time.monotonic() - began
                # One repetition in any case: it finds out what became of a call
                # whose answer was lost after a long wait.
                is_late = retries > 0 and waited_s + pause_s > self.address.retry_s
                if not retry or not isinstance(error, StoreUnavailable) or is_late:
                    raise error from _short(exc)
            retries += 1
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    # -- Errors --------------------------------------------------------------

    def _mapped(self, exc: Exception) -> StoreError | InvalidURL:
        """Return our error for one of redis-py's."""
        where = f"Redis at {self.address}"
        # Who has not logged in may not even send a long command.
        is_stranger = "unauthenticated" in str(exc)
        if is_stranger or isinstance(
            exc, AuthenticationError | AuthenticationWrongNumberOfArgsError
        ):
            return AuthorizationError(
                f"{where} refused the user name or password, or wants one:"
                " give it in the URL or to connect()"
            )
        if isinstance(exc, NoPermissionError) or "The user executing the script can't" in str(exc):
            return refusal(where, f"NOPERM {exc}", said=str(exc))
        if not isinstance(exc, ResponseError):
            is_timeout = isinstance(exc, redis.exceptions.TimeoutError)
            return unreachable(where, str(exc), type(exc).__name__, self.address, is_timeout)
        return self._refused(where, exc)

    def _refused(self, where: str, exc: ResponseError) -> StoreError | InvalidURL:
        text = str(exc)
        if isinstance(exc, redis.exceptions.OutOfMemoryError) or "OOM" in text:
            return StoreFull(f"{where} {self._no_memory()}")
        if isinstance(exc, redis.exceptions.ReadOnlyError):
            text = f"READONLY {text}"
        elif isinstance(exc, redis.exceptions.ClusterCrossSlotError | redis.exceptions.AskError):
            text = f"MOVED {text}"
        elif isinstance(exc, redis.exceptions.ClusterDownError):
            text = f"CLUSTERDOWN {text}"
        elif isinstance(exc, redis.exceptions.TryAgainError):
            text = f"TRYAGAIN {text}"
        if "DB index is out of range" in text or "invalid DB index" in text:
            return InvalidURL(f"{where}: it has no database {self.address.database}")
        return refusal(where, text)

    def _no_memory(self) -> str:
        """Say what the limit is, where Redis tells."""
        limit = "…"
        with contextlib.suppress(RedisError, OSError):
            memory = _checked(self._exchange([pack_command("INFO", "memory")], 1))[0].decode()
            limit = "".join(re.findall(r"^maxmemory:(\d+)", memory, re.MULTILINE)) + " bytes"
        return (
            f"has no memory left (maxmemory {limit}, noeviction): nothing was written;"
            " delete something, or raise maxmemory"
        )


def _looking_at(connection: Any) -> Callable[[], bool]:
    """Return what says, without waiting, whether something has come on *connection*."""
    sock = getattr(connection, "_sock", None)
    if sock is None or not hasattr(select, "poll"):
        return bool
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda: bool(poll.poll(0))


def _interrupt(connection: Any) -> None:
    """Have whoever reads from *connection* find it at its end."""
    # Not closed: its thread still has the number of the file, which another one would get.
    sock = getattr(connection, "_sock", None)
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _refresh(connection: Any) -> None:
    """Have *connection* connect anew, if the server has closed it."""
    try:
        is_dirty = connection.can_read()
    except (RedisError, OSError):
        is_dirty = True
    if is_dirty:
        connection.disconnect()


def _checked(answers: list[Any]) -> list[Any]:
    """Return *answers*, or raise the first that is an error."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _short(exc: Exception) -> Exception:
    """Return *exc* without what it came from: redis-py has four errors on top of each other."""
    exc.__cause__, exc.__suppress_context__ = None, True
    return exc.with_traceback(None)
