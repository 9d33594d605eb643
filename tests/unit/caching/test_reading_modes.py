"""What a mounted store serves in each mode, and what each read may ask for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.caching.applier import Applier
from antiphon.errors import InvalidFreshness, InvalidValue, KeyNotFound, StoreUnavailable
from antiphon.storage import filling_mount
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.freshness import boot_clock
from antiphon.storage.freshness_modes import FreshnessReport, bounded
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import Position, Version
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.storage.value import Value

DEADLINE_S = 20.0


class Source(DictMemoryStore):
    """A backing store that counts, and can be away or slow."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.reads = 0
        self.heads = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def get(self, key: str) -> Value:
        self.reads += 1
        self._check()
        return super().get(key)

    def head(self) -> Position:
        self.heads += 1
        self._check()
        return super().head()

    def _check(self) -> None:
        assert self.may_answer.wait(DEADLINE_S)
        if self.is_away:
            raise StoreUnavailable("nobody there")


class Setting:
    """A source, a cache over it in *medium*, and what keeps it right."""

    def __init__(self, medium: Any = None, **options: Any) -> None:
        self.source = Source()
        self.own = DictMemoryStore() if medium is None else medium
        self.aged_s = 0.0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(filling_mount, "boot_clock", lambda: boot_clock() + self.aged_s)
            self.mounted = MountedStore("p/", self.own, self.source, fill=True, **options)
        self.mounted.connect()
        self.filling = self.mounted.filling
        self.ledger = self.filling.ledger
        self.applier = Applier(self.ledger, self.source, "p/")
        self.source.from_bytes("p/a", b"one")
        self.catch_up()
        self.ledger.beat()

    def age(self, seconds: float) -> None:
        """Have the reader's clock go on."""
        self.aged_s += seconds

    def catch_up(self) -> None:
        self.applier.catch_up(lambda *told: None, after_doubt=False)
        self.filling.freshness.advanced()

    def read(self, **asked: Any) -> bytes:
        return self.mounted.get("p/a", **asked).data.read()

    def told(self, **asked: Any) -> FreshnessReport:
        told = self.mounted.get("p/a", **asked).freshness
        assert told is not None
        return told


@pytest.fixture
def setting() -> Setting:
    return Setting()


# -- What is told --------------------------------------------------------------


def test_a_value_says_where_it_is_from(setting: Setting) -> None:
    """Read from the source, then from the cache, then the user's own."""
    told = [setting.told(), setting.told()]
    setting.mounted.from_bytes("p/a", b"mine")
    told.append(setting.told())

    assert ["fresh"] * 3 == [report.state for report in told]
    assert ["from the backing store", "all changes are applied", "the user's own"] == [
        part
        for part, report in zip(
            ("from the backing store", "all changes are applied", "the user's own"),
            told,
            strict=True,
        )
        if part in report.why
    ]
    assert setting.source.head() == told[1].position


def test_the_age_is_that_of_the_question(setting: Setting) -> None:
    """What the source had when it was asked is in it; what came since may not be."""
    setting.read()
    setting.read()
    setting.age(0.5)

    assert 0.5 == pytest.approx(setting.told().age_s, abs=0.4)
    assert 0.5 == pytest.approx(setting.mounted.freshness().age_s, abs=0.4)
    assert "fresh" == setting.mounted.freshness().state


def test_a_cache_that_fell_behind_says_so(setting: Setting) -> None:
    """The report is that of what would be served now."""
    setting.read()
    setting.source.from_bytes("p/b", b"more")
    setting.age(3.1)
    report = setting.mounted.freshness()

    assert ("unsure", "the cache is behind the backing store") == (report.state, report.why)
    assert report.position != setting.source.head()


# -- The modes -----------------------------------------------------------------


def test_strict_serves_no_value_that_changed_before_the_read() -> None:
    """Nobody told the cache of the change, and no time has passed."""
    setting = Setting(freshness="strict")
    setting.read()
    assert b"one" == setting.read()
    setting.source.from_bytes("p/a", b"two")

    assert b"two" == setting.read()
    assert (1, 1) == (setting.mounted.cache_stats().hits, setting.mounted.cache_stats().unsure)


def test_strict_fails_while_the_source_is_away() -> None:
    """A value that cannot be shown to be fresh is not served."""
    setting = Setting(freshness="strict")
    setting.read()
    setting.source.is_away = True

    with pytest.raises(StoreUnavailable):
        setting.read()


