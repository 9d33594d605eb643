"""Who vouches for a cache, and who may take that back."""

from antiphon.caching.trust import Trust
from antiphon.storage.freshness import Freshness
from antiphon.storage.memory_ledger import MemoryLedger


class Trusted:
    """A cache with two invalidators, in processes of their own."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.told: list[str | None] = []
        self.freshness = [Freshness(self.ledger, None) for _ in range(2)]
        self.one, self.other = (
            Trust(self.ledger, freshness, self.told.append) for freshness in self.freshness
        )

    @property
    def is_vouched_for(self) -> bool:
        return self.ledger.lookup("").beat is not None


def yes() -> bool:
    """Changes are heard of."""
    return True


def test_who_vouches_tells_the_readers_of_all_processes() -> None:
    """The beat is for others, the freshness for the own process."""
    trusted = Trusted()
    trusted.one.vouch(trusted.one.mark, yes)

    assert trusted.is_vouched_for
    assert (True, False) == tuple(each.vouched_here for each in trusted.freshness)
    assert ([None], None) == (trusted.told, trusted.one.why)


def test_who_never_vouched_takes_nothing_back() -> None:
    """One that cannot reach its broker leaves the cache to one that can."""
    trusted = Trusted()
    trusted.one.vouch(trusted.one.mark, yes)
    trusted.other.withdraw_everywhere("the broker cannot be reached")
    trusted.other.end()

    assert trusted.is_vouched_for
    assert trusted.one.is_given


def test_who_vouched_takes_it_back_for_all() -> None:
    """Until another one vouches, every reader asks."""
    trusted = Trusted()
    trusted.one.vouch(trusted.one.mark, yes)
    trusted.one.withdraw_everywhere("the broker cannot be reached")
    is_vouched_for = trusted.is_vouched_for
    trusted.other.vouch(trusted.other.mark, yes)

    assert not is_vouched_for
    assert trusted.is_vouched_for
    assert "the broker cannot be reached" == trusted.one.why


def test_a_break_during_a_check_makes_it_vouch_for_nothing() -> None:
    """What was missed meanwhile may be just what the check did not see."""
    trusted = Trusted()
    mark = trusted.one.mark
    trusted.one.withdraw("a change could not be applied")
    trusted.one.vouch(mark, yes)

    assert not trusted.is_vouched_for
    assert trusted.freshness[0].is_doubted


def test_a_doubt_that_comes_while_the_medium_is_written_stays() -> None:
    """Whoever writes must not wait for the medium, and is not overruled by what it answers."""
    trusted = Trusted()
    beat = trusted.ledger.beat

    def beat_slowly() -> None:
        beat()
        trusted.one.withdraw("a write could not be applied in time")

    trusted.ledger.beat = beat_slowly  # type: ignore[method-assign]
    trusted.one.vouch(trusted.one.mark, yes)

    assert trusted.freshness[0].is_doubted
    assert not trusted.is_vouched_for
    assert "a write could not be applied in time" == trusted.one.why


def test_doubts_are_counted_and_told_once() -> None:
    """A cache that is in doubt already does not fall into it again."""
    trusted = Trusted()
    trusted.one.vouch(trusted.one.mark, yes)
    trusted.one.withdraw("one reason")
    trusted.one.withdraw("another")

    assert 1 == trusted.one.doubts
    assert [None, "one reason"] == trusted.told


def test_its_end_leaves_no_doubt() -> None:
    """Another invalidator of this process may vouch at once."""
    trusted = Trusted()
    trusted.one.vouch(trusted.one.mark, yes)
    trusted.one.end()

    assert not trusted.freshness[0].is_doubted
    assert not trusted.freshness[0].vouched_here
    assert not trusted.is_vouched_for
