"""Servers from Docker, through testcontainers."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers.base import Server
from antiphon.testing.servers.kept import Keeper, free_ports
from antiphon.testing.servers.programs import find_program
from antiphon.testing.servers.rabbitmq_base import RabbitMQ
from antiphon.testing.servers.redis_base import Redis

#: The images of docker-compose.yml, so that one download serves both.
RABBITMQ_IMAGE = "rabbitmq:4-management"
REDIS_IMAGE = "redis:7"


def docker_obstacle() -> str | None:
    """Return why Docker cannot be used here, or None if it can."""
    if find_program("docker") is None:
        return "there is no docker program"
    try:
        import docker
        import testcontainers.core.container  # noqa: F401
    except ImportError as exc:
        return f"{exc.name} is not installed (pip install 'antiphon[testing]')"
    try:
        client = docker.from_env(timeout=5)
        try:
            client.ping()
        finally:
            client.close()
    except Exception as exc:  # requests', docker's and the system's errors alike
        return f"the Docker daemon does not answer ({type(exc).__name__})"
    return None


class ContainerServer(Server):
    """A server in a container of its own, which is removed with this process."""

    kind = "docker"
    image: ClassVar[str]
    #: Port inside the container.
    inner_port: ClassVar[int]

    def __init__(self) -> None:
        self._port = free_ports(1)[0]
        name = f"antiphon-{secrets.token_hex(4)}"
        # Our keeper removes the container, whatever becomes of this process.
        # testcontainers has a helper image for that; it would be one download more.
        self._keeper = Keeper()
        try:
            self._keeper.at_end([find_program("docker") or "docker", "rm", "-f", "-v", name])
            self._container = self._run(name)
        except Exception as exc:
            self._keeper.close()
            raise ServersUnavailable(f"Docker could not start {self.image}: {exc}") from exc
        except BaseException:
            self._keeper.close()
            raise

    def _run(self, name: str) -> Any:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = True
        container = DockerContainer(self.image, hostname=self.title.lower()).with_name(name)
        # A fixed port, since Docker gives a random one anew at each restart, and one on
        # the loopback interface only, which testcontainers' method for it cannot say.
        ports: dict[str, Any] = container.ports
        ports[f"{self.inner_port}/tcp"] = ("127.0.0.1", self._port)
        if command := self._command():
            container.with_command(command)
        self._docker = container.get_docker_client().client
        return container.start().get_wrapped_container()

    def _command(self) -> list[str]:
        """Return what the container runs; empty for the image's own command."""
        return []

    def start(self) -> None:
        self._container.start()

    def kill(self) -> None:
        self._container.reload()
        if self._container.status == "running":
            self._container.kill()
            self._container.wait(timeout=30)

    def pause(self) -> None:
        self._container.pause()

    def resume(self) -> None:
        self._container.unpause()

    def stop(self) -> None:
        self._keeper.close()
        self._docker.close()

    def log(self) -> str:
        return str(self._container.logs().decode(errors="replace"))

    def failure(self) -> str | None:
        self._container.reload()
        if self._container.status in ("created", "running", "restarting", "paused"):
            return None
        return f"the container of {self.title} ended; the end of its log:\n{self.log()[-2000:]}"


class ContainerRabbitMQ(ContainerServer, RabbitMQ):
    """RabbitMQ in a container."""

    image = RABBITMQ_IMAGE
    inner_port = 5672

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}"

    def rabbitmqctl(self, *args: str) -> str:
        status, output = self._container.exec_run(["rabbitmqctl", *args], user="rabbitmq")
        text = str(output.decode(errors="replace"))
        if status:
            raise ServersUnavailable(f"rabbitmqctl {' '.join(args)} failed: {text.strip()}")
        return text


class ContainerRedis(ContainerServer, Redis):
    """Redis in a container, with ``appendonly yes`` and ``noeviction``."""

    image = REDIS_IMAGE
    inner_port = 6379

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def _command(self) -> list[str]:
        options = ["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        return ["redis-server", *options]