def test_bounded_serves_within_the_bound_while_the_source_is_away() -> None:
    """Then it fails, rather than serve what may be older."""
    setting = Setting(freshness=bounded(3))
    setting.read()
    setting.read()
    setting.source.is_away = True
    setting.age(2.9)
    assert b"one" == setting.read()
    setting.age(0.2)

    with pytest.raises(StoreUnavailable):
        setting.read()


def test_available_serves_and_flags_while_the_source_is_away() -> None:
    """What is served then says that it is unsure, since when, and why."""
    setting = Setting(freshness="available")
    setting.read()
    assert "fresh" == setting.told().state
    setting.source.is_away = True
    setting.age(3600)
    setting.read()
    wait_until(lambda: "nobody there" in setting.told().why, "it was asked beside")
    told = setting.told()

    assert ("unsure", 3600.0) == (told.state, pytest.approx(told.age_s, abs=DEADLINE_S))
    assert b"one" == setting.read()
    assert setting.mounted.cache_stats().stale_served >= 3
    with pytest.raises(StoreUnavailable):
        setting.mounted.get("p/never-read")


def test_available_waits_for_no_source_that_hangs() -> None:
    """Ten reads take less than a second while one question is under way beside them."""
    setting = Setting(freshness="available")
    setting.read()
    setting.read()
    setting.age(10)
    setting.source.may_answer.clear()
    began = time.monotonic()
    states = [setting.told().state for _ in range(10)]
    took_s = time.monotonic() - began
    setting.source.may_answer.set()

    assert ["unsure"] * 10 == states
    assert took_s < 1


def test_available_becomes_fresh_again(setting: Setting) -> None:
    """Once the source answers, nothing is flagged any more."""
    setting = Setting(freshness="available")
    setting.read()
    setting.source.is_away = True
    setting.age(10)
    assert "unsure" == setting.told().state
    setting.source.is_away = False
    setting.age(10)

    wait_until(lambda: setting.told().state == "fresh", "the source answered")


# -- What one read asks for ----------------------------------------------------


def test_a_read_waits_for_the_position_it_asks_for(setting: Setting) -> None:
    """A process reads what it wrote, from the cache, as soon as the event is there."""
    setting.read()
    setting.read()
    version = setting.source.from_bytes("p/b", b"more")
    assert isinstance(version, Version)
    timer = threading.Timer(0.02, setting.catch_up)
    timer.start()
    hits = setting.mounted.cache_stats().hits
    read = setting.read(at_least=version)
    timer.join()

    assert b"one" == read
    stats = setting.mounted.cache_stats()
    assert (hits + 1, 1, 0) == (stats.hits, stats.waited, stats.unsure)


def test_a_read_goes_through_where_the_position_does_not_come(setting: Setting) -> None:
    """The wait is bounded, and what it was for is read at its source."""
    setting.read()
    setting.read()
    version = setting.source.from_bytes("p/a", b"two")
    assert b"one" == setting.read()

    assert b"two" == setting.read(at_least=version)
    assert {} == setting.mounted.get_metadata("p/a", at_least=version)
    assert b"wo" == setting.mounted.get_data_range("p/a", 1, at_least=version).read()
    assert b"two" == setting.mounted.get_data("p/a", at_least=version).read()
    assert setting.mounted.exists("p/a", at_least=version)


def test_in_doubt_nobody_waits_for_a_position(setting: Setting) -> None:
    """No one is there who would come to it."""
    setting.read()
    version = setting.source.from_bytes("p/a", b"two")
    setting.ledger.doubt()

    assert b"two" == setting.read(at_least=version)
    assert 0 == setting.mounted.cache_stats().waited


def test_a_read_may_ask_for_a_younger_value(setting: Setting) -> None:
    """max_age_s narrows the bound for one read; 0 is what strict does."""
    setting.read()
    assert b"one" == setting.read()
    setting.source.from_bytes("p/a", b"two")
    setting.age(0.5)

    assert b"one" == setting.read()
    assert b"one" == setting.read(max_age_s=0.6)
    assert b"two" == setting.read(max_age_s=0.4)


def test_available_gives_a_read_what_it_asks_for_or_fails() -> None:
    """A demand of one read counts more than the mode of all."""
    setting = Setting(freshness="available")
    setting.read()
    version = setting.source.from_bytes("p/a", b"two")
    assert b"one" == setting.read()

    assert b"two" == setting.read(max_age_s=0)
    assert b"two" == setting.read(at_least=version)
    setting.source.is_away = True
    with pytest.raises(StoreUnavailable):
        setting.read(max_age_s=0)


