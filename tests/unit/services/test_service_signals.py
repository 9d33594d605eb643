"""A service that is told to end does so, whenever that is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping

import pytest

from services.skeleton import Service, ServiceSettings, run
from services.skeleton.signals import told_to_end


class Sample(Service):
    """A service that notes what it is told to do."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def start(self) -> None:
        self.told.append("start")
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> None:
        self.told.append("stop")

    def readiness(self) -> Mapping[str, str | None]:
        return {}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No log on standard error, and no settings but the test's."""
    monkeypatch.setattr("services.skeleton.logs.set_up", lambda *_: None)
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANTIPHON_HTTP_PORT", "0")


def test_sigterm_ends_it_with_status_0() -> None:
    """What was started is stopped, and the handlers of before are back."""
    service, before = Sample(), signal.getsignal(signal.SIGTERM)

    assert 0 == run("sample", ServiceSettings, lambda _: service, [])
    assert ["start", "stop"] == service.told
    assert before == signal.getsignal(signal.SIGTERM)


def test_it_may_be_told_before_it_has_started() -> None:
    """A container that is stopped while it starts does not run into SIGKILL."""
    service = Sample()

    def build(_: ServiceSettings) -> Service:
        os.kill(os.getpid(), signal.SIGTERM)
        return service

    assert 0 == run("sample", ServiceSettings, build, [])
    assert ["stop"] == service.told


@pytest.mark.parametrize(("pid", "handles"), [(1, True), (4711, False)])
def test_a_second_signal_ends_it_at_once(
    pid: int, handles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the first process of a container, for which signals have no default."""
    stop, ended = threading.Event(), []
    monkeypatch.setattr("services.skeleton.signals.os.getpid", lambda: pid)
    monkeypatch.setattr("services.skeleton.signals.os._exit", ended.append)
    with told_to_end(stop):
        signal.raise_signal(signal.SIGTERM)
        handler = signal.getsignal(signal.SIGTERM)
        if handles:
            signal.raise_signal(signal.SIGTERM)

    assert stop.is_set()
    assert handles == (handler is not signal.SIG_DFL)
    assert ([143] if handles else []) == ended


def test_other_threads_take_no_signals() -> None:
    """A service that a test runs beside itself is none that signals end."""
    before, seen = signal.getsignal(signal.SIGTERM), []

    def look() -> None:
        with told_to_end(threading.Event()):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert [before] == seen


#: Runs a service that is told to end while it imports its libraries.
IMPORTING = """
import builtins, os, runpy, signal, sys
real = builtins.__import__
def importing(name, *arguments, **options):
    if name.startswith("antiphon"):
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    return real(name, *arguments, **options)
builtins.__import__ = importing
runpy.run_module(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("invalidator", "SIGTERM"), ("recorder", "SIGINT"), ("store_server", "SIGTERM")],
)
def test_it_may_be_told_while_it_is_imported(module: str, name: str) -> None:
    """It ends with status 0 and without a word."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING, f"services.{module}", name],
        capture_output=True,
        check=False,
    )

    assert (0, b"") == (done.returncode, done.stderr)
