"""A password that is known is looked for wherever something is said, and is nowhere."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from broker_users import add_user
from bus_helpers import Numbered, wait_until
from tcp_proxy import Node

from antiphon import open_bus
from antiphon.errors import AntiphonError
from antiphon.messaging.amqp_address import parse_address
from antiphon.schemes import mask_url
from antiphon.testing.servers import RabbitMQ, Servers

#: Characters that URLs, shells and formats trip over; and what each end of it would show.
SECRET = "hunter2/@:#?%41 {0}%süß"
QUOTED = quote(SECRET, safe="")
TRACES = (SECRET, QUOTED, "hunter2", "süß", quote("süß"))


class Said:
    """Everything that was said, with where."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, where: str, text: object) -> None:
        self.texts.append((where, str(text)))

    def found(self) -> list[str]:
        """Return where a trace of the password is."""
        return [
            f"{where}: {text[:300]}"
            for where, text in self.texts
            if any(trace in text for trace in TRACES)
        ]


@pytest.fixture
def said() -> Iterator[Said]:
    """What is logged goes there by itself, from DEBUG on, that of libraries included."""
    said = Said()

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.add(f"log of {record.name}", self.format(record))

    root, handler = logging.getLogger(), Keeping()
    handler.setFormatter(logging.Formatter("%(threadName)s %(name)s %(message)s %(args)r"))
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("pika").setLevel(logging.DEBUG)
    yield said
    logging.getLogger("pika").setLevel(logging.NOTSET)
    root.setLevel(before)
    root.removeHandler(handler)


def opened(said: Said, url: str | None) -> None:
    """Open a bus, use it, and note all that is said; also the errors, whole chains of them."""
    try:
        with open_bus(url, connect_timeout_s=5) as bus:
            bus.connect(Numbered, lambda event: None)
            bus.emit(Numbered(number=1))
            bus.flush(5)
            said.add("repr", (bus, bus.stats(), bus.url, bus._transport, bus._transport.__dict__))
    except AntiphonError as exc:
        said.add("error", (exc, repr(exc), exc.args))
        said.add("traceback", "".join(traceback.format_exception(exc)))
        said.add("pickled", exc.__reduce__())