def test_demands_that_cannot_be_met_are_told(setting: Setting) -> None:
    """A position of another store, and any demand of a store that is no cache."""
    other = DictMemoryStore()
    with pytest.raises(InvalidFreshness, match="of another store"):
        setting.read(at_least=other.head())
    plain = MountedStore("p/", DictMemoryStore(), other)
    plain.connect()

    with pytest.raises(InvalidFreshness, match="holds no cache"):
        plain.get("p/a", max_age_s=1)
    with pytest.raises(InvalidValue, match="give fill=True"):
        MountedStore("p/", DictMemoryStore(), other, freshness="strict")


# -- After a lost history ------------------------------------------------------


def test_what_the_source_still_has_is_confirmed_and_not_read(setting: Setting) -> None:
    """One question for the version, and the entry is as good as before."""
    setting.read()
    setting.ledger.suspect()
    filled = setting.mounted.cache_stats().fills

    assert b"one" == setting.read()
    assert b"one" == setting.read()
    stats = setting.mounted.cache_stats()
    assert (filled, 1) == (stats.fills, stats.confirmed)


def test_what_the_source_has_another_version_of_is_read_anew(setting: Setting) -> None:
    """Nothing is served on a version that is not the source's."""
    setting.read()
    setting.source.from_bytes("p/a", b"two")
    setting.ledger.suspect()

    assert b"two" == setting.read()
    assert 0 == setting.mounted.cache_stats().confirmed


def test_what_the_source_has_no_more_is_gone(setting: Setting) -> None:
    """An unchecked entry proves nothing."""
    setting.read()
    setting.source.delete("p/a")
    setting.ledger.suspect()

    with pytest.raises(KeyNotFound):
        setting.read()
    assert not setting.mounted.exists("p/a")
    assert [] == list(setting.ledger.keys())


def test_readers_that_come_at_once_confirm_once(setting: Setting) -> None:
    """The source is asked as often as for one or two of them."""
    setting.read()
    setting.ledger.suspect()
    setting.source.may_answer.clear()
    before = setting.source.reads
    read: list[bytes] = []
    first = in_threads(1, lambda: read.append(setting.read()))
    wait_until(lambda: setting.source.reads == before + 1, "the first one asks")
    rest = in_threads(8, lambda: read.append(setting.read()))
    for thread in rest:
        thread.join(0.01)
    setting.source.may_answer.set()
    for thread in first + rest:
        thread.join(DEADLINE_S)

    assert [b"one"] * 9 == read
    assert setting.source.reads <= before + 4


def test_available_serves_suspects_flagged_and_confirms_them_beside() -> None:
    """Nobody waits for the source; the next read knows."""
    setting = Setting(freshness="available")
    setting.read()
    setting.ledger.suspect()
    told = setting.told()

    assert ("unsure", True) == (told.state, "history" in told.why)
    wait_until(lambda: setting.told().state == "fresh", "it was confirmed")
    assert setting.mounted.cache_stats().confirmed >= 1


# -- Single flight, bounds -----------------------------------------------------


def test_readers_that_miss_at_once_read_the_source_once(setting: Setting) -> None:
    """One fills, and the others take what it brought."""
    setting.source.may_answer.clear()
    read: list[bytes] = []
    first = in_threads(1, lambda: read.append(setting.read()))
    wait_until(lambda: setting.source.reads == 1, "the first one reads")
    rest = in_threads(8, lambda: read.append(setting.read()))
    for thread in rest:
        thread.join(0.01)
    setting.source.may_answer.set()
    for thread in first + rest:
        thread.join(DEADLINE_S)

    assert [b"one"] * 9 == read
    stats = setting.mounted.cache_stats()
    assert (1, setting.source.reads) == (stats.fills, 1)


def test_a_push_is_read_back_though_a_fill_was_under_way(setting: Setting) -> None:
    """The fill began before; what it brings is nobody's who comes after the push."""
    setting.mounted.from_bytes("p/a", b"mine")
    setting.source.may_answer.clear()
    flight = in_threads(1, lambda: setting.filling._fills.run("p/a", lambda: None, within_s=3))
    setting.source.may_answer.set()
    setting.mounted.push("p/a")
    for thread in flight:
        thread.join(DEADLINE_S)

    assert b"mine" == setting.read()
    assert b"mine" == setting.source.to_bytes("p/a")


