"""Fixtures for all tests: servers, leak checks, and the proof that every test ran."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.events import package_globals
from antiphon.testing.servers import RabbitMQ, Redis, Servers, ServersUnavailable, rabbitmq, redis
from completeness import Completeness

# Unit tests use its helpers, whether or not the suite has been imported before.
pytest.register_assert_rewrite("antiphon.testing.store_tests")

#: Seconds that threads and files of a test get to go away by themselves.
LEAK_GRACE_S = 5.0

#: Folders of tests in the order in which they run: those without servers come
#: first, while the servers start.
FOLDERS = ("unit", "wire", "conformance", "integration", "acceptance")

#: Fixtures that need the servers.
SERVER_FIXTURES = frozenset({"servers", "amqp_url", "redis_url"})

#: Fixtures for which the servers, if they are being started, must be there.
WAITING_FIXTURES = SERVER_FIXTURES | {"settled_servers"}

_ANONYMOUS = ("pipe:", "socket:")

TESTS = Path(__file__).parent


# -- Servers -------------------------------------------------------------------


_servers_key = pytest.StashKey[Servers]()


def pytest_configure(config: pytest.Config) -> None:
    """Take over servers that were started before pytest (by ``run_all.py``)."""
    for plugin in config.pluginmanager.get_plugins():
        if isinstance(found := getattr(plugin, "servers", None), Servers):
            config.stash[_servers_key] = found


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to start the servers as soon as it is known that some test needs them."""
    needed = any(SERVER_FIXTURES & set(getattr(i, "fixturenames", ())) for i in session.items)
    if needed and not session.config.option.collectonly:
        session.config.stash.setdefault(_servers_key, Servers()).start()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Wait for the servers before a test's time begins: a first installation takes minutes."""
    started = item.config.stash.get(_servers_key, None)
    if started is not None and WAITING_FIXTURES & set(getattr(item, "fixturenames", ())):
        # The fixture raises what went wrong.
        with contextlib.suppress(ServersUnavailable):
            _ = started.start().amqp_url
        with contextlib.suppress(ServersUnavailable):
            _ = started.redis_url
    return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers."""
    servers = config.stash.get(_servers_key, None)
    if servers is not None:
        servers.stop()


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Servers:
    """RabbitMQ and Redis for the whole run; killing them would spoil other tests."""
    return pytestconfig.stash.setdefault(_servers_key, Servers()).start()


@pytest.fixture
def settled_servers() -> None:
    """The servers of the run are there, or will not be started: nobody looks for any now."""
    # pytest_runtest_protocol has waited for them.


@pytest.fixture
def system() -> str:
    """A name of a system that no other test uses, for ``open_bus(url, system=…)``."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def amqp_url(servers: Servers) -> Iterator[str]:
    """URL of an empty virtual host; on a broker that is not ours, of its default one.

    Tests that may run on a given broker also take the ``system`` fixture.
    """
    broker = servers.rabbitmq
    if not broker.is_ours:
        yield broker.url
        return
    with broker.vhost() as url:
        yield url


@pytest.fixture
def redis_url(servers: Servers) -> Iterator[str]:
    """URL of an empty Redis database, ``redis://127.0.0.1:PORT/NUMBER``, emptied afterwards."""
    with servers.redis.database() as url:
        yield url


@pytest.fixture(scope="session")
def _own_broker() -> Iterator[RabbitMQ]:
    with rabbitmq(given=False) as own:
        yield own


@pytest.fixture
def broker(_own_broker: RabbitMQ) -> Iterator[RabbitMQ]:
    """A RabbitMQ that a test may kill, restart and pause; it is mended afterwards."""
    yield _own_broker
    if _own_broker.failure() is not None:
        _own_broker.start()
    else:
        _own_broker.resume()
    _own_broker.wait_ready()


@pytest.fixture
def broker_url(broker: RabbitMQ) -> Iterator[str]:
    """URL of an empty virtual host on the broker that a test may kill."""
    with broker.vhost() as url:
        yield url


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    """An empty Redis of the test's own, which it may kill."""
    with redis(given=False, report=lambda text: None) as own:
        yield own


# -- Leaks ---------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_event_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a global event manager of its own, without others' listeners."""
    monkeypatch.setattr(package_globals, "_event_manager", None)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """A test leaves no thread and no open file behind, after a short grace."""
    threads, files = _threads(), _files()
    # The start of the servers opens pipes and sockets that are not the test's.
    servers_start = any(t.name.startswith("antiphon-servers") for t in threading.enumerate())
    yield
    deadline = time.monotonic() + LEAK_GRACE_S
    for attempt in itertools.count():
        leaked = _threads() - threads
        opened = {number: name for number, name in _files().items() if number not in files}
        if servers_start:
            opened = {n: name for n, name in opened.items() if not name.startswith(_ANONYMOUS)}
        if not leaked and not opened:
            return
        if time.monotonic() > deadline:
            break
        if attempt == 0:
            gc.collect()
        time.sleep(0.01)
    pytest.fail(f"left behind: threads {[t.name for t in leaked]}, files {opened}")


def _threads() -> set[threading.Thread]:
    """Threads that run, except those that look after the servers of the whole run."""
    running = threading.enumerate()
    return {thread for thread in running if not thread.name.startswith("antiphon-servers")}


def _files() -> dict[int, str]:
    """Open file descriptors with what they are; empty where there is no /proc."""
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    return found


# -- Every test runs -----------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option with which ``run_all.py`` runs a part of the tests."""
    parser.addoption(
        "--ran", type=Path, help="write what ran to this file, for another process to judge"
    )


_completeness = Completeness()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that need no server first."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)

    _completeness.collected = len(items)
    _completeness.files = {item.path for item in items}
    items.sort(key=place)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what ``-k`` and its like left out."""
    _completeness.deselected += len(items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how each test ended."""
    _completeness.note(report)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a run that is not complete fails, even if all that ran has passed."""
    ran: Path | None = session.config.getoption("ran", None)
    if ran is not None:
        _completeness.write(ran)
    if _must_be_complete(session.config) and _completeness.problems() and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what is missing, before the last line."""
    problems = _completeness.problems() if _must_be_complete(config) else []
    if problems:
        terminalreporter.section("this run was not complete", sep="=", red=True)
        for problem in problems:
            terminalreporter.line(problem, red=True)


def _must_be_complete(config: pytest.Config) -> bool:
    is_all = not config.option.collectonly and config.getoption("ran", None) is None
    return is_all and bool(os.environ.get("CI"))
