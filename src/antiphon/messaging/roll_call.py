"""Who is there: a question that every bus of a system answers by itself.

It goes round as a message of its own, taken where it comes in, before any
listener: it is no event, nobody's ``BaseEvent`` listener hears of it, and it
counts as none.  Who asks waits a while, since nobody knows how many there are.
"""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from antiphon import __version__
from antiphon.errors import BrokerUnavailable, InvalidBusOption
from antiphon.messaging.dead_letters import Rationing
from antiphon.messaging.options import BusStats
from antiphon.messaging.subscribing import SubscribingManager
from antiphon.messaging.subscription import Subscription
from antiphon.messaging.topology import BROADCAST, Binding, Topology
from antiphon.messaging.transport import Arrival, Message

logger = logging.getLogger(__name__)

#: First word of the routing keys; no class has a word that begins so.
WORD = "!roll"

#: Key of the question.
CALL_KEY = f"{WORD}.call"

#: Bindings and subscriptions that an answer tells of; of more it says how many there are.
MAX_TOLD = 200

#: Bytes of an answer, or of a question, that is read.
MAX_BYTES = 256 * 1024

#: Answers that are kept of one call.
MAX_ANSWERS = 10_000

#: Answers that a bus gives in a second; whoever asks more often gets none.
MAX_RATE = 20

#: Seconds to wait until the answers can come in.
BIND_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class PresentSubscription:
    """A durable subscription of a bus that answered.

    Attributes:
        name, mode, queue: see ``Subscription``.
        bindings: (exchange or None for the system's own, topic pattern).
        in_hand: messages that the process has and has not settled.
        handled, failures, dead: events, since the process subscribed.
    """

    name: str
    mode: str
    queue: str
    bindings: tuple[tuple[str | None, str], ...] = ()
    in_hand: int = 0
    handled: int = 0
    failures: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Presence:
    """A bus that answered.  All of it is what that process says of itself.

    Attributes:
        publisher: id of the bus.
        name: what the broker shows beside its connections.
        host, pid, program: of its process.
        origin: of its events.
        up_s: seconds since it was opened.
        bindings: of its listeners: (exchange or None, topic pattern).
        bindings_left_out: how many more there are.
        subscriptions: its durable ones.
        emitted, buffered, received: events so far, and those not confirmed yet.
        version: of its Antiphon; None if it is too old to say so.
        clock_off_s: seconds that its clock is ahead of ours (below 0: behind), at least:
            0 if what it says lies between question and answer.  None if it says nothing.
    """

    publisher: str
    name: str
    host: str
    pid: int
    program: str
    origin: str | None
    up_s: float
    bindings: tuple[tuple[str | None, str], ...] = ()
    bindings_left_out: int = 0
    subscriptions: tuple[PresentSubscription, ...] = ()
    emitted: int = 0
    buffered: int = 0
    received: int = 0
    version: str | None = None
    clock_off_s: float | None = None


@dataclass(slots=True)
class _Question:
    """A call of ours that is waited for."""

    nonce: str
    asked_at: float
    answers: dict[str, Presence] = field(default_factory=dict)


class RollCall:
    """Answers for one bus, and asks for it.

    Args:
        bus: the bus; it is asked for what it has when it answers.
        is_answering: False keeps it quiet, see ``BusOptions.answers_roll_call``.
    """

    def __init__(self, bus: RollCallManager, is_answering: bool) -> None:
        self._bus = bus
        self._is_answering = is_answering
        self._since = time.monotonic()
        self._rationing = Rationing(MAX_RATE, 1.0)
        self._question: _Question | None = None
        self._asking = threading.Lock()

    def start(self, topology: Topology) -> None:
        """Bind the question."""
        if self._is_answering:
            topology.bind([Binding(BROADCAST, CALL_KEY)])

    def took(self, arrival: Arrival) -> bool:
        """Return whether *arrival* is part of a roll call; it is not to be handled further.

        Called on a thread of the transport; nothing here may block.
        """
        key = arrival.message.routing_key
        if not key.startswith(WORD):
            return False
        try:
            # One that waited in a durable queue was asked long ago.
            if arrival.queue == BROADCAST and len(arrival.message.body) <= MAX_BYTES:
                told = json.loads(arrival.message.body)
                if key == CALL_KEY:
                    self._answer(told)
                else:
                    self._take(told)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as exc:
            logger.debug("a roll call that cannot be read: %s", exc)
        return True

    def ask(self, wait_s: float) -> list[Presence]:
        """Ask, and return who has answered after *wait_s* seconds."""
        bus = self._bus
        with self._asking:
            key = f"{WORD}.answer.{bus.publisher_id}"
            binding = Binding(BROADCAST, key)
            bus._topology.bind([binding])
            bus._transport.reconcile()
            generation = bus._topology.generation_of([binding])
            if not bus._topology.wait(generation, BIND_TIMEOUT_S):
                raise BrokerUnavailable(f"nobody can be asked: {bus!r}")
            self._question = question = _Question(secrets.token_hex(8), time.time())
            body = json.dumps({"answer": key, "nonce": question.nonce}).encode()
            message = Message(CALL_KEY, body, publisher=bus.publisher_id)
            sent = threading.Event()
            bus._transport.forward([message], lambda _: sent.set())
            sent.wait(wait_s)
            time.sleep(wait_s)
            self._question = None
            answers = tuple(question.answers.values())  # a late one may come in meanwhile
            return sorted(answers, key=lambda one: (one.name, one.host, one.pid))

    def _answer(self, told: Mapping[str, Any]) -> None:
        key, nonce = told["answer"], told["nonce"]
        if not isinstance(key, str) or not key.startswith(f"{WORD}.answer."):
            return  # nobody has us publish under any key they like
        if not self._is_answering or not self._rationing.passes():
            return
        told = {"nonce": nonce, "bus": self._bus.describe(time.monotonic() - self._since)}
        body = json.dumps(told).encode()
        message = Message(key, body, publisher=self._bus.publisher_id)
        self._bus._transport.forward([message], lambda _: None)

    def _take(self, told: Mapping[str, Any]) -> None:
        question = self._question
        if question is None or told["nonce"] != question.nonce:
            return
        if len(question.answers) < MAX_ANSWERS:
            off_s = _clock_off_s(told["bus"], question.asked_at)
            presence = replace(_presence(told["bus"]), clock_off_s=off_s)
            question.answers[presence.publisher] = presence


