"""``antiphon archive tail`` as a process: how it goes on, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from antiphon.archive import Event, open_archive

COMMAND = [sys.executable, "-m", "antiphon.cli.main", "archive", "tail"]

Tailing = subprocess.Popen[str]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """URL of an archive with one event."""
    url = f"sqlite://{tmp_path}/archive.db"
    with open_archive(url) as store:
        store.save(Event("first", "test"))
    return url


@contextmanager
def tailing(url: str, *arguments: str) -> Iterator[Tailing]:
    """Run the command, and go on when it has caught up."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"ANTIPHON_ARCHIVE_URL": url},
    )
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    try:
        assert process.stderr is not None
        assert "antiphon: caught up\n" == process.stderr.readline()
        yield process
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()


def test_what_is_archived_is_printed_at_once(url: str) -> None:
    """History, the mark, and then each event as it comes, whatever its time."""
    with tailing(url, "--since", "1h", "--json") as process, open_archive(url) as store:
        assert process.stdout is not None
        found = [process.stdout.readline()]
        for name, timestamp in (("second", None), ("late", 1.0)):
            store.save(Event(name, "test", timestamp))  # type: ignore[arg-type]
            found.append(process.stdout.readline())

    assert ["first", "second", "late"] == [json.loads(line)["id"] for line in found]


def test_a_closed_pipe_ends_a_tail(url: str) -> None:
    """``| head`` that has had enough ends the command although no event comes."""
    with tailing(url) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None

        assert 141 == process.wait(30)
        assert "" == process.stderr.read()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_signals_end_a_tail_without_a_word(url: str, number: signal.Signals, status: int) -> None:
    """Ctrl-C and SIGTERM end with the statuses that shells expect, and no traceback."""
    with tailing(url) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)

        assert (status, "", "") == (process.returncode, output, errors)