@pytest.fixture(params=["URL", "environment", "file", "URL in a file"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[object]:
    """A function that puts the password somewhere, and returns the URL to open."""
    path = tmp_path / "secret"

    def put(netloc: str, *, scheme: str = "amqp", rest: str = "") -> str | None:
        with_it = f"{scheme}://me:{QUOTED}@{netloc}{rest}"
        without = f"{scheme}://me@{netloc}{rest}"
        if request.param == "URL":
            return with_it
        if request.param == "URL in a file":
            path.write_text(with_it + "\n")
            monkeypatch.delenv("ANTIPHON_AMQP_URL", raising=False)
            monkeypatch.setenv("ANTIPHON_AMQP_URL_FILE", str(path))
            return None
        if request.param == "file":
            path.write_text(SECRET + "\n")
            monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD_FILE", str(path))
        else:
            monkeypatch.setenv("ANTIPHON_AMQP_PASSWORD", SECRET)
        return without

    return put  # type: ignore[return-value]


Put = Callable[..., "str | None"]


def test_a_bus_that_works(place: Put, tls_broker: RabbitMQ, said: Said) -> None:
    """Neither the bus nor a library says it when all goes well; nor does the broker know it."""
    add_user(tls_broker, "me", SECRET)
    url = place(urlsplit(tls_broker.url).netloc.rpartition("@")[2])

    opened(said, url)
    with open_bus(url):
        keys = "[name, client_properties, user, auth_mechanism, host]"
        told = (
            f'lists:flatten(io_lib:format("~tp", [rabbit_networking:connection_info_all({keys})])).'
        )
        said.add("broker", tls_broker.evaluate(told))  # type: ignore[attr-defined]

    assert any("antiphon" in text for where, text in said.texts if where == "broker")
    assert any(where == "repr" for where, _ in said.texts)
    assert [] == said.found()


def test_errors(place: Put, servers: Servers, said: Said) -> None:
    """No way of failing says it, with all that led to it."""
    broker = urlsplit(servers.rabbitmq.url).netloc.rpartition("@")[2]
    for netloc, more in {
        broker: {},
        f"localhost:1,{broker}": {},
        f"no-such-host.invalid,{broker}": {"rest": "/none"},
        "localhost:1": {"rest": "?heartbeat=soon"},
        "localhost:x": {},
        "localhost": {"rest": "/a/b"},
        "localhost:2": {"rest": "?hartbeat=1#x"},
        "localhost:3": {"scheme": "amqpx"},
        "localhost:4": {"scheme": "amqps", "rest": "?cafile=/none"},
        "localhost:5": {"scheme": "amqps", "rest": "?certfile=/none"},
    }.items():
        opened(said, place(netloc, **more))
    opened(said, place(broker, scheme="amqps"))

    assert 11 == sum(where == "error" for where, _ in said.texts)
    assert [] == said.found()


def test_passwords_that_are_not_escaped(said: Said) -> None:
    """What is no URL because of its password is not shown up to the first odd character."""
    for raw in ("hunter2/x", "hunter2@x", "hunter2#x", "hunter2:x", "hunter2?x", "hun[ter2", "%zz"):
        for url in (f"amqp://me:{raw}@host", f"amqp:me:{raw}@host", f"me:{raw}@host"):
            said.add("masked", mask_url(url))
            try:
                said.add("repr", parse_address(url))
            except AntiphonError as exc:
                said.add("error", "".join(traceback.format_exception(exc)))

    texts = "".join(text for where, text in said.texts)
    assert "hunter2" not in texts
    assert "%zz" not in texts


def test_losses_and_returns(said: Said, tls_broker: RabbitMQ) -> None:
    """What is logged while a connection breaks and comes back has none."""
    add_user(tls_broker, "me", SECRET)
    with (
        Node(tls_broker.url) as node,
        open_bus(f"amqp://me:{QUOTED}@127.0.0.1:{node.port}") as bus,
    ):
        node.die()
        wait_until(lambda: not bus.is_connected, "the loss is noticed")
        wait_until(lambda: bus.last_error is not None, "there is a reason")
        said.add("error", bus.last_error)
        said.add("repr", bus)
        node.live()
        assert bus.wait_connected(10)

    assert any("lost" in text for where, text in said.texts)
    assert [] == said.found()


@pytest.mark.parametrize("place", ["URL", "file", "URL in a file"], indirect=True)
def test_the_command_line(
    place: Put, servers: Servers, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that fails says why, and no more; its own arguments have none but the user's."""
    url = place(urlsplit(servers.rabbitmq.url).netloc.rpartition("@")[2])
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    done = subprocess.run(
        [sys.executable, "-m", "antiphon.cli", "listen", *([] if url is None else [url])],
        capture_output=True,
        text=True,
        timeout=60,
    )

    said.add("output", done.stdout + done.stderr)
    assert 1 == done.returncode
    assert "not accept user 'me'" in done.stderr
    assert [] == said.found()


SETTINGS = """
http_port = 0
log_level = "DEBUG"
store_port = 0
{amqp_url}
[stores.one]
url = "memory:"
[[users]]
name = "admin"
token = "0123456789abcdef0123456789abcdef"
may = "write"
"""


@pytest.mark.parametrize("place", ["environment", "URL in a file"], indirect=True)
def test_a_service(place: Put, servers: Servers, said: Said, tmp_path: Path) -> None:
    """A service that is refused logs why, in full detail, without it."""
    url = place(urlsplit(servers.rabbitmq.url).netloc.rpartition("@")[2])
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.format(amqp_url="" if url is None else f'amqp_url = "{url}"'))
    process = subprocess.Popen(
        [sys.executable, "-m", "services.store_server", str(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ANTIPHON_SETTINGS": str(settings)},
    )
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    try:
        said.add("command line", Path(f"/proc/{process.pid}/cmdline").read_text())
        assert process.stdout is not None
        for line in process.stdout:
            said.add("output", line)
            if "not accept user" in line:
                break
    finally:
        process.terminate()
        said.add("output", process.communicate()[0])
        alarm.cancel()

    assert any("not accept user 'me'" in text for _, text in said.texts)
    assert [] == said.found()
