"""A cache of the invalidator service: its health is honest, and its figures are documented."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import BrokerEventManager, open_bus, open_store
from antiphon.caching.stats import InvalidatorStats
from antiphon.events.api import EventManager
from antiphon.storage.cache_stats import CacheStats
from antiphon.storage.string_value import StringValue
from patience import wait_until
from services.invalidator.cache import WatchedCache
from services.invalidator.metrics import INVALIDATOR_COUNTERS, READER_COUNTERS, cache_metrics
from services.invalidator.settings import CacheSettings

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "invalidator-service.md"

#: Seconds that anything here may take.
DEADLINE_S = 10.0


@pytest.fixture
def bus(request: pytest.FixtureRequest) -> Iterator[BrokerEventManager]:
    """A bus of the test's own."""
    with open_bus(f"memory://watched-{request.node.name}") as opened:
        yield opened


@pytest.fixture
def watch(tmp_path: Path, bus: BrokerEventManager) -> Iterator[Callable[..., WatchedCache]]:
    """Start to watch a cache over two sqlite files."""
    watched: list[WatchedCache] = []

    def start(**options: Any) -> WatchedCache:
        settings = CacheSettings(
            name="prices",
            mount_point="p/",
            cache_url=f"sqlite:///{tmp_path}/cache.db",
            backing_url=f"sqlite:///{tmp_path}/store.db",
            check_interval_s=0.05,
            **options,
        )
        watched.append(WatchedCache(settings, bus))
        watched[-1].start()
        return watched[-1]

    yield start
    for cache in watched:
        cache.stop()


def test_a_watched_cache_becomes_ready(watch: Callable[..., WatchedCache]) -> None:
    """Opening takes a moment, of which readiness tells."""
    cache = watch()
    wait_until(lambda: cache.problem() is None, "it is vouched for")
    stats = cache.stats()

    assert cache.is_alive()
    assert stats is not None
    assert stats.staleness_s is not None


def test_a_look_that_hangs_is_no_readiness(watch: Callable[..., WatchedCache]) -> None:
    """Nothing fails, and nobody vouches any more: /readyz says since when."""
    cache = watch(ready_within_s=0.2)
    wait_until(lambda: cache.problem() is None, "it is vouched for")
    store: Any = cache.mounted.backing_store
    goes_on, since = threading.Event(), store.since

    def hang(position: Any) -> Any:
        assert goes_on.wait(DEADLINE_S)
        return since(position)

    store.since = hang
    try:
        wait_until(lambda: cache.problem() is not None, "the silence is noticed")
        problem = cache.problem()
    finally:
        goes_on.set()
        del store.since
    wait_until(lambda: cache.problem() is None, "it is vouched for again")

    assert re.fullmatch(r"its journal was read last \d+ s ago", problem or "")


def test_a_look_that_hangs_is_told_beside_an_older_doubt(
    watch: Callable[..., WatchedCache], bus: BrokerEventManager
) -> None:
    """The reason of the doubt may be over, and the silence still keep it from ending."""
    cache = watch(ready_within_s=0.2)
    wait_until(lambda: cache.problem() is None, "it is vouched for")
    store: Any = cache.mounted.backing_store
    goes_on, since = threading.Event(), store.since

    def hang(position: Any) -> Any:
        assert goes_on.wait(DEADLINE_S)
        return since(position)

    bus.close()
    wait_until(lambda: cache.problem() is not None, "the break is noticed")
    store.since = hang
    try:
        wait_until(lambda: "; " in (cache.problem() or ""), "both are noticed")
        problem = cache.problem()
    finally:
        goes_on.set()
        del store.since

    told = r"it is in doubt: its bus was closed; its journal was read last \d+ s ago"
    assert re.fullmatch(told, problem or "")


def test_a_lost_bus_is_told_with_its_reason(
    watch: Callable[..., WatchedCache], bus: BrokerEventManager
) -> None:
    """Whoever asks /readyz learns why the cache is in doubt."""
    cache = watch()
    wait_until(lambda: cache.problem() is None, "it is vouched for")
    bus.close()
    wait_until(lambda: cache.problem() is not None, "the break is noticed")

    assert "it is in doubt: its bus was closed" == cache.problem()


