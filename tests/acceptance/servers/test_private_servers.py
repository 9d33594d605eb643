"""Private servers are real ones, are alone, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pika
import pytest

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers import RabbitMQ, Redis, Servers

#: Takes a name, starts both servers, says where their folders are, and waits.
#: With "early" it says so while RabbitMQ still starts.
OWNER = """
import glob, os, sys, time
from antiphon.testing.servers import Servers
servers = Servers().start()
print(servers.redis.folder, flush=True)
if "early" not in sys.argv:
    print(servers.rabbitmq.folder, flush=True)
time.sleep(600)
"""


def processes_of(folder: str) -> list[str]:
    """Processes that have the folder in their environment or command line."""
    listing = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True)
    return [line for line in listing.stdout.splitlines() if folder in line]


def wait_until_gone(folder: str, timeout_s: float = 20.0) -> None:
    """Wait until the folder and all processes that know it are gone."""
    deadline = time.monotonic() + timeout_s
    while Path(folder).exists() or processes_of(folder):
        assert time.monotonic() < deadline, f"left: {folder} {processes_of(folder)}"
        time.sleep(0.05)


def start_owner(*args: str, temp: Path) -> subprocess.Popen[str]:
    """Start a process with servers of its own, whose folders are in *temp*."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANTIPHON_")}
    return subprocess.Popen(
        [sys.executable, "-c", OWNER, *args],
        env=environment | {"TMPDIR": str(temp)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def short_path() -> Path:
    """A temporary folder with a short name, as Unix sockets need it."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))


def fetch(url: str) -> bytes | None:
    """Take the next message out of the queue that the tests use."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        body: bytes | None = connection.channel().basic_get("kept", auto_ack=True)[2]
        return body


def publish(url: str) -> None:
    """Put one persistent message into a durable queue, and wait for its confirm."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        # Classic: RabbitMQ 3.10 loses a quorum queue for good when it is killed within
        # a second of its declaration (tried with its own start script, too).
        channel.queue_declare("kept", durable=True)
        properties = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", "kept", b"hello", properties)


@pytest.mark.parametrize("args", [[], ["early"]], ids=["running", "while-it-starts"])
def test_nothing_outlives_a_killed_owner(args: list[str], short_path: Path) -> None:
    """After kill -9 of the owner no server, no port mapper and no file is left."""
    with start_owner(*args, temp=short_path) as owner:
        assert owner.stdout is not None
        for _ in range(1 if args else 2):
            owner.stdout.readline()
        folders = [str(path) for path in short_path.iterdir()]
        assert len(folders) == 2
        assert any(processes_of(folder) for folder in folders)

        owner.kill()

        for folder in folders:
            wait_until_gone(folder)
    short_path.rmdir()


def test_confirmed_messages_survive_a_killed_broker(broker: RabbitMQ, broker_url: str) -> None:
    """kill() and restart() keep the port, the virtual hosts and what was confirmed."""
    publish(broker_url)
    url = broker.url

    broker.kill()
    assert not broker.answers()
    broker.restart()

    assert broker.url == url
    assert fetch(broker_url) == b"hello"


def test_a_paused_broker_answers_again(broker: RabbitMQ) -> None:
    """pause() freezes the broker, resume() lets it go on."""
    pid = int(broker.evaluate("list_to_integer(os:getpid())."))
    broker.pause()
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    assert state.stdout.startswith("T")

    broker.resume()

    assert broker.answers()


def test_a_killed_broker_cannot_be_paused(broker: RabbitMQ) -> None:
    """Pausing a broker that does not run is an error that says so."""
    broker.kill()

    with pytest.raises(ServersUnavailable, match="was killed"):
        broker.pause()


def test_rabbitmqctl_speaks_to_the_private_broker(broker: RabbitMQ, broker_url: str) -> None:
    """The command-line tool sees what is in the private broker."""
    publish(broker_url)
    vhost = broker_url.rpartition("/")[2]

    listed = broker.rabbitmqctl("list_queues", "--quiet", "-p", vhost, "name", "type")

    assert listed.split() == ["name", "type", "kept", "classic"]


def test_rabbitmqctl_tells_what_failed(broker: RabbitMQ) -> None:
    """A command that fails raises with the tool's own words."""
    with pytest.raises(ServersUnavailable, match="no-such-user"):
        broker.rabbitmqctl("delete_user", "no-such-user")


def test_a_virtual_host_is_dropped(broker: RabbitMQ) -> None:
    """A test's virtual host is gone after the test."""
    with broker.vhost() as url:
        publish(url)

    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="not found"):
        fetch(url)


def test_the_broker_shares_nothing(broker: RabbitMQ) -> None:
    """Own cookie, own port mapper, and nothing that listens beyond the loopback interface."""
    listeners = broker.evaluate(
        "[{Port, inet:sockname(Port)} || Port <- erlang:ports(), "
        'erlang:port_info(Port, name) =:= {name, "tcp_inet"}, '
        "inet:getopts(Port, [active]) =:= {ok, [{active, false}]}]."
    )

    assert "{0,0,0,0}" not in listeners
    assert "{127,0,0,1}" in listeners
    assert broker.evaluate('os:getenv("HOME").').strip('"').startswith(str(broker.folder))
    assert broker.evaluate('os:getenv("ERL_EPMD_PORT").') != '"4369"'


def test_redis_keeps_its_data_through_a_restart(redis_server: Redis) -> None:
    """A private Redis writes an append-only file and never evicts."""
    redis_server.command("SET", "key", "value")
    redis_server.command("BGREWRITEAOF")
    url = redis_server.url

    redis_server.restart()

    assert redis_server.url == url
    assert redis_server.command("EXISTS", "key") == b"1"


def test_each_test_has_an_empty_redis(servers: Servers) -> None:
    """Two databases that are in use at once differ, and both are emptied."""
    server = servers.redis
    with server.database() as one, server.database() as other:
        assert one != other
        number = int(one.rpartition("/")[2])
        server.command("SET", "left", "over", database=number)

    assert server.command("DBSIZE", database=number) == b"0"


def test_redis_refusals_are_errors(redis_server: Redis) -> None:
    """What Redis refuses is raised with its own words."""
    with pytest.raises(ServersUnavailable, match="unknown command"):
        redis_server.command("NONSENSE")


def test_the_command_line_serves_until_it_is_told_to_stop(servers: Servers) -> None:
    """It prints the two export lines, and ends with 0 after Ctrl-C."""
    urls = {"ANTIPHON_AMQP_URL": servers.amqp_url, "ANTIPHON_REDIS_URL": servers.redis_url}
    with subprocess.Popen(
        [sys.executable, "-m", "antiphon.testing.servers"],
        env=os.environ | urls,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in urls]
        process.send_signal(signal.SIGINT)

        assert process.wait(20) == 0
    assert lines == [f"export {name}='{url}'\n" for name, url in urls.items()]


def test_the_command_line_runs_one_command(servers: Servers) -> None:
    """With a command it sets both variables for it and ends with its exit status."""
    urls = {"ANTIPHON_AMQP_URL": servers.amqp_url, "ANTIPHON_REDIS_URL": servers.redis_url}
    program = "import os, sys; print(os.environ['ANTIPHON_REDIS_URL']); sys.exit(7)"
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.testing.servers", sys.executable, "-c", program],
        env=os.environ | urls,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 7
    assert done.stdout.strip() == servers.redis_url
