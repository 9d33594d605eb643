"""Redis as tests see it, however it was found."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import unquote, urlsplit, urlunsplit

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import Server

#: Seconds for one probe or command.
_TIMEOUT_S = 5.0


class Redis(Server):
    """A Redis server; ``redis_url`` is the same as ``url`` and names database 0."""

    title: ClassVar[str] = "Redis"
    #: Databases that :meth:`database` may hand out; Redis has 16 unless told otherwise.
    databases: ClassVar[int] = 16

    @property
    def redis_url(self) -> str:
        """Where clients find it: ``redis://host:port/0``."""
        return self.url

    def answers(self) -> bool:
        # A server that still reads its data says LOADING.
        try:
            return self.command("PING") == b"PONG"
        except ServersUnavailable:
            return False

    def command(self, *words: str, database: int | None = None) -> bytes:
        """Send one command that has a one-line answer, and return that line.

        Args:
            words: the command and its arguments.
            database: number of the database; that of the URL if None.

        Raises:
            ServersUnavailable: Redis cannot be reached, or refused.
        """
        parts = urlsplit(self.url)
        commands = [list(words)]
        number = parts.path.strip("/") if database is None else str(database)
        if number:
            commands.insert(0, ["SELECT", number])
        if parts.password:
            user = [unquote(parts.username)] if parts.username else []
            commands.insert(0, ["AUTH", *user, unquote(parts.password)])
        try:
            address = (parts.hostname or "localhost", parts.port or 6379)
            with (
                socket.create_connection(address, _TIMEOUT_S) as sock,
                sock.makefile("rwb") as file,
            ):
                return _converse(file, commands)
        except OSError as exc:
            raise ServersUnavailable(f"Redis at {self.masked_url}: {exc}") from exc

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of a database that is empty, and empty it afterwards.

        Raises:
            ServersUnavailable: all databases hold data that is not ours.
        """
        number = self._empty_database()
        parts = urlsplit(self.url)
        try:
            yield urlunsplit(parts._replace(path=f"/{number}"))
        finally:
            # A Redis that a test has killed cannot empty anything.
            with contextlib.suppress(ServersUnavailable):
                self.command("FLUSHDB", database=number)

    def _empty_database(self) -> int:
        for _ in range(self.databases):
            number = self.databases - 1 - next(_turns) % self.databases
            if self.command("DBSIZE", database=number) == b"0":
                return number
        raise ServersUnavailable(
            f"none of the {self.databases} databases of {self.masked_url} is empty: "
            "give the tests a Redis of their own"
        )


#: Databases are handed out in turn, so that late writes of one test hit no other.
_turns = itertools.count()


def _converse(file: io.BufferedRWPair, commands: list[list[str]]) -> bytes:
    """Send commands in Redis' protocol; return the last answer without its type mark."""
    for words in commands:
        data = b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        file.write(b"*%d\r\n%s" % (len(words), data))
    file.flush()
    line = b""
    for words in commands:
        line = file.readline().rstrip(b"\r\n")
        if not line or line.startswith(b"-"):
            reason = line[1:].decode(errors="replace") or "closed the connection"
            raise ServersUnavailable(f"Redis answered {words[0]} with: {reason}")
    return line[1:]
