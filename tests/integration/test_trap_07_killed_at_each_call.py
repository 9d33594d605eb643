"""Trap 7: writers that are killed at each distinct system call of a commit.

The short form of ``python -m tests.chaos.crashes``, in processes of its own: who
traces a child must have no other.  All of them run at once, since they mostly wait.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

#: Seconds until all of them have ended on a busy machine.
_TIMEOUT_S = 170.0

#: At most so many kills of writers that commit the same, and at least so many in all.
#: Shared disks and HTTP have many calls, and long ones; here some of them are drawn.
MEDIA = {
    "sqlite": (1000, 30),
    "files": (1000, 60),
    "locking": (30, 40),
    "redis": (1000, 20),
    "http": (8, 4),
}

#: What breaks the promise: a journal outside of the transaction, an outbox that trusts the dead.
SABOTAGE = ("journal outside", "no sweeping")


class Killing:
    """The short form, in a process.

    Args:
        log: where it writes what it says.
    """

    def __init__(self, log: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "tests.chaos.crashes", "--short", "--seed", "7"]
        self._log = log
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, *arguments], cwd=_ROOT, stdout=said, stderr=subprocess.STDOUT
            )

    def ended(self) -> tuple[int, str]:
        """Wait for its end; return its status and what it said."""
        return self.process.wait(_TIMEOUT_S), self._log.read_text()

    def close(self) -> None:
        """Have it end."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def killings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Killing]]:
    """All of them, by medium and by what is broken."""
    folder = tmp_path_factory.mktemp("killings")
    options = {
        **{name: ["--media", name, "--most", str(most)] for name, (most, _) in MEDIA.items()},
        **{name: ["--media", "sqlite", "--sabotage", name] for name in SABOTAGE},
    }
    begun = {name: Killing(folder / name, *options[name]) for name in options}
    yield begun
    for killing in begun.values():
        killing.close()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("medium", MEDIA)
def test_a_writer_killed_at_any_call_leaves_a_commit_and_its_events_or_neither(
    medium: str, killings: dict[str, Killing]
) -> None:
    """Data, journal and index agree afterwards, and every event comes out, once by its id."""
    status, told = killings[medium].ended()
    kills = re.search(r"(\d+) kills in", told)

    assert 0 == status, told
    assert kills is not None
    assert int(kills[1]) >= MEDIA[medium][1], told


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", SABOTAGE)
def test_a_broken_promise_is_found(way: str, killings: dict[str, Killing]) -> None:
    """A journal outside of the transaction does not pass, nor an outbox that trusts the dead."""
    status, told = killings[way].ended()

    assert 1 == status
    assert "BROKEN" in told, told
