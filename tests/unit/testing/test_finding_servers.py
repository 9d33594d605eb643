"""In which order servers are found, and what is said when there are none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.errors import ServersUnavailable
from antiphon.schemes import mask_url
from antiphon.testing.servers import (
    Servers,
    TLSFiles,
    containers,
    packages,
    programs,
    rabbitmq,
    redis,
)

# These tests change where servers are looked for, which must not hit the search for
# the servers of the run itself.
pytestmark = pytest.mark.usefixtures("settled_servers")


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no variable, no program, no Docker and no apt."""
    monkeypatch.delenv("ANTIPHON_AMQP_URL", raising=False)
    monkeypatch.delenv("ANTIPHON_REDIS_URL", raising=False)
    monkeypatch.setattr(programs, "find_rabbitmq", lambda: None)
    monkeypatch.setattr(programs, "find_redis", lambda: None)
    monkeypatch.setattr(containers, "docker_obstacle", lambda: "there is no docker program")
    monkeypatch.setattr(packages, "apt_obstacle", lambda: "only root may install Debian packages")


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is bound and on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.mark.usefixtures("nothing_here")
@pytest.mark.parametrize(
    ("find", "title", "variable"),
    [(rabbitmq, "RabbitMQ", "ANTIPHON_AMQP_URL"), (redis, "Redis", "ANTIPHON_REDIS_URL")],
)
def test_the_message_says_what_to_install(
    find: Callable[..., object], title: str, variable: str
) -> None:
    """Where nothing can be found, the error names each way to get the server."""
    with pytest.raises(ServersUnavailable) as caught:
        find()

    text = str(caught.value)
    assert f"no {title} was found" in text
    assert f"{variable} is not set" in text
    for advice in (
        "Docker: there is no docker program",
        "only root may install",
        "apt-get install rabbitmq-server redis-server",
        "dnf install rabbitmq-server redis",
        "brew install rabbitmq redis",
        "export ANTIPHON_AMQP_URL=amqp://",
        "export ANTIPHON_REDIS_URL=redis://",
    ):
        assert advice in text


@pytest.mark.usefixtures("nothing_here")
def test_waiting_for_servers_raises_what_the_search_raised() -> None:
    """Servers that are looked for in the background report their error to who waits."""
    with Servers(report=lambda text: None) as servers:
        with pytest.raises(ServersUnavailable, match="no RabbitMQ was found"):
            _ = servers.amqp_url
        with pytest.raises(ServersUnavailable, match="no Redis was found"):
            _ = servers.redis_url


def test_docker_comes_before_apt(nothing_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Docker and apt both possible, Docker is taken."""
    tried: list[str] = []

    class NoImage(containers.ContainerRedis):
        def __init__(self) -> None:
            tried.append("docker")
            raise ServersUnavailable("no image")

    monkeypatch.setattr(containers, "docker_obstacle", lambda: None)
    monkeypatch.setattr(packages, "apt_obstacle", lambda: None)
    monkeypatch.setattr(packages, "install_servers", lambda: tried.append("apt"))
    monkeypatch.setattr(containers, "ContainerRedis", NoImage)

    with pytest.raises(ServersUnavailable, match="no image"):
        redis(report=lambda text: None)

    assert tried == ["docker", "apt"]


def test_a_given_url_is_used_and_masked(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    """A server that was promised and does not answer is an error without the password."""
    url = f"amqp://user:secret@127.0.0.1:{unused_port}/%2F"
    monkeypatch.setenv("ANTIPHON_AMQP_URL", url)

    with pytest.raises(ServersUnavailable) as caught:
        rabbitmq()

    assert f"amqp://user:***@127.0.0.1:{unused_port}" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "unset ANTIPHON_AMQP_URL" in str(caught.value)


def test_files_of_a_broker_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker runs elsewhere; one that is missing is named before it is started."""
    monkeypatch.chdir(tmp_path)
    for name in ("ca.pem", "broker.pem"):
        Path(name).touch()
    files = TLSFiles(Path("ca.pem"), Path("broker.pem"), Path("ca.pem"))

    assert tmp_path / "broker.pem" == files.certfile
    with pytest.raises(ServersUnavailable, match=r"keyfile=/.*/key.pem is no file"):
        TLSFiles(Path("ca.pem"), Path("broker.pem"), Path("key.pem"))


@pytest.mark.parametrize("deed", ["kill", "restart", "pause", "resume"])
def test_a_given_server_is_not_harmed(deed: str) -> None:
    """What somebody else runs can be neither killed nor paused."""
    from antiphon.testing.servers.given import GivenRedis

    server = GivenRedis("redis://localhost", "ANTIPHON_REDIS_URL")

    with pytest.raises(ServersUnavailable, match="not ours"):
        getattr(server, deed)()
    assert not server.is_ours


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("redis://localhost/0", "redis://localhost/0"),
        ("redis://:secret@localhost/0", "redis://:***@localhost/0"),
        ("amqp://me:secret@host:1/v", "amqp://me:***@host:1/v"),
        ("amqp://me:sec@ret@host", "amqp://me:***@host"),
        ("amqp://me@host", "amqp://me@host"),
    ],
)
def test_passwords_are_masked(url: str, masked: str) -> None:
    """A URL in a message shows everything but the password."""
    assert mask_url(url) == masked


