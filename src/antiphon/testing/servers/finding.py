"""In which order servers are looked for, and what to say when there are none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TypeVar

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers import containers, given, packages, programs
from antiphon.testing.servers.base import START_TIMEOUT_S, Server
from antiphon.testing.servers.progress import Progress, Report
from antiphon.testing.servers.rabbitmq_base import RabbitMQ, TLSFiles
from antiphon.testing.servers.rabbitmq_private import PrivateRabbitMQ
from antiphon.testing.servers.redis_base import Redis
from antiphon.testing.servers.redis_private import PrivateRedis

_S = TypeVar("_S", bound=Server)

#: Starts of a private server, each with new ports: another process may take one
#: between the choice and the start.
_ATTEMPTS = 3

_HELP = """\
no {title} was found, and none could be started:
  {variable} is not set;
  {program} is not installed on this machine;
  Docker: {docker};
  apt: {apt}.
Do one of these:
  Debian, Ubuntu:  sudo apt-get install rabbitmq-server redis-server
  Fedora:          sudo dnf install rabbitmq-server redis
  macOS:           brew install rabbitmq redis
  Docker:          start it, and pip install 'antiphon[testing]'
  servers that run already:
                   export ANTIPHON_AMQP_URL=amqp://guest:guest@localhost:5672
                   export ANTIPHON_REDIS_URL=redis://localhost:6379/0
The programs need not run as services: private copies are started and stopped."""


def find_rabbitmq(
    report: Report,
    use_given: bool,
    is_cancelled: Callable[[], bool],
    tls: TLSFiles | None = None,
) -> RabbitMQ:
    """Find or start RabbitMQ; see :func:`antiphon.testing.servers.rabbitmq`."""

    def given_server() -> RabbitMQ | None:
        url = os.environ.get(given.AMQP_VARIABLE) if use_given and tls is None else None
        return given.GivenRabbitMQ(url, given.AMQP_VARIABLE) if url else None

    def private_server() -> RabbitMQ | None:
        scripts = programs.find_rabbitmq()
        return PrivateRabbitMQ(scripts, tls) if scripts else None

    search = _Search("RabbitMQ", given.AMQP_VARIABLE, "rabbitmq-server", report, is_cancelled)
    return search.run(given_server, private_server, containers.ContainerRabbitMQ)


def find_redis(report: Report, use_given: bool, is_cancelled: Callable[[], bool]) -> Redis:
    """Find or start Redis; see :func:`antiphon.testing.servers.redis`."""

    def given_server() -> Redis | None:
        url = os.environ.get(given.REDIS_VARIABLE) if use_given else None
        return given.GivenRedis(url, given.REDIS_VARIABLE) if url else None

    def private_server() -> Redis | None:
        program = programs.find_redis()
        return PrivateRedis(program) if program else None

    search = _Search("Redis", given.REDIS_VARIABLE, "redis-server", report, is_cancelled)
    return search.run(given_server, private_server, containers.ContainerRedis)


class _Search:
    """One search, with its reports."""

    def __init__(
        self,
        title: str,
        variable: str,
        program: str,
        report: Report,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._title = title
        self._variable = variable
        self._program = program
        self._report = report
        self._is_cancelled = is_cancelled

    def run(
        self,
        given_server: Callable[[], _S | None],
        private_server: Callable[[], _S | None],
        container_server: Callable[[], _S],
    ) -> _S:
        """Try the four ways in their order; the first one possible decides."""
        server = given_server()
        if server is not None:
            server.wait_ready()
            return server
        with Progress(self._title, self._report) as progress:
            server = self._start(private_server, progress)
            if server is None:
                server = self._start_elsewhere(private_server, container_server, progress)
        self._report(f"{self._title} is ready after {progress.elapsed_s:.1f} s ({server.kind})")
        return server

    def _start_elsewhere(
        self,
        private_server: Callable[[], _S | None],
        container_server: Callable[[], _S],
        progress: Progress,
    ) -> _S:
        docker, apt = containers.docker_obstacle(), packages.apt_obstacle()
        if docker is None:
            progress.doing("starting in Docker (downloads an image the first time):")
            try:
                return self._ready(container_server())
            except ServersUnavailable as exc:
                docker = str(exc)
        if apt is None:
            progress.doing("installing from Debian's packages:")
            try:
                packages.install_servers()
            except ServersUnavailable as exc:
                apt = str(exc)
            else:
                server = self._start(private_server, progress)
                if server is not None:
                    return server
                apt = "the packages were installed, but the program was not found"
        raise ServersUnavailable(
            _HELP.format(
                title=self._title,
                variable=self._variable,
                program=self._program,
                docker=docker,
                apt=apt,
            )
        )

    def _start(self, private_server: Callable[[], _S | None], progress: Progress) -> _S | None:
        """Start the program of this machine; None if there is none."""
        for attempt in range(1, _ATTEMPTS + 1):
            server = private_server()
            if server is None:
                return None
            if attempt == 1:
                progress.doing("starting")
            try:
                return self._ready(server)
            except ServersUnavailable as exc:
                # Redis: "Address already in use"; Erlang: "eaddrinuse".
                is_port_taken = "already in use" in str(exc) or "addrinuse" in str(exc)
                if attempt == _ATTEMPTS or not is_port_taken:
                    raise
        return None

    def _ready(self, server: _S) -> _S:
        try:
            server.wait_ready(START_TIMEOUT_S, self._is_cancelled)
        except BaseException:
            with contextlib.suppress(ServersUnavailable):
                server.stop()
            raise
        return server
