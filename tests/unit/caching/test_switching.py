"""A shorter switch interval, while an invalidator wants it."""

import sys
from collections.abc import Iterator

import pytest

from antiphon.caching.invalidator import CacheInvalidator
from antiphon.events.api import EventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.mounted_store import MountedStore


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    """Python's own interval, which is there again after each test."""
    before = sys.getswitchinterval()
    yield before
    assert before == sys.getswitchinterval()


def invalidator(switch_interval_s: float | None) -> CacheInvalidator:
    """Return one over stores in memory."""
    stores = DictMemoryStore(), DictMemoryStore()
    for store in stores:
        store.event_manager = EventManager()
    mounted = MountedStore("p/", *stores, fill=True)
    mounted.connect()
    return CacheInvalidator(mounted, check_interval_s=0.05, switch_interval_s=switch_interval_s)


def test_it_holds_while_started(usual: float) -> None:
    """start() sets it, stop() restores what was before."""
    with invalidator(0.0005):
        during = sys.getswitchinterval()

    assert 0.0005 == pytest.approx(during)


def test_unless_asked_for_nothing_changes(usual: float) -> None:
    """It costs the whole process something, so nobody gets it unasked."""
    with invalidator(None):
        assert usual == sys.getswitchinterval()


def test_the_last_one_to_stop_restores_it(usual: float) -> None:
    """Of several the shortest counts, and each may stop first."""
    one, two = invalidator(0.001).start(), invalidator(0.0005).start()
    both = sys.getswitchinterval()
    two.stop()
    first = sys.getswitchinterval()
    one.stop()

    assert (0.0005, 0.001) == (pytest.approx(both), pytest.approx(first))


def test_a_longer_one_than_now_changes_nothing(usual: float) -> None:
    """It is asked for so that others wait less, never more."""
    with invalidator(usual * 100):
        assert usual == sys.getswitchinterval()


@pytest.mark.parametrize("interval_s", [0, -1.0])
def test_an_interval_of_nothing_is_refused(interval_s: float) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match=f"switch_interval_s is {interval_s}"):
        invalidator(interval_s)