def test_a_journal_can_be_followed_alone(
    watch: Callable[..., WatchedCache], bus: BrokerEventManager, tmp_path: Path
) -> None:
    """The changes of a store that tells another broker are found all the same."""
    cache = watch(follow="journal")
    wait_until(lambda: cache.problem() is None, "it is vouched for")
    with open_store(f"sqlite:///{tmp_path}/store.db", event_manager=EventManager()) as other:
        other.set("p/a", StringValue(b"one"))
        wait_until(lambda: (stats := cache.stats()) and stats.applied == 1, "it is applied")
    bus.close()

    assert cache.problem() is None


# -- What is documented --------------------------------------------------------------


def documented(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table below a heading, by the name in their first cell."""
    text = REFERENCE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`") and len(row) == 3}


class Shown:
    """Stands for a watched cache whose figures are known."""

    title = "prices"

    def problem(self) -> str | None:
        return None

    def stats(self) -> InvalidatorStats | None:
        counts = dict.fromkeys(INVALIDATOR_COUNTERS, 1)
        return InvalidatorStats(**counts, staleness_s=0.5)

    def read_stats(self) -> CacheStats:
        return CacheStats(**dict.fromkeys(READER_COUNTERS, 2))


def test_all_figures_of_a_cache_are_documented() -> None:
    """The table has each with its kind, in the same words, and no other."""
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): [
            family.type,
            family.documentation.rstrip(".").lower(),
        ]
        for family in cache_metrics([Shown()])  # type: ignore[list-item]
    }
    table = {name: [kind, text.lower()] for name, (kind, text) in documented("Metrics").items()}
    histogram = table.pop("antiphon_cache_invalidation_seconds")

    assert "histogram" == histogram[0]
    assert shown == table


def test_each_figure_is_that_of_its_cache() -> None:
    """What an invalidator and the readers counted is shown under the name of the cache."""
    samples = {
        sample.name: (sample.labels, sample.value)
        for family in cache_metrics([Shown()])  # type: ignore[list-item]
        for sample in family.samples
    }

    assert {"cache": "prices"} == samples["antiphon_cache_repairs_total"][0]
    assert 1 == samples["antiphon_cache_repairs_total"][1]
    assert 2 == samples["antiphon_cache_voided_total"][1]
    assert 0.5 == samples["antiphon_cache_staleness_seconds"][1]


def test_all_settings_of_a_cache_are_documented() -> None:
    """The table has each with what it is when it is not given."""
    fields = CacheSettings.model_fields
    defaults = {
        name: default
        for name, (_, default) in documented("Settings of a cache").items()
        if name != "name"
    }

    assert set(fields) == {"name", *defaults}
    assert defaults.pop("ready_within_s").startswith("5, or three times")
    for name, shown in defaults.items():
        field = fields[name]
        given = str(field.default).removesuffix(".0")
        assert shown.strip('`"') == ("must be given" if field.is_required() else given)


def test_it_must_be_possible_to_be_ready() -> None:
    """Between two looks a cache is as ready as after one."""
    with pytest.raises(ValueError, match="make ready_within_s at least 30"):
        CacheSettings(
            mount_point="p/",
            cache_url="redis://a",
            backing_url="redis://b",
            check_interval_s=10,
            ready_within_s=20,
        )


@pytest.mark.parametrize(("interval_s", "limit_s"), [(1.0, 5.0), (3600.0, 10800.0)])
def test_it_is_ready_as_long_as_looks_come_as_they_should(
    interval_s: float, limit_s: float
) -> None:
    """Unless told otherwise it bears three looks that fail, and five seconds."""
    settings = CacheSettings(
        mount_point="p/",
        cache_url="redis://a",
        backing_url="redis://b",
        check_interval_s=interval_s,
    )

    assert limit_s == settings.staleness_limit_s
