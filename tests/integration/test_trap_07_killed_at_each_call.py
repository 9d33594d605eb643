"""Trap 7: writers that are killed at each distinct system call of a commit.

The short form of ``python -m tests.chaos.crashes``, in processes of its own: who
traces a child must have no other.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def _killed(*arguments: str) -> tuple[int, str]:
    """Return exit status and output of the short form."""
    command = [sys.executable, "-m", "tests.chaos.crashes", "--short", "--seed", "7", *arguments]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=100)
    return run.returncode, run.stdout + run.stderr


# Shared disks and HTTP have many calls, and long ones; here some of them are drawn.
@pytest.mark.parametrize(
    ("medium", "most", "least"),
    [
        ("sqlite", 1000, 30),
        ("files", 1000, 60),
        ("locking", 45, 60),
        ("redis", 1000, 20),
        ("http", 8, 4),
    ],
)
def test_a_writer_killed_at_any_call_leaves_a_commit_and_its_events_or_neither(
    medium: str, most: int, least: int
) -> None:
    """Data, journal and index agree afterwards, and every event comes out, once by its id."""
    status, told = _killed("--media", medium, "--most", str(most))
    kills = re.search(r"(\d+) kills in", told)

    assert 0 == status, told
    assert kills is not None
    assert int(kills[1]) >= least, told


@pytest.mark.parametrize("way", ["journal outside", "no sweeping"])
def test_a_broken_promise_is_found(way: str) -> None:
    """A journal outside of the transaction does not pass, nor an outbox that trusts the dead."""
    status, told = _killed("--media", "sqlite", "--sabotage", way)

    assert 1 == status
    assert "BROKEN" in told, told
