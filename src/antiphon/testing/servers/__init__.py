"""RabbitMQ and Redis for tests and demonstrations: found, or started privately.

In this order, for each of the two:

1. the URLs in ``ANTIPHON_AMQP_URL`` and ``ANTIPHON_REDIS_URL``;
2. the programs on this machine, started for this process only: own data folder,
   free loopback ports, own Erlang node and cookie, shared with no service that runs;
3. Docker, through testcontainers (``pip install 'antiphon[testing]'``);
4. on Debian and as root, apt;
5. else :class:`~antiphon.errors.ServersUnavailable`, which says what to install.

What was started ends with this process, however that ends: also after Ctrl-C, an
exception or ``kill -9``; no process and no file stays behind.

In a test::

    from antiphon.testing.servers import rabbitmq

    with rabbitmq() as broker:
        bus = open_bus(broker.url)
        broker.kill()                      # SIGKILL
        broker.restart()                   # on the same port and data

In a shell, ``python -m antiphon.testing.servers`` starts both, prints the two
``export`` lines, and stops them at Ctrl-C.
"""

from __future__ import annotations

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import Server
from antiphon.testing.servers.finding import find_rabbitmq, find_redis
from antiphon.testing.servers.given import AMQP_VARIABLE, REDIS_VARIABLE
from antiphon.testing.servers.progress import Report, report_to, silent
from antiphon.testing.servers.rabbitmq_base import RabbitMQ, TLSFiles
from antiphon.testing.servers.redis_base import Redis
from antiphon.testing.servers.together import Servers

__all__ = [
    "AMQP_VARIABLE",
    "REDIS_VARIABLE",
    "RabbitMQ",
    "Redis",
    "Report",
    "Server",
    "Servers",
    "ServersUnavailable",
    "TLSFiles",
    "rabbitmq",
    "redis",
    "report_to",
    "silent",
]


def rabbitmq(
    *, given: bool = True, report: Report | None = None, tls: TLSFiles | None = None
) -> RabbitMQ:
    """Find or start RabbitMQ and wait until it answers: 4 to 7 s on two idle cores.

    Args:
        given: whether ``ANTIPHON_AMQP_URL`` counts; with False the broker is one's own,
            so that it may be killed.
        report: takes the lines about what is going on; standard error if None.
        tls: for a broker of one's own that speaks TLS, too, at its ``tls_url``, and lets in
            whoever shows a certificate of the authority (SASL EXTERNAL, by common name).

    Returns:
        The server, a context manager that stops it.

    Raises:
        ServersUnavailable: none was found, or it did not start.
    """
    return find_rabbitmq(report or report_to(), given, _never, tls)


def redis(*, given: bool = True, report: Report | None = None) -> Redis:
    """Find or start Redis and wait until it answers: 0.1 s.

    Args:
        given: whether ``ANTIPHON_REDIS_URL`` counts; with False the server is one's own,
            so that it may be killed.
        report: takes the lines about what is going on; standard error if None.

    Returns:
        The server, a context manager that stops it.

    Raises:
        ServersUnavailable: none was found, or it did not start.
    """
    return find_redis(report or report_to(), given, _never)


def _never() -> bool:
    return False
