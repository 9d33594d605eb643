"""What a doctor looks at in a system: its processes, its queues, its dead letters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from antiphon import __version__
from antiphon.cli.doctor_findings import CLOCK_WARNING_S, Finding, Status, of_clock, some_of
from antiphon.cli.overview import Overview, Queue, called
from antiphon.messaging.roll_call import Presence

#: Messages in a queue that is consumed: with more its subscribers are behind.
BACKLOG = 10_000

#: Events of a process that the broker has not confirmed: with more something is slow.
BUFFERED = 1_000

#: Names of processes, queues and subscriptions that one line tells.
TOLD = 5


def look_at_processes(processes: list[Presence]) -> Iterator[Finding]:
    """Yield what there is to say of the processes that have answered."""
    if not processes:
        yield Finding(
            "processes",
            "present",
            "warning",
            "no process of this system has answered",
            "see whether --system and the virtual host in the URL are right; a process that hangs "
            "does not answer (--wait gives them longer)",
            {"count": 0},
        )
        return
    names = [called(one) for one in processes]
    yield Finding(
        "processes",
        "present",
        "ok",
        f"{_counted(len(processes), 'process', 'processes')} answered: {some_of(names, TOLD)}",
        facts={"count": len(processes), "processes": names},
    )
    yield _versions(processes)
    yield from _clocks(processes)
    yield from _buffers(processes)


def _versions(processes: list[Presence]) -> Finding:
    users: dict[str, list[str]] = defaultdict(list)
    for one in processes:
        users[one.version or "an unknown version"].append(called(one))
    facts = {"versions": dict(sorted(users.items()))}
    if set(users) == {__version__}:
        text = f"all run antiphon {__version__}, as this command"
        return Finding("processes", "versions", "ok", text, facts=facts)
    told = "; ".join(f"{version}: {some_of(users[version], TOLD)}" for version in sorted(users))
    advice = "run one version everywhere; with several, caches stay right but may serve little"
    text = f"this command is antiphon {__version__}, others run {told}"
    return Finding("processes", "versions", "warning", text, advice, facts)


def _clocks(processes: list[Presence]) -> Iterator[Finding]:
    known = [one for one in processes if one.clock_off_s is not None]
    off = [one for one in known if abs(one.clock_off_s or 0.0) >= CLOCK_WARNING_S]
    for host in dict.fromkeys(one.host for one in off):
        worst = max(
            (one for one in off if one.host == host), key=lambda one: abs(one.clock_off_s or 0.0)
        )
        yield of_clock("processes", f"the clock of {called(worst)}", worst.clock_off_s or 0.0)
    if known and not off:
        hosts = len({one.host for one in known})
        text = f"the clocks of {_counted(hosts, 'machine', 'machines')} agree with the one here"
        yield Finding("processes", "clock", "ok", text, facts={"machines": hosts})


def _buffers(processes: list[Presence]) -> Iterator[Finding]:
    slow = [one for one in processes if one.buffered > BUFFERED]
    if slow:
        told = [f"{called(one)}: {one.buffered}" for one in slow]
        yield Finding(
            "processes",
            "buffers",
            "warning",
            f"events wait for the broker's confirmation in {some_of(told, TOLD)}",
            "see whether the broker is slow or blocked (its alarms, its disk)",
            {"buffered": {called(one): one.buffered for one in slow}},
        )


def look_at_queues(overview: Overview) -> Iterator[Finding]:
    """Yield what there is to say of the durable queues."""
    troubled = 0
    queues = [one for one in overview.queues if ".retry." not in one.name]
    for queue in queues:
        if (finding := _queue(queue, overview.system)) is not None:
            troubled += 1
            yield finding
    for queue in overview.queues:
        if ".retry." in queue.name and queue.ready:
            troubled += 1
            yield _aside(queue)
    if not troubled and queues:
        text = f"{_counted(len(queues), 'durable queue is', 'durable queues are')} consumed"
        yield Finding("queues", "consumers", "ok", text, facts={"count": len(queues)})
    elif not queues and overview.is_complete:
        yield Finding("queues", "consumers", "ok", "there are no durable subscriptions")
    if not overview.is_complete:
        yield Finding(
            "queues",
            "complete",
            "skipped",
            "queues that no process has open cannot be seen",
            "--management http://user:password@host:15672 shows them; --subscription NAME looks at "
            "one",
        )


def _queue(queue: Queue, system: str) -> Finding | None:
    name = queue.name.removeprefix(f"{system}.sub.")
    facts = {"queue": queue.name, "ready": queue.ready, "consumers": queue.consumers}
    if queue.ready is None:
        advice = f"start the program that subscribes as '{name}': until then it misses all events"
        if queue.users:
            advice = "its processes declare it again by themselves; events in between are missing"
        return Finding("queues", "exists", "wrong", f"{queue.name} is not there", advice, facts)
    waiting = _counted(queue.ready, "message waits", "messages wait")
    if queue.state not in (None, "running", "idle", "flow"):
        text = f"{queue.name} is '{queue.state}' at the broker"
        advice = "see whether a majority of its nodes runs: rabbitmq-queues quorum_status"
        return Finding("queues", "state", "wrong", text, advice, facts | {"state": queue.state})
    if not queue.consumers:
        status: Status = "wrong" if queue.ready else "warning"
        return Finding(
            "queues",
            "consumers",
            status,
            f"nobody consumes {queue.name}; {waiting if queue.ready else 'it is empty'}",
            f"start the program that subscribes as '{name}'; if there is none any more: "
            f"rabbitmqctl delete_queue '{queue.name}'",
            facts,
        )
    if queue.ready > BACKLOG:
        return Finding(
            "queues",
            "backlog",
            "warning",
            f"{queue.name} is behind: {waiting}",
            "have more processes share it (mode='group'), or make its listeners quicker",
            facts,
        )
    return None


def _aside(queue: Queue) -> Finding:
    return Finding(
        "queues",
        "suspects",
        "warning",
        f"{queue.name}: {_counted(queue.ready or 0, 'message is', 'messages are')} suspected of "
        "having crashed a process",
        "they are handled one by one, and become dead letters if it happens again; see the logs "
        "of the subscribers",
        {"queue": queue.name, "ready": queue.ready},
    )


def look_at_dead_letters(
    processes: list[Presence], before: int, after: int, seconds: float
) -> Finding:
    """Return what there is to say of the dead letters.

    Args:
        processes: say how many of their events died.
        before, after: how many there were, *seconds* apart.
    """
    dead = {
        f"{one.name} of {called(process)}": (one.dead, process.up_s)
        for process in processes
        for one in process.subscriptions
        if one.dead
    }
    facts = {
        "count": after,
        "before": before,
        "seconds": round(seconds, 3),
        "of": {name: count for name, (count, _) in dead.items()},
    }
    advice = "antiphon dlq ls says why; antiphon dlq replay sends them back once that is mended"
    whose = ", ".join(
        f"{count} of {name}, up {up_s / 60:.0f} min" for name, (count, up_s) in dead.items()
    )
    whose = f" ({whose})" if whose else ""
    if after > before:
        text = (
            f"dead letters grow: {after - before} more within {seconds:.1f} s, {after} now{whose}"
        )
        return Finding("dead letters", "growing", "wrong", text, advice, facts)
    if after:
        text = f"{_counted(after, 'dead letter waits', 'dead letters wait')}{whose}"
        return Finding("dead letters", "count", "warning", text, advice, facts)
    return Finding("dead letters", "count", "ok", "there are none", facts=facts)


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
