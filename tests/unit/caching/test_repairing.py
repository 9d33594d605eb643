"""However changes are heard of, the cache ends equal to its stores (trap 6)."""

import io
import random
from uuid import UUID

import pytest
from fakes import FakeJournal
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.caching import applier as applier_module
from antiphon.caching.applier import Applier
from antiphon.caching.changes import Heard
from antiphon.errors import StoreUnavailable
from antiphon.storage.journal import JournalEntry, Version
from antiphon.storage.ledger import Fill
from antiphon.storage.memory_ledger import MemoryLedger

KEYS = [f"p/{n}" for n in range(5)]


class Stores:
    """Stores with a journal each, and a cache of what they have together."""

    def __init__(self, count: int = 1, ledger: MemoryLedger | None = None) -> None:
        self.journals = [FakeJournal() for _ in range(count)]
        self.ledger = ledger or MemoryLedger()
        self.applier = Applier(self.ledger, self.journals, "p/")
        self.versions: dict[tuple[int, str], Version] = {}

    def catch_up(self, *, applier: Applier | None = None) -> int:
        return (applier or self.applier).catch_up(after_doubt=True)

    def change(self, store: int, key: str) -> JournalEntry:
        (entry,) = self.journals[store].change(key)
        self.versions[store, key] = entry.version
        return entry

    def heard(self, store: int, entry: JournalEntry) -> Heard:
        return Heard(str(entry.key), self.journals[store].position_of(entry))

    def cache(self, key: str) -> None:
        """Fill as a reader does; the value names the version of each store."""
        fill = Fill(io.BytesIO(repr(self.state(key)).encode()), {}, None, None, self.version(key))
        self.ledger.fill(self.ledger.reserve(key), fill)

    def state(self, key: str) -> list[Version | None]:
        return [self.versions.get((store, key)) for store in range(len(self.journals))]

    def version(self, key: str) -> Version | None:
        return self.versions.get((0, key)) if len(self.journals) == 1 else None

    def stale(self) -> list[str]:
        """Return the keys of which the cache has another value than the stores."""
        found = {key: self.ledger.lookup(key).entry for key in KEYS}
        return [
            key
            for key, entry in found.items()
            if entry is not None
            and entry.checked
            and entry.data.read() != repr(self.state(key)).encode()
        ]

    def are_positions_heads(self) -> bool:
        heads = {journal.store_id: journal.head() for journal in self.journals}
        return heads == self.ledger.positions()


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(KEYS)), min_size=1, max_size=25),
    lost=st.sets(st.integers(0, 24)),
    size=st.integers(1, 6),
    seed=st.integers(0, 2**16),
    count=st.integers(1, 2),
)
def test_trap_6_any_stream_ends_equal_to_the_stores(
    changes: list[tuple[int, str]], lost: set[int], size: int, seed: int, count: int
) -> None:
    """Shuffled, repeated, with losses, in batches of any size, over one store or two."""
    rng = random.Random(seed)
    stores = Stores(count)
    stores.catch_up()
    made = [(n % count, stores.change(n % count, key)) for n, key in changes]
    stream = [one for number, one in enumerate(made) if number not in lost]
    stream += rng.sample(stream, len(stream) // 2)
    rng.shuffle(stream)
    while stream:
        stores.cache(rng.choice(KEYS))
        batch, stream = stream[:size], stream[size:]
        assert stores.applier.apply_many([stores.heard(*one) for one in batch]).is_consistent
    stores.catch_up()

    assert [] == stores.stale()
    assert stores.are_positions_heads()
    assert 0 == stores.catch_up()


def test_without_a_loss_no_journal_is_needed() -> None:
    """Events alone, in any order, bring the position to the head."""
    stores = Stores()
    stores.catch_up()
    made = [stores.change(0, key) for key in KEYS * 4]
    random.Random(1).shuffle(made)
    stores.applier.apply_many([stores.heard(0, entry) for entry in made])

    assert stores.are_positions_heads()
    assert not stores.applier.has_gap


def test_positions_come_after_the_drops_of_their_batch() -> None:
    """Nobody sees a position whose changes are still in the cache (trap 6)."""
    seen: list[bool] = []

    class Watched(MemoryLedger):
        def advance(self, position: object) -> None:
            seen.append(self.lookup("p/0").entry is None)
            super().advance(position)  # type: ignore[arg-type]

    stores = Stores(ledger=Watched())
    stores.catch_up()
    stores.cache("p/0")
    seen.clear()
    stores.applier.apply_many([stores.heard(0, stores.change(0, key)) for key in KEYS])

    assert [True] == seen


def test_readers_are_told_after_the_position() -> None:
    """Who waits for a position finds it when it is woken."""
    told: list[bool] = []
    stores = Stores()
    stores.applier = Applier(
        stores.ledger,
        stores.journals,
        "p/",
        moved=lambda: told.append(stores.are_positions_heads()),
    )
    stores.catch_up()
    stores.applier.apply_many([stores.heard(0, stores.change(0, "p/0"))])

    assert [True, True] == told


def test_versions_of_several_stores_are_not_compared() -> None:
    """A change of one with few changes drops an entry that another with many has filled."""
    stores = Stores(2)
    stores.catch_up()
    for _ in range(9):
        stores.change(0, "p/0")
    stores.catch_up()
    stores.ledger.fill(
        stores.ledger.reserve("p/0"),
        Fill(io.BytesIO(b"x"), {}, None, None, stores.versions[0, "p/0"]),
    )
    stores.applier.apply_many([stores.heard(1, stores.change(1, "p/0"))])

    assert [] == list(stores.ledger.keys())


def test_one_lost_history_leaves_the_position_of_the_other() -> None:
    """All entries are checked anew, but only the store that lost something begins at its head."""
    stores = Stores(2)
    stores.catch_up()
    stores.change(0, "p/0")
    stores.change(1, "p/1")
    stores.catch_up()
    stores.cache("p/1")
    stores.journals[0].rewind(1)
    stores.change(0, "p/2")
    stores.catch_up()

    assert stores.are_positions_heads()
    assert [] == stores.stale()
    assert 3 == stores.applier.counts.rebuilds


def test_a_cache_of_another_store_is_checked_anew() -> None:
    """A cache file may have been used with another backing store before."""
    earlier = Stores()
    earlier.catch_up()
    earlier.change(0, "p/0")
    earlier.catch_up()
    earlier.cache("p/0")
    later = Stores(ledger=earlier.ledger)
    later.catch_up()

    assert [] == later.stale()
    assert later.are_positions_heads()


def test_a_cache_of_more_stores_is_checked_anew() -> None:
    """It may have entries of the one that is followed no more."""
    stores = Stores(2)
    stores.catch_up()
    stores.change(1, "p/0")
    stores.catch_up()
    stores.cache("p/0")
    fewer = Applier(stores.ledger, stores.journals[:1], "p/")
    stores.catch_up(applier=fewer)
    entry = stores.ledger.lookup("p/0").entry

    assert entry is not None
    assert not entry.checked
    assert [stores.journals[0].store_id] == list(stores.ledger.positions())


def _follow_over_a_loss(stores: Stores) -> None:
    """Let events alone lead to a position past a loss that no event showed."""
    stores.catch_up()
    stores.applier.apply_many([stores.heard(0, stores.change(0, "p/0"))])
    stores.catch_up()
    stores.cache("p/1")
    lost = stores.change(0, "p/2")
    stores.applier.apply_many([stores.heard(0, lost)])
    stores.journals[0].rewind(1)
    # Under the number of what was lost; nobody hears of it.
    stores.change(0, "p/1")
    stores.applier.apply_many([stores.heard(0, stores.change(0, "p/3"))])


def test_a_restarted_applier_finds_a_loss_that_its_predecessor_passed() -> None:
    """The position that events led to is not believed, only what the journal showed."""
    stores = Stores()
    _follow_over_a_loss(stores)
    assert ["p/1"] == stores.stale()
    successor = Applier(stores.ledger, stores.journals, "p/")
    stores.catch_up(applier=successor)

    assert [] == stores.stale()
    assert 1 == successor.counts.rebuilds


def test_a_position_of_unknown_origin_is_not_believed() -> None:
    """Where nothing says that the journal was ever read, everything is checked anew."""
    stores = Stores()
    stores.ledger.advance(stores.journals[0].head())
    stores.catch_up()

    assert 1 == stores.applier.counts.rebuilds
    assert {UUID(int=stores.journals[0].store_id.int)} == set(  # type: ignore[union-attr]
        stores.ledger.verified()
    )


def test_a_restarted_applier_reads_only_what_is_new() -> None:
    """After a clean check nothing is suspected, and nothing dropped."""
    stores = Stores()
    stores.catch_up()
    for key in KEYS:
        stores.change(0, key)
    stores.catch_up()
    stores.cache("p/0")
    successor = Applier(stores.ledger, stores.journals, "p/")

    assert 0 == successor.catch_up(after_doubt=True)
    assert (0, 0) == (successor.counts.rebuilds, successor.counts.applied)
    entry = stores.ledger.lookup("p/0").entry
    assert entry is not None
    assert entry.checked


def test_long_rows_of_events_are_checked_now_and_then() -> None:
    """What a restart would have to read again stays bounded."""
    stores = Stores()
    stores.catch_up()
    heard = [stores.heard(0, stores.change(0, "p/0")) for _ in range(2100)]
    stores.applier.apply_many(heard)
    assert stores.applier.is_long_unverified
    stores.catch_up()

    assert not stores.applier.is_long_unverified


def test_who_takes_over_waits_for_the_living_to_show_their_position() -> None:
    """A second invalidator that is started while the first follows events suspects nothing."""
    stores = Stores()
    stores.catch_up()
    stores.ledger.beat()
    stores.applier.apply_many([stores.heard(0, stores.change(0, "p/0"))])
    second = Applier(stores.ledger, stores.journals, "p/")
    with pytest.raises(StoreUnavailable, match="only events have led to"):
        stores.catch_up(applier=second)
    stores.catch_up()
    stores.catch_up(applier=second)

    assert 0 == second.counts.rebuilds
    assert stores.are_positions_heads()


def test_who_takes_over_from_the_dead_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody shows the position: all entries are checked anew."""
    monkeypatch.setattr(applier_module, "TAKE_OVER_S", 0.0)
    stores = Stores()
    stores.catch_up()
    stores.ledger.beat()
    stores.applier.apply_many([stores.heard(0, stores.change(0, "p/0"))])
    second = Applier(stores.ledger, stores.journals, "p/")
    stores.catch_up(applier=second)

    assert 1 == second.counts.rebuilds
