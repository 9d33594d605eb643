"""The stack of docker-compose.yml as a project of its own: other ports, other volumes."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]

#: Our services that run for good, and the servers that they need.
OURS = ("invalidator", "store-server", "recorder")
SERVERS = ("rabbitmq", "redis")
ALL = (*SERVERS, *OURS)

#: Variable of each published port -> port in which container.
PORTS = {
    "ANTIPHON_AMQP_PORT": ("rabbitmq", 5672),
    "ANTIPHON_RABBITMQ_UI_PORT": ("rabbitmq", 15672),
    "ANTIPHON_REDIS_PORT": ("redis", 6379),
    "ANTIPHON_INVALIDATOR_PORT": ("invalidator", 8080),
    "ANTIPHON_STORE_SERVER_PORT": ("store-server", 8090),
    "ANTIPHON_STORE_SERVER_HEALTH_PORT": ("store-server", 8080),
    "ANTIPHON_RECORDER_PORT": ("recorder", 8080),
}

#: Where each service says how it is.
HEALTH_PORTS = {
    "invalidator": "ANTIPHON_INVALIDATOR_PORT",
    "store-server": "ANTIPHON_STORE_SERVER_HEALTH_PORT",
    "recorder": "ANTIPHON_RECORDER_PORT",
}

#: Seconds for a command: one of them builds an image, and fetches libraries.
COMMAND_TIMEOUT_S = 900.0

#: Seconds between two looks.
_PAUSE_S = 0.2


class ComposeFailed(AssertionError):
    """A command ended with an error; has what it said."""


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP; status 0 if nobody answered."""

    status: int
    body: bytes = b""

    def json(self) -> Any:
        """Return the body, which is JSON."""
        return json.loads(self.body)


def compose_command() -> list[str]:
    """Return ``docker compose``, or ``docker-compose`` where there is no v2."""
    v2 = ["docker", "compose"]
    found = subprocess.run([*v2, "version"], capture_output=True).returncode == 0
    return v2 if found else ["docker-compose"]


def free_ports(number: int) -> list[int]:
    """Return ports of the loopback interface that nobody has at this moment."""
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in found]


def request(method: str, url: str, body: bytes | None = None, **headers: str) -> Answer:
    """Ask over HTTP."""
    asked = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except OSError as error:
        return Answer(0, str(error).encode())


