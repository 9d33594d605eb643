"""Changes are applied in order, and what is missing comes from the journal (trap 6)."""

import io
import random

import pytest
from fakes import FakeJournal

from antiphon.caching.applier import Applier
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.ledger import Fill
from antiphon.storage.memory_ledger import MemoryLedger


class Followed:
    """A journal, a cache that follows it, and what was told."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        self.ledger = MemoryLedger()
        self.applier = Applier(self.ledger, self.journal, "p/")
        self.told: list[tuple[str, bool]] = []
        self.applier.catch_up(self.applied, after_doubt=True)

    def applied(self, key: str, version: Version | None, dropped: bool) -> None:
        self.told.append((key, dropped))

    def hear(self, entry: JournalEntry) -> bool:
        return self.applier.apply(entry.key, self.journal.position_of(entry), self.applied)

    def catch_up(self) -> int:
        return self.applier.catch_up(self.applied, after_doubt=True)

    def unchecked(self) -> list[str]:
        """Return the keys whose entries are not to be served before they are confirmed."""
        found = {key: self.ledger.lookup(key).entry for key in list(self.ledger.keys())}
        return [key for key, entry in found.items() if entry is not None and not entry.checked]

    def cache(self, key: str) -> None:
        fill = Fill(io.BytesIO(b"x"), {}, None, None, None)
        assert self.ledger.fill(self.ledger.reserve(key), fill) is not None


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_a_change_drops_its_entry_and_moves_the_position(followed: Followed) -> None:
    """After an event, the entry is gone and the position is the event's."""
    followed.cache("p/a")
    (entry,) = followed.journal.change("p/a")

    assert followed.hear(entry)
    assert [("p/a", True)] == followed.told
    assert followed.journal.head() == followed.ledger.position()


def test_keys_outside_the_mount_count_but_are_not_told(followed: Followed) -> None:
    """The position counts all changes of the store, the cache only those below its prefix."""
    (entry,) = followed.journal.change("q/a")
    followed.hear(entry)

    assert [] == followed.told
    assert followed.journal.head() == followed.ledger.position()


def test_the_position_waits_for_what_is_missing(followed: Followed) -> None:
    """An event that overtook another drops its entry at once, but is not counted yet."""
    start = followed.ledger.position()
    followed.cache("p/b")
    one, two = followed.journal.change("p/a")[0], followed.journal.change("p/b")[0]
    followed.hear(two)

    assert [("p/b", True)] == followed.told
    assert start == followed.ledger.position()
    assert followed.applier.has_gap
    followed.hear(one)
    assert followed.journal.head() == followed.ledger.position()
    assert not followed.applier.has_gap


def test_the_journal_fills_a_gap(followed: Followed) -> None:
    """What no event told of is found in the journal."""
    followed.cache("p/a")
    followed.journal.change("p/a")
    followed.hear(followed.journal.change("p/b")[0])

    assert 1 == followed.catch_up()
    assert ("p/a", True) in followed.told
    assert followed.journal.head() == followed.ledger.position()


def test_a_lost_last_event_is_found(followed: Followed) -> None:
    """The event that never came was the last: only the journal knows (trap 4)."""
    followed.cache("p/a")
    followed.journal.change("p/a")

    assert 1 == followed.catch_up()
    assert followed.ledger.lookup("p/a").entry is None


@pytest.mark.parametrize("loss", ["rewind", "truncate", "epoch"])
def test_after_a_lost_history_nothing_is_believed(followed: Followed, loss: str) -> None:
    """A restored backup, a truncated journal, a new epoch: all is checked when it is read."""
    for key in ("p/a", "p/b", "p/c"):
        followed.hear(followed.journal.change(key)[0])
    followed.cache("p/a")
    if loss == "rewind":
        followed.journal.rewind(2)
        followed.journal.change("p/x")
    elif loss == "truncate":
        followed.journal.change("p/y", "p/z")
        followed.journal.truncate()
    else:
        followed.journal.epoch = 2
        followed.journal.entries.clear()
    followed.catch_up()

    assert ["p/a"] == followed.unchecked()
    assert followed.journal.head() == followed.ledger.position()


def test_a_second_history_is_recognised_from_one_event(followed: Followed) -> None:
    """The same number with another id shows that the store lost its last changes."""
    followed.hear(followed.journal.change("p/a")[0])
    followed.hear(followed.journal.change("p/b")[0])
    followed.journal.rewind(2)

    assert not followed.hear(followed.journal.change("p/c")[0])


def test_events_of_another_store_are_ignored_and_counted(followed: Followed) -> None:
    """Staging and production may share an origin; their caches stay apart."""
    followed.cache("p/a")
    other = FakeJournal()
    (entry,) = other.change("p/a")
    followed.applier.apply("p/a", other.position_of(entry), followed.applied)

    assert 1 == followed.applier.counts.foreign
    assert followed.ledger.lookup("p/a").entry is not None


def test_shuffled_and_repeated_events_end_at_the_head(followed: Followed) -> None:
    """Whatever the order and however often, the end is the same (trap 6)."""
    rng = random.Random(7)
    entries = [followed.journal.change(f"p/{i % 5}")[0] for i in range(60)]
    stream = entries + rng.sample(entries, 20)
    rng.shuffle(stream)
    for entry in stream:
        followed.hear(entry)

    assert followed.journal.head() == followed.ledger.position()


def test_a_store_without_a_journal_is_dropped_after_doubt() -> None:
    """Where nobody can tell what was missed, everything counts as missed."""
    ledger = MemoryLedger()
    applier = Applier(ledger, None, "p/")
    ledger.fill(ledger.reserve("p/a"), Fill(io.BytesIO(b"x"), {}, None, None, None))
    applier.catch_up(lambda *told: None, after_doubt=False)
    assert ["p/a"] == ledger.keys()
    applier.catch_up(lambda *told: None, after_doubt=True)

    assert [] == ledger.keys()


def test_another_applier_of_the_same_cache_is_no_trouble(followed: Followed) -> None:
    """Invalidators of one cache need no election: drops are idempotent."""
    second = Applier(followed.ledger, followed.journal, "p/")
    second.catch_up(followed.applied, after_doubt=True)
    entries = [followed.journal.change("p/a")[0] for _ in range(4)]
    for entry in entries[:2]:
        followed.hear(entry)
    position = Position(*followed.journal.position_of(entries[0]))
    second.apply("p/a", position, followed.applied)

    assert followed.journal.position_of(entries[1]) == followed.ledger.position()


def test_the_next_number_of_another_history_is_found_out(followed: Followed) -> None:
    """J3: An event that carries on the numbers of a lost history does not hide the loss."""
    followed.hear(followed.journal.change("p/a")[0])
    followed.catch_up()
    followed.cache("p/lost")
    followed.hear(followed.journal.change("p/b")[0])
    followed.journal.rewind(1)
    followed.journal.change("q/unheard")
    followed.hear(followed.journal.change("q/heard")[0])
    followed.catch_up()

    assert ["p/lost"] == followed.unchecked()
    assert 2 == followed.applier.counts.rebuilds


def test_an_event_of_the_same_number_and_another_id_is_doubt(followed: Followed) -> None:
    """A restarted applier knows the id of the position that it starts from."""
    followed.hear(followed.journal.change("p/a")[0])
    second = Applier(followed.ledger, followed.journal, "p/")
    second.catch_up(followed.applied, after_doubt=True)
    followed.journal.rewind(1)
    (entry,) = followed.journal.change("p/b")

    assert not second.apply("p/b", followed.journal.position_of(entry), followed.applied)


def test_a_link_to_another_entry_is_doubt(followed: Followed) -> None:
    """An event with the next number that was not made after what is known: read the journal."""
    start = followed.ledger.position()
    (entry,) = followed.journal.change("p/a")
    position = followed.journal.position_of(entry)

    assert not followed.applier.apply("p/a", position, followed.applied, link=b"else")
    assert start == followed.ledger.position()
    assert start is not None
    assert followed.applier.apply("p/a", position, followed.applied, link=start.entry_id[:4])
    assert position == followed.ledger.position()


def test_a_position_of_the_same_number_and_another_id_is_left(followed: Followed) -> None:
    """Where another applier followed events of a lost history, the journal ends at that number."""
    followed.hear(followed.journal.change("p/a")[0])
    followed.catch_up()
    (lost,) = followed.journal.change("p/b")
    followed.ledger.advance(followed.journal.position_of(lost))
    followed.journal.rewind(1)
    followed.journal.change("p/c")
    followed.catch_up()

    assert followed.journal.head() == followed.ledger.position()
