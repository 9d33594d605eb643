"""How long an archive keeps what."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from antiphon.archive.event_store import EventStore
from antiphon.errors import InvalidRetention

#: Seconds between two transactions that delete, at most.  It is as long as the last one took:
#: who saves asks a locked file again after up to 0.1 s, and got no turn for 0.8 s with pauses
#: of 0.01 s between transactions of 0.1 s; now 0.13 s (200 000 events, of which 20 000 are kept).
_MAX_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Retention:
    """A rule: what is kept of some events, and what is deleted.

    Attributes:
        max_age_s: seconds after its timestamp for which an event is kept; None for ever.
        max_events: how many are kept, the newest by timestamp; None for all.
        flags: the rule is for events that have all of these among their tags; for
            every event if there is none.  The name of a class is one:
            ``flags=["StoreModificationEvent"]``.
        unless: the rule is for no event that has one of these among its tags, and
            does not count it.

    Raises:
        InvalidRetention: neither limit is given, or one makes no sense.
    """

    max_age_s: float | None = None
    max_events: int | None = None
    flags: Collection[str] = ()
    unless: Collection[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "flags", _words("flags", self.flags))
        object.__setattr__(self, "unless", _words("unless", self.unless))
        if self.max_age_s is None and self.max_events is None:
            raise InvalidRetention("a retention rule needs max_age_s or max_events")
        age, count = self.max_age_s, self.max_events
        if age is not None and not (_is_number(age, int, float) and 0 <= age < math.inf):
            raise InvalidRetention(f"max_age_s is a number of seconds from 0 on, not {age!r:.80}")
        if count is not None and not (_is_number(count, int) and count >= 0):
            raise InvalidRetention(f"max_events is a whole number from 0 on, not {count!r:.80}")


def apply(
    store: EventStore,
    rules: Iterable[Retention],
    *,
    now: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Delete what *rules* do not keep; return how many events that were.

    Args:
        store: others may save to it meanwhile; each transaction is short.
        rules: each for itself, so that an event goes as soon as one rule that it
            falls under does not keep it.
        now: seconds since the epoch, from which ages are counted; None is this
            machine's clock.
        should_stop: asked between transactions.

    Raises:
        ArchiveBusy, ArchiveFull: the archive was locked for too long, or there is no
            room.  What was deleted so far stays deleted; apply them again later.
    """
    now = time.time() if now is None else now
    deleted = 0
    for rule in rules:
        before = None if rule.max_age_s is None else now - rule.max_age_s
        while not should_stop():
            began = time.monotonic()
            count = store.purge(
                before=before, keep=rule.max_events, flags=rule.flags, unless=rule.unless
            )
            deleted += count
            if not count:
                break
            time.sleep(min(time.monotonic() - began, _MAX_PAUSE_S))
    return deleted


def _words(name: str, given: object) -> tuple[str, ...]:
    kinds = (list, tuple, set, frozenset)
    if not isinstance(given, kinds) or not all(isinstance(word, str) for word in given):
        raise InvalidRetention(f"{name} are a list of text, not {given!r:.80}")
    return tuple(given)


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
