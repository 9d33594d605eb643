"""How long to wait before the next attempt."""

from __future__ import annotations

from antiphon.messaging.backoff import FIRST_DELAY_S, MAX_DELAY_S, STEADY_S, Backoff


class Clock:
    """A clock that stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_quick_then_slow() -> None:
    """Delays begin short, double, and stay below the limit."""
    backoff = Backoff()

    delays = [backoff.next_delay_s() for _ in range(12)]

    assert FIRST_DELAY_S >= delays[0]
    assert all(MAX_DELAY_S >= delay >= MAX_DELAY_S / 2 for delay in delays[-5:])


def test_back_within_ten_seconds() -> None:
    """After however many attempts the next is never further than two seconds away."""
    backoff = Backoff()

    assert max(backoff.next_delay_s() for _ in range(100)) <= 2.0


def test_spread() -> None:
    """Clients of one broker do not all come back in the same instant."""
    firsts = {Backoff().next_delay_s() for _ in range(20)}

    assert len(firsts) > 10


def test_steady_connection_begins_anew() -> None:
    """After a connection that stood for a while, attempts are quick again."""
    clock = Clock()
    backoff = Backoff(clock)
    for _ in range(10):
        backoff.next_delay_s()
    backoff.connected()
    clock.now += STEADY_S

    assert FIRST_DELAY_S >= backoff.next_delay_s()


def test_flapping_connection_does_not() -> None:
    """A connection that is lost at once slows the attempts down all the same."""
    clock = Clock()
    backoff = Backoff(clock)
    delays = []
    for _ in range(10):
        backoff.connected()
        clock.now += STEADY_S / 10
        delays.append(backoff.next_delay_s())

    assert delays[-1] >= MAX_DELAY_S / 2