def test_the_distribution_wrapper_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rabbitmq-server that changes the user is passed over for RabbitMQ's own script."""
    wrapper, real = tmp_path / "sbin", tmp_path / "bin"
    for folder, text in ((wrapper, "su rabbitmq -c x\n"), (real, ". rabbitmq-env\n")):
        folder.mkdir()
        (folder / "rabbitmq-server").write_text("#!/bin/sh\n" + text)
        (folder / "rabbitmq-server").chmod(0o755)
    for name in ("erl", "epmd"):
        (wrapper / name).write_text("#!/bin/sh\n")
        (wrapper / name).chmod(0o755)
    monkeypatch.setattr(programs, "EXTRA_PATH", ())
    monkeypatch.setenv("PATH", str(wrapper))
    monkeypatch.setattr(programs, "RABBITMQ_FOLDERS", ())
    assert programs.find_rabbitmq() is None
    monkeypatch.setattr(programs, "RABBITMQ_FOLDERS", (str(wrapper), str(real)))

    assert programs.find_rabbitmq() == real


def test_rabbitmq_without_erlang_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """RabbitMQ's scripts alone are of no use."""
    monkeypatch.setattr(programs, "find_program", lambda *names: None)

    assert programs.find_rabbitmq() is None


@pytest.fixture
def fake_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that notes how it was called, and whether services were kept from starting."""
    policy, calls = tmp_path / "policy-rc.d", tmp_path / "calls"
    program = tmp_path / "apt-get"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n{policy}; echo "policy $?" >> {calls}\n'
        'case "$*" in *rabbitmq*) test ! -e "$0.broken" || { echo E: no space; exit 9; } ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(packages, "_is_done", False)
    monkeypatch.setattr(packages, "find_program", lambda name: str(tmp_path / name))
    return tmp_path


def test_apt_installs_both_once_and_starts_no_service(fake_apt: Path) -> None:
    """One installation serves both servers; Debian's services stay off meanwhile."""
    packages.install_servers()
    packages.install_servers()

    calls = (fake_apt / "calls").read_text().splitlines()
    assert [line for line in calls if line.startswith("policy")] == ["policy 101"] * 2
    assert calls[0].endswith(" update")
    assert calls[2].endswith(" rabbitmq-server redis-server")
    assert len(calls) == 4
    assert not (fake_apt / "policy-rc.d").exists()


def test_a_failure_of_apt_is_told(fake_apt: Path) -> None:
    """When apt-get fails, the error has its output, and the policy is removed."""
    (fake_apt / "apt-get.broken").touch()

    with pytest.raises(ServersUnavailable, match="E: no space"):
        packages.install_servers()

    assert not (fake_apt / "policy-rc.d").exists()


def test_the_command_line_tells_errors_without_a_traceback(unused_port: int) -> None:
    """``python -m antiphon.testing.servers`` ends with 1 and the message alone."""
    url = f"redis://:secret@127.0.0.1:{unused_port}"
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.testing.servers", "true"],
        env=os.environ | {"ANTIPHON_REDIS_URL": url, "ANTIPHON_AMQP_URL": url},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "answers at redis://:***@127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_the_command_line_explains_itself() -> None:
    """``--help`` prints the usage and starts nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.testing.servers", "--help"],
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m antiphon.testing.servers" in done.stdout
