"""When the broker may have taken back what a process had in hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.history import History, PublisherRun, SubscriberRun, Trouble

#: Faults after which one side of a connection may know long before the other that it is gone.
#: After a reset, too: what the client sends is refused on its way, and the broker sees nothing.
HALF_OPEN = frozenset({"network-silence", "network-slow", "network-reset", "broker-freeze"})

#: Faults of the broker, or of all connections to it.
OF_ALL = frozenset({"broker-kill", "broker-stop", "broker-freeze", "close-connections"})

#: Seconds in which either side has noticed, with a heartbeat of two.
NOTICE_S = 6.0

#: Seconds from the network's return to the connection's, at most.
MAX_BACK_S = 10.0

#: Seconds from the end of a trouble until what was in hand has come again, as a rule.
RECOVERY_S = 6.0

#: Seconds without trouble after which everything that was handled is acknowledged.
SETTLED_S = 3.0

#: Seconds between what happens and the line that tells of it, on a busy machine.
BLUR_S = 1.0


@dataclass(frozen=True, slots=True)
class Parting:
    """The end of a connection, or of a process.

    Attributes:
        run: whose.
        at: when it was noted on its side.
        earliest, latest: between which the broker took back what was in hand.
        is_half_open: whether the broker may have delivered to the old connection while
            there was a new one already.
        is_kill: whether the process ended.
    """

    run: SubscriberRun
    at: float
    earliest: float
    latest: float
    is_half_open: bool = False
    is_kill: bool = False

    def is_within(self, since: float, until: float) -> bool:
        """Return whether it may have been between *since* and *until*."""
        return self.earliest <= until and self.latest >= since


def partings_of(history: History, run: SubscriberRun) -> Iterator[Parting]:
    """Yield all of *run*."""
    for at in (*run.cuts, *_unheard_kills(history, run)):
        yield _parting(history, run, at)
    if run.killed is not None:
        yield _parting(history, run, run.killed, is_kill=True)


def _unheard_kills(history: History, run: SubscriberRun) -> Iterator[float]:
    """Yield kills of the broker that hit *run* before it heard that its queue is consumed.

    The queue may know it as a consumer all the same (seen: a broker killed within 0.2 s of its
    restart, where only the loss of the publishing connection was noted).
    """
    for one in history.troubles:
        if one.fault == "broker-kill":
            since, until = one.began - BLUR_S, one.ended + BLUR_S
            if not any(since <= at <= until for at in run.cuts):
                yield from (at for at in run.losses if since <= at <= until)


def _parting(history: History, run: SubscriberRun, at: float, *, is_kill: bool = False) -> Parting:
    earliest, latest = at - BLUR_S, at + BLUR_S
    is_half_open = False
    for one in history.troubles:
        if not concerns(one, run) or not one.began - BLUR_S <= at <= one.ended + NOTICE_S:
            continue
        if one.fault in HALF_OPEN or one.fault == "freeze":
            is_half_open = True
            earliest = min(earliest, one.began)
            latest = max(latest, min(one.ended, at + NOTICE_S) + NOTICE_S)
        elif one.fault == "broker-kill" and not is_kill:
            # A quorum queue that is back knows the consumers of before, and gives them what
            # comes (seen: events of a second after the restart, returned twice) until it has
            # looked for them.
            is_half_open = True
            latest = max(latest, one.ended + RECOVERY_S)
    return Parting(run, at, earliest, latest, is_half_open, is_kill)


def concerns(trouble: Trouble, run: PublisherRun | SubscriberRun) -> bool:
    """Return whether *trouble* can part *run* from the broker."""
    if trouble.fault in OF_ALL:
        return True
    if trouble.fault.startswith("network-"):
        return trouble.target == str(run.network)
    if trouble.fault in ("kill", "freeze"):
        return trouble.target == run.name
    if trouble.fault == "delete-broadcast":
        # A private queue that was deleted is a lost connection.
        return isinstance(run, SubscriberRun) and run.mode == "connect"
    return False


def quiet_s(
    history: History, run: PublisherRun | SubscriberRun, since: float, until: float
) -> float:
    """Return for how many seconds of that time *run* was not in trouble, nor getting over one.

    So long it could acknowledge what it had handled.
    """
    own = [one for one in history.troubles if concerns(one, run)]
    quiet, moment = 0.0, since
    for one in sorted(own, key=lambda one: one.began):
        if one.began >= until:
            break
        quiet += max(0.0, one.began - moment)
        moment = max(moment, one.ended + RECOVERY_S)
    return quiet + max(0.0, until - moment)