def test_a_cache_stays_within_its_bounds() -> None:
    """What was not read lately goes first."""
    setting = Setting(max_entries=10)
    for number in range(30):
        setting.source.from_bytes(f"p/{number}", b"x")
    setting.catch_up()
    for number in range(30):
        setting.read()
        setting.mounted.get(f"p/{number}")

    assert len(list(setting.ledger.keys())) <= 10
    assert "p/a" in set(setting.ledger.keys())
    assert setting.mounted.cache_stats().evicted >= 20


def test_a_value_above_the_bound_is_served_and_not_kept() -> None:
    """It would push out everything else, and itself."""
    setting = Setting(max_bytes=2)

    assert b"one" == setting.read()
    assert [] == list(setting.ledger.keys())


# -- The quick way -------------------------------------------------------------


def test_the_quick_way_sees_what_the_long_one_does(setting: Setting) -> None:
    """Own writes, open transactions, doubts, suspects and drops all end it at once."""
    setting.read()
    setting.read()
    quick = setting.mounted._quick
    assert quick is not None

    def is_hit() -> bool:
        return quick("p/a") is not None

    assert is_hit()
    with setting.mounted.transaction("t"):
        assert not is_hit()
    setting.own.from_bytes("a", b"mine")
    assert not is_hit()
    setting.own.delete("a")
    assert is_hit()
    setting.ledger.doubt()
    assert not is_hit()
    setting.ledger.beat()
    setting.filling.freshness.doubt("the broker is away")
    assert not is_hit()
    setting.filling.freshness.vouch()
    assert is_hit()
    setting.ledger.suspect()
    assert not is_hit()
    assert b"one" == setting.read()
    assert is_hit()
    setting.age(1.01)
    assert not is_hit()
    setting.age(-1.0)
    setting.ledger.void("p/a", None)
    assert not is_hit()


def test_a_store_that_reads_in_its_own_way_has_no_quick_one() -> None:
    """A subclass means all reads."""

    class Own(DictMemoryStore):
        def get(self, key: str) -> Value:
            if key == "a":
                return StringValue(b"always mine")
            return super().get(key)

    setting = Setting(Own())

    assert setting.mounted._quick is None
    assert b"always mine" == setting.read()


def test_a_key_that_is_no_text_is_refused_as_ever(setting: Setting) -> None:
    """The quick way leaves it to the long one."""
    setting.read()

    with pytest.raises(TypeError):
        setting.mounted.get(7)  # type: ignore[arg-type]


# -- Several journals ----------------------------------------------------------


def test_a_cache_over_a_joined_store_follows_each_of_its_stores() -> None:
    """A write returns a version of one of them; only a position says which."""
    first, second = DictMemoryStore(), DictMemoryStore()
    second.from_bytes("p/a", b"one")
    mounted = MountedStore("p/", DictMemoryStore(), JoinedStore([first, second]), fill=True)
    mounted.connect()
    ledger = mounted.filling.ledger
    for store in (first, second):
        ledger.advance(store.head())
    ledger.beat()
    for _ in range(2):
        assert b"one" == mounted.get("p/a").data.read()
    assert 1 == mounted.cache_stats().hits
    assert 2 == len(mounted.freshness().positions)
    version = second.from_bytes("p/a", b"two")

    assert b"one" == mounted.get("p/a").data.read()
    assert b"two" == mounted.get("p/a", at_least=second.head()).data.read()
    with pytest.raises(InvalidFreshness, match="2 journals"):
        mounted.get("p/a", at_least=version)


@pytest.mark.parametrize("mode", ["strict", "bounded(3)", "available"])
def test_the_modes_hold_in_a_file_too(tmp_path: Any, mode: str) -> None:
    """The long way, which other media go."""
    store = SqliteStore(str(tmp_path / "cache.db"), "cache")
    store.connect()
    try:
        setting = Setting(store, freshness=mode)
        assert setting.mounted._quick is None
        setting.read()
        assert (b"one", "fresh") == (setting.read(), setting.told().state)
        setting.source.from_bytes("p/a", b"two")
        setting.catch_up()
        setting.mounted.from_bytes("p/b", b"mine")

        assert b"two" == setting.read()
        assert b"mine" == setting.mounted.get("p/b").data.read()
    finally:
        store.disconnect()


# -- Help ----------------------------------------------------------------------


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        threading.Event().wait(0.001)


def in_threads(count: int, act: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=act, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads
