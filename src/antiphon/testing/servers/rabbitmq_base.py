"""RabbitMQ as tests see it, however it was found."""

from __future__ import annotations

import contextlib
import secrets
import socket
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import Server

#: The first bytes of an AMQP 0-9-1 client; a broker answers them with Connection.Start.
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"

#: Seconds for one probe.
_PROBE_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """PEM files of a broker that speaks TLS.

    Attributes:
        cafile: the authority whose client certificates are accepted.
        certfile: the broker's certificate, for the name ``localhost``.
        keyfile: its key.

    Raises:
        ServersUnavailable: one of them is not there.
    """

    cafile: Path
    certfile: Path
    keyfile: Path

    def __post_init__(self) -> None:
        """Make paths absolute: the broker runs in a folder of its own, and ends without them."""
        for field in fields(self):
            path = Path(getattr(self, field.name)).absolute()
            if not path.is_file():
                raise ServersUnavailable(f"{field.name}={path} is no file; make it first")
            object.__setattr__(self, field.name, path)


class RabbitMQ(Server):
    """A RabbitMQ server; ``amqp_url`` is the same as ``url``."""

    title: ClassVar[str] = "RabbitMQ"

    @property
    def amqp_url(self) -> str:
        """Where clients find it: ``amqp://user:password@host:port`` of the default virtual host."""
        return self.url

    @property
    def tls_url(self) -> str:
        """Where clients find it by TLS: ``amqps://user:password@localhost:port``.

        Raises:
            ServersUnavailable: it was not started with ``rabbitmq(tls=…)``.
        """
        raise ServersUnavailable(
            "this RabbitMQ does not speak TLS: it needs rabbitmq(tls=TLSFiles(…)), and the program "
            "on this machine"
        )

    def answers(self) -> bool:
        parts = urlsplit(self.url)
        try:
            address = (parts.hostname or "localhost", parts.port or 5672)
            with socket.create_connection(address, _PROBE_TIMEOUT_S) as sock:
                sock.sendall(_PROTOCOL_HEADER)
                return sock.recv(1) == _METHOD_FRAME
        except OSError:
            return False

    @abstractmethod
    def rabbitmqctl(self, *args: str) -> str:
        """Run RabbitMQ's command-line tool on this broker; takes one to three seconds.

        Args:
            args: as on a command line: ``"list_queues", "--quiet", "name", "messages"``.

        Returns:
            What it printed.

        Raises:
            ServersUnavailable: the broker is not ours, or the command failed (with its output).
        """

    @contextlib.contextmanager
    def vhost(self) -> Iterator[str]:
        """Make an empty virtual host, yield its URL, and drop it with all that is in it.

        Raises:
            ServersUnavailable: the broker is not ours, or does not answer.
        """
        name = f"test-{secrets.token_hex(6)}"
        self._make_vhost(name)
        try:
            yield f"{self.url.rstrip('/')}/{name}"
        finally:
            # A broker that a test has killed cannot drop anything, and need not.
            with contextlib.suppress(ServersUnavailable):
                self._drop_vhost(name)

    def _make_vhost(self, name: str) -> None:
        """Make a virtual host in which the user of the URL may do everything."""
        self.rabbitmqctl("add_vhost", name)
        self.rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")

    def _drop_vhost(self, name: str) -> None:
        """Drop a virtual host."""
        self.rabbitmqctl("delete_vhost", name)