class RollCallManager(SubscribingManager):
    """Base of ``BrokerEventManager``."""

    _roll_call: RollCall

    def roll_call(self, wait_s: float = 1.0) -> list[Presence]:
        """Ask all other buses of this system who they are, and what they listen to.

        Args:
            wait_s: seconds to wait for answers; a process that is stopped, or
                switched it off (``BusOptions.answers_roll_call``), gives none.

        Raises:
            InvalidBusOption: *wait_s* is no number from 0 on.
            BrokerUnavailable: the bus is not connected.
            BusClosed: the bus was closed.
        """
        self._check_open()
        if not (isinstance(wait_s, int | float) and wait_s >= 0):
            raise InvalidBusOption(f"wait_s is a number of seconds from 0 on, not {wait_s!r}")
        return self._roll_call.ask(wait_s)

    def describe(self, up_s: float) -> dict[str, Any]:
        """Return what an answer says of this bus; see ``Presence``."""
        bindings = [one for one in self._topology.bindings if not one.pattern.startswith("!")]
        own = [one for one in bindings if one.queue == BROADCAST]
        stats = self.stats()
        subscriptions = self.durable_subscriptions
        return {
            "publisher": self.publisher_id,
            "name": f"{self.system}/{self.origin}" if self.origin else self.system,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "program": _program(),
            "origin": self.origin,
            "up_s": up_s,
            "bindings": _told(own),
            "bindings_left_out": max(0, len(own) - MAX_TOLD),
            "subscriptions": [_described(one, bindings) for one in subscriptions[:MAX_TOLD]],
            "emitted": stats.emitted,
            "buffered": stats.buffered,
            "received": stats.received,
            "version": __version__,
            "time": time.time(),
        }

    def stats(self) -> BusStats:
        """Return the counters."""
        raise NotImplementedError


def _program() -> str:
    arguments: list[str] = getattr(sys, "argv", None) or [""]
    path = Path(arguments[0])
    # ``python -m package`` runs a file that is called __main__.py, whatever the package.
    return path.parent.name if path.name == "__main__.py" else path.name


def _told(bindings: Iterable[Binding]) -> list[tuple[str | None, str]]:
    return [(one.exchange, one.pattern) for one in bindings][:MAX_TOLD]


def _described(subscription: Subscription, bindings: Iterable[Binding]) -> dict[str, Any]:
    stats = subscription.stats()
    return {
        "name": subscription.name,
        "mode": subscription.mode,
        "queue": subscription.queue,
        "bindings": _told(one for one in bindings if one.queue == subscription.queue),
        "in_hand": stats.in_hand,
        "handled": stats.handled,
        "failures": stats.failures,
        "dead": stats.dead,
    }


def _presence(told: Mapping[str, Any]) -> Presence:
    """Return what an answer says; it may come from anyone, so nothing is taken on trust."""
    origin = told["origin"]
    return Presence(
        publisher=str(told["publisher"]),
        name=str(told["name"]),
        host=str(told["host"]),
        pid=int(told["pid"]),
        program=str(told["program"]),
        origin=None if origin is None else str(origin),
        up_s=float(told["up_s"]),
        bindings=_bindings(told["bindings"]),
        bindings_left_out=int(told["bindings_left_out"]),
        subscriptions=tuple(map(_subscription, list(told["subscriptions"])[:MAX_TOLD])),
        emitted=int(told["emitted"]),
        buffered=int(told["buffered"]),
        received=int(told["received"]),
        version=None if (version := told.get("version")) is None else str(version),
    )


def _clock_off_s(told: Mapping[str, Any], asked_at: float) -> float | None:
    """Return by how much the sender's clock is off, as far as the way there and back tells."""
    if told.get("time") is None or not math.isfinite(its_time := float(told["time"])):
        return None
    return min(its_time - asked_at, 0.0) or max(its_time - time.time(), 0.0)


def _subscription(told: Mapping[str, Any]) -> PresentSubscription:
    return PresentSubscription(
        name=str(told["name"]),
        mode=str(told["mode"]),
        queue=str(told["queue"]),
        bindings=_bindings(told["bindings"]),
        in_hand=int(told["in_hand"]),
        handled=int(told["handled"]),
        failures=int(told["failures"]),
        dead=int(told["dead"]),
    )


def _bindings(told: Iterable[Any]) -> tuple[tuple[str | None, str], ...]:
    return tuple(
        (None if exchange is None else str(exchange), str(pattern))
        for exchange, pattern in list(told)[:MAX_TOLD]
    )
