"""The recorder as a service: settings, health, retention, and an archive that comes and goes."""

from __future__ import annotations

import logging
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import BaseEvent, open_archive, open_bus
from antiphon.errors import ArchiveUnusable
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.memory import MemoryBroker
from patience import wait_until
from services.recorder.service import RecorderService
from services.recorder.settings import RecorderSettings, RetentionSettings
from services.skeleton import ServiceSettings
from services.skeleton.in_hand import facts_in_hand
from services.skeleton.settings import BadSettings, load

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "recorder-service.md"


class ServiceRecorded(BaseEvent):
    """Something happened."""

    wire_name = "test:ServiceRecorded"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def memory_url() -> str:
    """URL of a broker that no other test uses."""
    return f"memory://{secrets.token_hex(6)}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.db"


@pytest.fixture
def service_of(memory_url: str, path: Path) -> Iterator[Callable[..., RecorderService]]:
    """Start services, and stop them after the test."""
    services: list[RecorderService] = []

    def started(**settings: Any) -> RecorderService:
        settings.setdefault("archive_url", f"sqlite:///{path}?timeout_s=0.05")
        services.append(RecorderService(RecorderSettings(amqp_url=memory_url, **settings)))
        services[-1].start()
        return services[-1]

    yield started
    for one in services:
        one.stop()


@pytest.fixture
def bus(memory_url: str) -> Iterator[BrokerEventManager]:
    with open_bus(memory_url, origin="shop") as opened:
        yield opened


def wait_ready(service: RecorderService) -> None:
    wait_until(lambda: not any(service.readiness().values()), "ready")


def emit(bus: BrokerEventManager, count: int) -> None:
    for number in range(count):
        bus.emit(ServiceRecorded(number=number))
    bus.flush(5)


def archived(path: Path) -> int:
    """Return how many of the test's events are in the archive; 0 while it is being made."""
    try:
        with open_archive(f"sqlite:///{path}?read_only=1") as archive:
            return len(list(archive.search(0, flags=["test:ServiceRecorded"])))
    except ArchiveUnusable:
        return 0


def values(service: RecorderService) -> dict[str, float]:
    """Return the service's figures without labels."""
    return {
        sample.name: sample.value
        for metric in service.metrics()
        for sample in metric.samples
        if not sample.labels
    }


