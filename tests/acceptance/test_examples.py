"""The examples do what they say."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def example(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example, with warnings as errors; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    try:
        yield process
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()


def test_publisher_and_subscriber(amqp_url: str) -> None:
    """What one measures the other prints, also what was measured while it was away."""
    with example("subscriber", amqp_url, "1") as subscriber:
        assert subscriber.stdout is not None
        assert "listening\n" == subscriber.stdout.readline()
        with example("publisher", amqp_url, "berlin", "2") as publisher:
            output, errors = publisher.communicate(timeout=30)
        heard, complaints = subscriber.communicate(timeout=30)

        assert ("emitted 1\nemitted 2\n", "", 0) == (output, errors, publisher.returncode)
        assert "weather.berlin: " in heard
        assert ("", 0) == (complaints, subscriber.returncode)

    with example("subscriber", amqp_url, "1") as subscriber:
        heard, complaints = subscriber.communicate(timeout=30)

        assert "weather.berlin: " in heard
        assert ("", 0) == (complaints, subscriber.returncode)


def test_cache(amqp_url: str, redis_url: str) -> None:
    """The cache has the second price when the shop has written it."""
    with example("cache", amqp_url, f"{redis_url}?namespace=catalogue") as process:
        output, errors = process.communicate(timeout=30)

        assert ("bread costs 1.20\nbread costs 1.35\n", "") == (output, errors)
