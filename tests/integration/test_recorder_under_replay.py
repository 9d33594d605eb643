"""Recorders that are killed while the past is sent to their own queue once more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bus_helpers import Numbered, wait_until
from recorder_process import RecorderProcess

from antiphon import BusOptions, open_archive, open_bus
from antiphon.archive import replay
from antiphon.archive.recorded import decode_recorded
from antiphon.errors import QueueMissing

EVENTS = 1500


@pytest.fixture
def recorders(
    tmp_path: Path, amqp_url: str, system: str
) -> Iterator[tuple[RecorderProcess, RecorderProcess]]:
    """Two with one subscription and one archive: the second stands by."""
    folders = [tmp_path / name for name in ("first", "second")]
    options = {"archive_url": f"sqlite:///{tmp_path}/archive.db?timeout_s=2", "system": system}
    for folder in folders:
        folder.mkdir()
    first, second = (
        RecorderProcess(folder, amqp_url, batch_events=30, batch_wait_s=0.01, **options)
        for folder in folders
    )
    with first, second:
        first.wait_ready()
        second.wait_ready()
        yield first, second


def test_replayed_to_the_recorder_nothing_is_lost_and_nothing_twice(
    tmp_path: Path,
    amqp_url: str,
    system: str,
    recorders: tuple[RecorderProcess, RecorderProcess],
) -> None:
    """While others emit, and whichever recorder works is killed; its queue is deleted at last."""
    is_over = threading.Event()
    with (
        open_archive(f"sqlite:///{tmp_path}/archive.db", read_only=True) as archive,
        open_bus(amqp_url, system=system, origin="shop") as bus,
        open_bus(amqp_url, system=system, options=BusOptions(answers_roll_call=False)) as operator,
    ):
        replayed: list[int] = []

        def send_again() -> None:
            while not is_over.is_set():
                done = replay(archive, 0, to=operator.replay_to("recorder"))
                replayed.append(done.sent)

        replayer = threading.Thread(target=send_again)
        replayer.start()
        try:
            for number in range(EVENTS):
                bus.emit(Numbered(number=number, text="x" * 500))
                if number % 500 == 250:
                    bus.flush(20)
                    before = sum(replayed)
                    wait_until(lambda n=before: sum(replayed) > n, "some were replayed")
                    one = recorders[number // 500 % 2]
                    one.kill()
                    one.start()
            bus.flush(20)
        finally:
            is_over.set()
            replayer.join(60)
        wait_until(lambda: archive.stats().flags.get("test:Numbered", 0) >= EVENTS, "all", 60)
        found = [decode_recorded(e).number for e in archive.search(0, flags=["test:Numbered"])]

        assert list(range(EVENTS)) == found
        assert sum(replayed) >= 3 * 200
        for one in recorders:
            assert 0 == one.stop()
        bus.subscribe("recorder", Numbered, print, mode="single").delete()
        with pytest.raises(QueueMissing):
            replay(archive, 0, to=operator.replay_to("recorder"))
