"""What there is in a system: its queues, and the processes that listen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from antiphon.cli.listening_words import all_in_words
from antiphon.messaging.browser import QueueBrowser
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.dead_letters import dead_queue
from antiphon.messaging.roll_call import Presence


@dataclass(slots=True)
class Queue:
    """A durable queue.

    Attributes:
        name: at the broker.
        mode: of its subscription; None if nobody who answered has it.
        ready: messages that wait; None if there is no such queue.
        unacknowledged: messages that a process has; None if that is not known.
        consumers: how many there are.
        listens_to: in words.
        users: the processes that have it open.
        state: as the broker's management calls it; None if that is not known.
    """

    name: str
    mode: str | None = None
    ready: int | None = None
    unacknowledged: int | None = None
    consumers: int | None = None
    listens_to: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    state: str | None = None


@dataclass(slots=True)
class Overview:
    """A system, as far as it could be seen.

    Attributes:
        system: its name.
        processes: who answered.
        queues: of its subscriptions, and that of events that were moved aside.
        dead: how many dead letters there are; None if there never was one.
        is_complete: whether also queues are in it that nobody has open.
    """

    system: str
    processes: list[Presence]
    queues: list[Queue]
    dead: int | None
    is_complete: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it with the names that JSON has for it."""
        return {
            "system": self.system,
            "exchange": f"{self.system}.events",
            "processes": [_process(one) for one in self.processes],
            "queues": [
                {
                    "name": one.name,
                    "mode": one.mode,
                    "ready": one.ready,
                    "unacknowledged": one.unacknowledged,
                    "consumers": one.consumers,
                    "listens_to": one.listens_to,
                    "processes": one.users,
                }
                for one in self.queues
            ],
            "dead_letters": self.dead,
            "complete": self.is_complete,
        }


def look_around(
    bus: BrokerEventManager,
    browser: QueueBrowser,
    wait_s: float,
    known: Iterable[dict[str, Any]] | None = None,
    subscriptions: Iterable[str] = (),
) -> Overview:
    """Return what there is in the system of *bus*.

    Args:
        bus: asks who is there.
        browser: looks into the queues.
        wait_s: seconds to wait for answers.
        known: the broker's own list of queues, from its management; None if nobody asked.
        subscriptions: names of some that are looked at in any case.
    """
    processes = bus.roll_call(wait_s)
    queues: dict[str, Queue] = {}
    for process in processes:
        for one in process.subscriptions:
            queue = queues.setdefault(one.queue, Queue(one.queue, one.mode))
            queue.listens_to = sorted({*queue.listens_to, *all_in_words(one.bindings)})
            queue.users.append(called(process))
            queue.unacknowledged = (queue.unacknowledged or 0) + one.in_hand
    for name in subscriptions:
        queues.setdefault(f"{bus.system}.sub.{name}", Queue(f"{bus.system}.sub.{name}"))
    dead = dead_queue(bus.system)
    for told in known or ():
        name = str(told.get("name", ""))
        if name.startswith((f"{bus.system}.sub.", f"{bus.system}.retry.")):
            queue = queues.setdefault(name, Queue(name))
            unacknowledged = told.get("messages_unacknowledged")
            queue.unacknowledged = unacknowledged if isinstance(unacknowledged, int) else None
            queue.state = state if isinstance(state := told.get("state"), str) else None
            if told.get("arguments", {}).get("x-single-active-consumer") is not True:
                queue.mode = queue.mode or "group"
    for name in [name for name in queues if ".sub." in name]:
        aside = name.replace(".sub.", ".retry.", 1)
        queues.setdefault(aside, Queue(aside, listens_to=["events moved aside"]))
    for queue in queues.values():
        depth = browser.depth(queue.name)
        if depth is not None:
            queue.ready, queue.consumers = depth.ready, depth.consumers
    depth = browser.depth(dead)
    shown = [one for one in queues.values() if ".retry." not in one.name or one.ready]
    return Overview(
        bus.system,
        processes,
        sorted(shown, key=lambda one: one.name),
        None if depth is None else depth.ready,
        known is not None,
    )


def called(process: Presence) -> str:
    """Return what people call *process*."""
    return f"{process.program or '?'} ({process.host}, pid {process.pid})"


def _process(one: Presence) -> dict[str, Any]:
    return {
        "name": one.name,
        "program": one.program,
        "host": one.host,
        "pid": one.pid,
        "origin": one.origin,
        "publisher": one.publisher,
        "up_s": round(one.up_s, 3),
        "listens_to": all_in_words(one.bindings),
        "listens_to_left_out": one.bindings_left_out,
        "subscriptions": [
            {
                "name": each.name,
                "mode": each.mode,
                "queue": each.queue,
                "listens_to": all_in_words(each.bindings),
                "in_hand": each.in_hand,
                "handled": each.handled,
                "failures": each.failures,
                "dead": each.dead,
            }
            for each in one.subscriptions
        ],
        "emitted": one.emitted,
        "buffered": one.buffered,
        "received": one.received,
        "version": one.version,
        "clock_off_s": one.clock_off_s,
    }