@dataclass
class Stack:
    """One project of docker compose.

    Attributes:
        project: its name.
        ports: published on 127.0.0.1, by the variable that says so.
        up_s: seconds that ``up`` took until all were healthy, the image being there.
    """

    project: str
    ports: dict[str, int] = field(
        default_factory=lambda: dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    )
    up_s: float = 0.0
    _command: list[str] = field(default_factory=compose_command)
    _shown: dict[str, dict[str, str]] = field(default_factory=dict)

    # -- Commands ------------------------------------------------------------------

    def compose(self, *words: str, given: str | None = None) -> str:
        """Run a command of compose, and return its standard output.

        Raises:
            ComposeFailed: its exit status is not 0.
        """
        command = [*self._command, "-p", self.project, *words]
        return _output(command, env=self._environment(), given=given)

    def _environment(self) -> dict[str, str]:
        ports = {name: str(port) for name, port in self.ports.items()}
        secrets = dict.fromkeys(("RABBITMQ_PASSWORD", "REDIS_PASSWORD", "STORE_TOKEN"), "")
        return os.environ | ports | secrets

    def up(self) -> None:
        """Build, start, and wait until all is healthy."""
        self.compose("build")
        started = time.monotonic()
        self.compose("up", "-d")
        self.wait_healthy(timeout_s=180)
        self.up_s = time.monotonic() - started

    def down(self) -> None:
        """Remove containers, networks and volumes of the project."""
        self.compose("down", "-v", "--remove-orphans", "-t", "10")

    def run(self, service: str, *words: str) -> str:
        """Return the output of a command in a container of its own."""
        return self.compose("run", "--rm", "-T", service, *words)

    def execute(self, service: str, *words: str) -> str:
        """Return the output of a command in the container that runs."""
        return self.compose("exec", "-T", service, *words)

    def secrets(self, account: str) -> dict[str, str]:
        """Return what ``show`` prints of an account."""
        if account not in self._shown:
            lines = self.run("passwords", "show", account).splitlines()
            words = [shlex.split(line)[1] for line in lines if line.startswith("export ")]
            self._shown[account] = dict(word.split("=", 1) for word in words)
        return self._shown[account]

    def rotate(self, account: str) -> None:
        """Give an account other passwords; who is connected stays so."""
        self.run("passwords", "rotate", account)
        self.forget()
        self.execute("rabbitmq", "rabbitmqctl", "import_definitions", "/secrets/definitions.json")

    def forget(self) -> None:
        """Ask for passwords anew when they are needed."""
        self._shown.clear()

    @contextlib.contextmanager
    def followed(self, service: str, *words: str) -> Iterator[IO[str]]:
        """Run a command that does not end by itself; return all that it prints, as it comes."""
        with tempfile.TemporaryFile("w+") as printed:
            command = [*self._command, "-p", self.project, "exec", "-T", service, *words]
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            try:
                with open(f"/proc/self/fd/{printed.fileno()}") as reading:
                    yield reading
            finally:
                process.terminate()
                process.wait(20)

    # -- Looks ---------------------------------------------------------------------

    def inspect(self, service: str) -> dict[str, Any]:
        """Return what Docker knows of a service's container."""
        label = "label=com.docker.compose"
        words = [f"{label}.project={self.project}", f"{label}.service={service}"]
        words.append(f"{label}.oneoff=False")
        filters = [word for each in words for word in ("--filter", each)]
        (container,) = _output(["docker", "ps", "-a", "-q", *filters]).split()
        told: list[dict[str, Any]] = json.loads(_output(["docker", "inspect", container]))
        return told[0]

    def health(self, service: str) -> str:
        """Return ``healthy``, ``unhealthy``, ``starting``, or how the container ended."""
        state = self.inspect(service)["State"]
        return str(state["Health"]["Status"] if state["Running"] else state["Status"])

    def wait_healthy(self, *services: str, timeout_s: float = 60.0) -> None:
        """Wait until Docker says that *services* are healthy; all if none is named."""
        names = services or ALL
        self.wait(lambda: {self.health(name) for name in names} == {"healthy"}, timeout_s)

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait for a condition; if it does not come, show what explains it."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                shown = self.compose("ps") + self.compose("logs", "--no-color", "--tail=30")
                raise AssertionError(f"not within {timeout_s:.0f} s\n{shown}")
            time.sleep(_PAUSE_S)

    def ready(self, service: str) -> Answer:
        """Return what a service says at ``/readyz``."""
        return self.get(service, "/readyz")

    def get(self, service: str, path: str) -> Answer:
        """Return what a service says at *path* of its administration."""
        return request("GET", f"http://127.0.0.1:{self.ports[HEALTH_PORTS[service]]}{path}")

    def log_lines(self, service: str) -> list[dict[str, Any]]:
        """Return the lines that one of our services has logged."""
        done = subprocess.run(
            ["docker", "logs", self.inspect(service)["Id"]],
            capture_output=True,
            text=True,
            check=True,
        )
        return [json.loads(line) for line in done.stderr.splitlines()]

    # -- Work ----------------------------------------------------------------------

    def put(self, key: str, data: bytes) -> Answer:
        """Store a value through the store server, as its user ``admin``."""
        return self._ask_store("PUT", key, data)

    def value(self, key: str) -> Answer:
        """Return a value from the store server."""
        return self._ask_store("GET", key)

    def _ask_store(self, method: str, key: str, data: bytes | None = None) -> Answer:
        port = self.ports["ANTIPHON_STORE_SERVER_PORT"]
        url = f"http://127.0.0.1:{port}/stores/catalogue/keys/{key}/data"
        token = self.secrets("store-server")["STORE_TOKEN"]
        return request(method, url, data, Authorization=f"Bearer {token}")

    def archived(self, *options: str) -> list[dict[str, Any]]:
        """Return what the recorder has in its archive, oldest first."""
        words = ("antiphon", "archive", "search", "--json", *options)
        return [json.loads(line) for line in self.execute("recorder", *words).splitlines()]


def _output(
    command: list[str], *, env: dict[str, str] | None = None, given: str | None = None
) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        input=given or "",
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise ComposeFailed(
            f"{shlex.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout
