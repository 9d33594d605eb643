"""``antiphon doctor`` on a broker in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon import BaseEvent, BrokerEventManager
from antiphon.archive import Event, open_archive
from antiphon.cli import doctor_broker, doctor_system
from antiphon.cli.doctor_broker import BUS_OPTIONS
from antiphon.cli.main import run
from antiphon.cli.management import Management
from antiphon.messaging.bus import BusOptions
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.subscription_options import SubscriptionOptions
from patience import wait_until

QUICK = BusOptions(answers_roll_call=BUS_OPTIONS.answers_roll_call, canary_interval_s=0.02)

Doctor = Callable[..., dict[str, Any]]


class Examined(BaseEvent):
    """Something to listen to."""

    wire_name = "test_doctor:Examined"


@pytest.fixture(autouse=True)
def _nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of the tests' own environment are not looked at; and it is quick."""
    monkeypatch.setattr(doctor_broker, "CANARY_INTERVAL_S", 0.02)
    monkeypatch.setattr("antiphon.cli.doctor.BUS_OPTIONS", QUICK)
    for name in ("ANTIPHON_AMQP_URL", "ANTIPHON_REDIS_URL", "ANTIPHON_ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def doctor(url: str, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs the command, and returns what it says, by "subject check", with its exit status."""

    def examine(*arguments: str) -> dict[str, Any]:
        status = run(["doctor", "--url", url, "--wait", "0.3", "--json", *arguments])
        told = json.loads(capsys.readouterr().out)
        found = {f"{one['subject']} {one['check']}": one for one in told["findings"]}
        return {**found, "exit status": status, "told": told}

    return examine


def ignore(event: BaseEvent) -> None:
    """Do nothing."""


def test_all_is_well(bus: BrokerEventManager, doctor: Doctor) -> None:
    """With a process, a consumed queue and nothing dead there is no warning."""
    bus.subscribe("audit", Examined, ignore)
    told = doctor()

    assert (0, 0, 0) == (told["exit status"], told["told"]["wrong"], told["told"]["warnings"])
    assert {"ok", "skipped"} == {one["status"] for one in told["told"]["findings"]}
    assert 1 == told["processes present"]["facts"]["count"]
    assert told["broker delivery"]["facts"]["median_s"] < 5


def test_it_shows_itself_to_nobody(bus: BrokerEventManager, doctor: Doctor) -> None:
    """Whoever asks meanwhile gets no answer of its own bus."""
    thread = threading.Thread(target=doctor)
    thread.start()
    answers = []
    while thread.is_alive():
        answers += bus.roll_call(0.05)

    assert [] == answers


def test_for_people(bus: BrokerEventManager, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Findings stand below their subjects, with what to do; a verdict ends it."""
    assert 0 == run(["doctor", "--url", url, "--wait", "0.2"])
    lines = capsys.readouterr().out.splitlines()

    assert "broker" == lines[0]
    assert "  ok       there are none" == lines[lines.index("dead letters") + 1]
    assert "nothing is wrong" == lines[-1]


def test_nobody_is_there(doctor: Doctor) -> None:
    """An empty system is a warning; --strict makes that the exit status."""
    assert 0 == doctor()["exit status"]
    told = doctor("--strict")

    assert (1, "warning") == (told["exit status"], told["processes present"]["status"])


def test_a_broker_that_is_away(doctor: Doctor, url: str) -> None:
    """It is said, and nothing else of it is looked at."""
    MemoryBroker.named(url.removeprefix("memory://")).stop()
    told = doctor()

    assert 1 == told["exit status"]
    assert "wrong" == told["broker reachable"]["status"]
    assert "processes present" not in told


def test_dead_letters(bus: BrokerEventManager, doctor: Doctor) -> None:
    """There are some: whose they are is told."""

    def fail(event: Examined) -> None:
        raise ValueError("no")

    subscription = bus.subscribe(
        "audit", Examined, fail, options=SubscriptionOptions(delivery_limit=1)
    )
    bus.emit(Examined())
    wait_until(lambda: subscription.stats().dead == 1, "a dead letter")
    found = doctor()["dead letters count"]

    assert ("warning", 1) == (found["status"], found["facts"]["count"])
    assert "1 dead letter waits (1 of audit of " in found["text"]
    assert "antiphon dlq ls" in found["advice"]


def test_dead_letters_that_grow() -> None:
    """More than at the beginning is wrong."""
    found = doctor_system.look_at_dead_letters([], 3, 5, 1.5)

    assert ("wrong", "dead letters grow: 2 more within 1.5 s, 5 now") == (found.status, found.text)


def test_versions_and_clocks_that_differ(bus: BrokerEventManager, doctor: Doctor) -> None:
    """A process of another version, and one whose clock is off, are named."""
    told = bus.describe(1.0) | {"version": "0.0.9", "program": "old.py", "time": 0.0}
    bus.describe = lambda up_s: told  # type: ignore[method-assign]
    found = doctor()

    assert ("warning", "wrong") == (
        found["processes versions"]["status"],
        found["processes clock"]["status"],
    )
    assert "others run 0.0.9: old.py" in found["processes versions"]["text"]
    assert "s behind the one here" in found["processes clock"]["text"]


def test_events_that_wait_for_the_broker(bus: BrokerEventManager, doctor: Doctor) -> None:
    """A process whose buffer is long is named."""
    told = bus.describe(1.0) | {"buffered": 5000}
    bus.describe = lambda up_s: told  # type: ignore[method-assign]

    assert "warning" == doctor()["processes buffers"]["status"]


def test_a_subscription_that_nobody_has_open(bus: BrokerEventManager, doctor: Doctor) -> None:
    """Named, its queue is looked at: nobody consumes it, or it is not there."""
    bus.subscribe("audit", Examined, ignore).close()
    bus.emit(Examined())
    bus.flush(10)
    left = doctor("--subscription", "audit")["queues consumers"]
    never = doctor("--subscription", "bills")["queues exists"]

    assert ("wrong", "nobody consumes antiphon.sub.audit; 1 message waits") == (
        left["status"],
        left["text"],
    )
    assert ("wrong", "antiphon.sub.bills is not there") == (never["status"], never["text"])


def test_a_management_plugin_that_does_not_answer(
    bus: BrokerEventManager, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is wrong, and the rest is looked at all the same."""
    monkeypatch.setattr(
        "antiphon.cli.doctor.Management",
        lambda url, broker: Management("http://127.0.0.1:1", "amqp://localhost"),
    )
    found = doctor("--management", "http://127.0.0.1:1")

    assert ("wrong", "ok") == (
        found["broker management"]["status"],
        found["processes present"]["status"],
    )
    assert 1 == str(found["told"]).count("no management plugin answers")


def test_an_archive(doctor: Doctor, tmp_path: Path) -> None:
    """It is read; events of the future are a warning; one that is not there is wrong."""
    archive = f"sqlite://{tmp_path}/archive.db"
    with open_archive(archive) as store:
        store.save(Event("a", "test"))
        store.save(Event("b", "test", 4e9))
    found = doctor("--archive", archive)

    assert ("ok", 2) == (
        found[f"archive {archive} readable"]["status"],
        found[f"archive {archive} readable"]["facts"]["events"],
    )
    assert "warning" == found[f"archive {archive} future"]["status"]
    nowhere = "sqlite:///nowhere/archive.db"
    assert "wrong" == doctor("--archive", nowhere)[f"archive {nowhere} readable"]["status"]


def test_nothing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """What to name is said."""
    assert 2 == run(["doctor"])
    assert "say where the broker is" in capsys.readouterr().err


def test_without_a_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is named is looked at, and no more."""
    with open_archive(f"sqlite://{tmp_path}/archive.db"):
        pass

    assert 0 == run(["doctor", "--archive", f"sqlite://{tmp_path}/archive.db", "--json"])
    subjects = {one["subject"] for one in json.loads(capsys.readouterr().out)["findings"]}
    assert {f"archive sqlite://{tmp_path}/archive.db"} == subjects
