"""Servers whose URL is in the environment: used, and left alone."""

from __future__ import annotations

from typing import Never

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import Server
from antiphon.testing.servers.rabbitmq_base import RabbitMQ
from antiphon.testing.servers.redis_base import Redis

#: The environment variables that name servers.
AMQP_VARIABLE = "ANTIPHON_AMQP_URL"
REDIS_VARIABLE = "ANTIPHON_REDIS_URL"


class GivenServer(Server):
    """A server that somebody else runs: nothing that could harm others is possible.

    Args:
        url: where it is.
        variable: the environment variable that said so, for messages.
    """

    kind = "given"
    is_ours = False

    def __init__(self, url: str, variable: str) -> None:
        self._url = url
        self._variable = variable

    @property
    def url(self) -> str:
        return self._url

    def _refuse(self, deed: str) -> Never:
        raise ServersUnavailable(
            f"will not {deed} the {self.title} of {self._variable}, which is not ours: "
            f"unset {self._variable}, or ask for a server of one's own with given=False"
        )

    def kill(self) -> None:
        self._refuse("kill")

    def start(self) -> None:
        self._refuse("start")

    def pause(self) -> None:
        self._refuse("pause")

    def resume(self) -> None:
        self._refuse("resume")

    def stop(self) -> None:
        pass

    def log(self) -> str:
        return ""

    def failure(self) -> str | None:
        # It was said to be there, so it is not waited for.
        return (
            f"nothing that speaks {self.title}'s protocol answers at {self.masked_url}: start it, "
            f"or unset {self._variable} to have one started"
        )


class GivenRabbitMQ(GivenServer, RabbitMQ):
    """The RabbitMQ of ``ANTIPHON_AMQP_URL``."""

    def rabbitmqctl(self, *args: str) -> str:
        self._refuse(f"run rabbitmqctl {' '.join(args)} on")


class GivenRedis(GivenServer, Redis):
    """The Redis of ``ANTIPHON_REDIS_URL``."""