def test_a_recorder_ends_cleanly(
    bus: BrokerEventManager,
    service_of: Callable[..., RecorderService],
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was emitted before is archived, and nothing is warned of."""
    service = service_of()
    wait_ready(service)
    emit(bus, 10)
    wait_until(lambda: archived(path) == 10, "10 events")
    caplog.clear()
    service.stop()

    assert [] == [one.message for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_recorder_without_a_queue_is_not_ready(
    memory_url: str, service_of: Callable[..., RecorderService]
) -> None:
    """Whoever waits for it before the first event loses none."""
    broker = MemoryBroker.named(memory_url.removeprefix("memory://"))
    broker.stop()
    service = service_of()
    problem = service.readiness()["subscription"]
    broker.start()
    wait_ready(service)

    assert "its queue does not stand at the broker yet" == problem


def test_an_archive_that_is_not_there_yet_is_waited_for(
    bus: BrokerEventManager, service_of: Callable[..., RecorderService], tmp_path: Path
) -> None:
    """It is not ready, and says why; the events wait at the broker."""
    path = tmp_path / "mounted" / "archive.db"
    service = service_of(archive_url=f"sqlite:///{path}")
    wait_until(lambda: service.readiness()["subscription"] is None, "subscribed")
    emit(bus, 2)
    wait_until(lambda: "cannot open" in str(service.readiness()["archive"]), "it says so")
    path.parent.mkdir()
    wait_until(lambda: archived(path) == 2, "2 events")
    wait_ready(service)

    assert service.failure() is None


def test_readiness_says_that_the_archive_is_locked(
    bus: BrokerEventManager, service_of: Callable[..., RecorderService], path: Path
) -> None:
    """Until it takes events again."""
    service = service_of()
    wait_ready(service)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    emit(bus, 2)
    wait_until(lambda: "locked by others" in str(service.readiness()["archive"]), "it says so")
    waiting_s = values(service)["antiphon_recorder_waiting_seconds"]
    locker.execute("ROLLBACK")
    locker.close()
    wait_until(lambda: archived(path) == 2, "2 events")
    wait_ready(service)

    assert waiting_s > 0
    assert 0 == values(service)["antiphon_recorder_waiting_seconds"]


def test_an_archive_that_was_replaced_is_opened_anew(
    bus: BrokerEventManager, service_of: Callable[..., RecorderService], path: Path
) -> None:
    """What is emitted from then on is in the new file."""
    service = service_of()
    wait_ready(service)
    emit(bus, 2)
    wait_until(lambda: archived(path) == 2, "2 events")
    for each in path.parent.iterdir():
        each.rename(f"{each}.old")
    emit(bus, 3)

    wait_until(lambda: archived(path) == 3, "3 events in the new file")


def test_logs_name_what_could_not_be_archived(
    bus: BrokerEventManager, service_of: Callable[..., RecorderService], path: Path
) -> None:
    """The first event of the batch, and how many there are."""
    told: list[dict[str, Any]] = []

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "cannot archive" in record.getMessage():
                told.append(facts_in_hand())

    teller = Teller()
    service = service_of(batch_wait_s=0.5, batch_events=3)
    wait_ready(service)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    logging.getLogger("antiphon.archive.recorder").addHandler(teller)
    emit(bus, 3)
    wait_until(lambda: bool(told), "it was logged")
    logging.getLogger("antiphon.archive.recorder").removeHandler(teller)
    locker.execute("ROLLBACK")
    locker.close()

    assert ("test:ServiceRecorded", "shop", 3) == tuple(
        told[0].get(name) for name in ("event_class", "origin", "events")
    )
    assert "event_id" in told[0]


def test_what_is_too_old_is_deleted(
    bus: BrokerEventManager, service_of: Callable[..., RecorderService], path: Path
) -> None:
    """By the rules of the settings, again and again."""
    rule = {"max_events": 3, "flags": ("test:ServiceRecorded",)}
    service = service_of(retention=(rule,), retention_interval_s=0.05)
    wait_ready(service)
    emit(bus, 10)
    wait_until(
        lambda: values(service)["antiphon_archive_purged_events_total"] == 7, "7 events deleted"
    )

    assert 3 == archived(path)


def test_a_disk_with_little_room_is_warned_of(
    service_of: Callable[..., RecorderService], caplog: pytest.LogCaptureFixture
) -> None:
    """Before it is full; it is no reason not to be ready."""
    service = service_of(disk_warn_bytes=1 << 62)
    wait_until(lambda: "disk_warn_bytes" in caplog.text, "a warning")
    wait_ready(service)

    assert values(service)["antiphon_archive_disk_free_bytes"] > 0


def test_what_was_done_can_be_measured(
    bus: BrokerEventManager, service_of: Callable[..., RecorderService], path: Path
) -> None:
    """By one name each, with their units."""
    service = service_of()
    wait_ready(service)
    emit(bus, 10)
    wait_until(lambda: values(service)["antiphon_recorder_recorded_events_total"] == 10, "10")
    found = values(service)

    assert found["antiphon_recorder_commits_total"] >= 1
    assert found["antiphon_recorder_commit_seconds_total"] > 0
    assert 0 <= found["antiphon_recorder_lag_seconds"] < 10
    assert "antiphon_archive_events" in found


def test_the_reference_names_all_figures(service_of: Callable[..., RecorderService]) -> None:
    """With their kinds."""
    metrics = service_of().metrics()
    found = {
        (metric.name + ("_total" if metric.type == "counter" else ""), metric.type)
        for metric in metrics
        if metric.name.startswith(("antiphon_recorder_", "antiphon_archive_"))
    }

    told = re.findall(r"^\| `(\w+)` \| (\w+) \|", REFERENCE.read_text(), re.MULTILINE)
    assert set(told) == found


def test_the_reference_names_all_settings() -> None:
    """Those of every service are told elsewhere."""
    own = set(RecorderSettings.model_fields) - set(ServiceSettings.model_fields)
    own |= set(RetentionSettings.model_fields)

    text = REFERENCE.read_text()
    assert [] == [name for name in own - {"retention"} if f"| `{name}` |" not in text]
    assert "`[[retention]]`" in text


def test_classes_and_origins_come_from_the_settings(
    bus: BrokerEventManager, service_of: Callable[..., RecorderService], path: Path
) -> None:
    """Classes by their names: the service has none of a program's."""
    service = service_of(classes=("StoreEvent", "test:ServiceRecorded"), origins=("shop",))
    wait_ready(service)
    emit(bus, 2)

    wait_until(lambda: archived(path) == 2, "2 events")


def settings_in(folder: Path, text: str) -> RecorderSettings:
    """Return the settings that *text* makes."""
    file = folder / "recorder.toml"
    file.write_text(text)
    return load(RecorderSettings, file)[0]


def test_bare_names_are_classes_of_ours_or_of_a_main_program(tmp_path: Path) -> None:
    """As the command line takes them."""
    settings = settings_in(
        tmp_path, 'archive_url = "sqlite:a.db"\nclasses = ["StoreEvent", "myapp:Saved"]'
    )

    assert ("antiphon:StoreEvent", "StoreEvent", "myapp:Saved") == settings.class_names


def test_a_class_that_may_be_mistyped_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would silently record nothing; but a program's main module may have one of that name."""
    text = 'archive_url = "sqlite:a.db"\nclasses = ["StoreModificationEvnt", "StoreEvent", "Own"]'

    settings_in(tmp_path, text).check()

    told = "classes: no class 'StoreModificationEvnt' is known here; did you mean"
    assert [f"{told} 'StoreModificationEvent'?"] == caplog.messages


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "archive_url: it is missing"),
        ('archive_url = "sqlite::memory:"', "nobody can read it"),
        ('archive_url = "sqlite:a.db"\nsubscription = "a b"', "the name of a subscription"),
        ('archive_url = "sqlite:a.db"\n[[retention]]\nflags = ["a"]', "needs max_age_s"),
        ('archive_url = "sqlite:a.db"\n[[retention]]\nmax_age_s = 0', "retention[0].max_age_s"),
        ('archive_url = "sqlite:a.db"\nbatch_event = 1', "did you mean 'batch_events'"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, text: str, shown: str) -> None:
    """One line says which, and what to do."""
    with pytest.raises(BadSettings) as caught:
        settings_in(tmp_path, text)

    assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:a.db?read_only=1", "a recorder writes"),
        ("sqlite:a.db?timeout=1", "unknown parameter 'timeout'"),
        ("postgres://a/b", "no archive for"),
    ],
)
def test_urls_that_make_no_sense(url: str, shown: str) -> None:
    """Nothing is opened."""
    with pytest.raises(BadSettings, match="archive_url") as caught:
        RecorderService(RecorderSettings(amqp_url="memory:", archive_url=url))

    assert shown in str(caught.value)


def test_a_service_that_cannot_reach_its_broker_says_so(tmp_path: Path) -> None:
    """It starts all the same, and ends within a moment."""
    service = RecorderService(
        RecorderSettings(amqp_url="amqp://localhost:1", archive_url=f"sqlite:{tmp_path}/a.db")
    )
    service.start()
    wait_until(lambda: service.readiness()["archive"] is None, "the archive is open")
    problem = service.readiness()["bus"]
    began = time.monotonic()
    service.stop()

    assert problem is not None
    assert time.monotonic() - began < 5
