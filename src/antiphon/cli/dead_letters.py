"""The dead letters of a system: reading them, and deciding what becomes of each."""

from __future__ import annotations

import base64
import datetime
import enum
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from antiphon.cli.printing import event_parts, jsonable
from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.browser import MAX_RETURNS, Found, QueueBrowser, kept_headers
from antiphon.messaging.dead_letters import (
    ATTEMPTS_HEADER,
    DEAD_AT_HEADER,
    DEATH_HEADERS,
    ERROR_HEADER,
    QUEUE_HEADER,
    REASON_HEADER,
    SUBSCRIPTION_HEADER,
    dead_queue,
)
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec
from antiphon.wire.routing import parse_routing_key

#: Seconds that a command waits for others to be done with the dead letters.
PATIENCE_S = 30.0

#: Seconds to wait until what was given back is in the queue again.
SETTLE_S = 2.0

#: Characters of the hash that names bytes which nobody can read.
_HASH_CHARACTERS = 16

#: Header by which the broker counts how often a message came back, from us as well.
COUNT_HEADER = "x-delivery-count"

_EMPTY = Message("", b"")


class Fate(enum.Enum):
    """What becomes of a dead letter that was looked at."""

    KEEP = enum.auto()
    REMOVE = enum.auto()
    #: Kept, and nothing behind it needs to be looked at.
    KEEP_AND_STOP = enum.auto()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that could not be handled, and why.

    Attributes:
        id: of its first event; ``raw-…`` with a hash for bytes that nobody can read.
        subscription: whose it is; None if nobody said so.
        cls: name of its events' class on the wire; None if unreadable.
        origin: of its events.
        reason: "failed", "crashed", "undecodable", or the broker's "maxlen", "expired"…
        error: what was raised last.
        attempts: how often it was tried; None if nobody counted.
        dead_at: when it died; None if nobody said so.
        events: what is in it.
        problem: why it cannot be read; None if it can.
        message: as it is in the queue.
    """

    id: str
    subscription: str | None
    cls: str | None
    origin: str | None
    reason: str
    error: str
    attempts: int | None
    dead_at: datetime.datetime | None
    events: list[BaseEvent] = field(repr=False)
    problem: str | None
    message: Message = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """Return what a list says of it."""
        return {
            "id": self.id,
            "subscription": self.subscription,
            "class": self.cls,
            "origin": self.origin,
            "reason": self.reason,
            "error": self.error,
            "attempts": self.attempts,
            "dead_at": None if self.dead_at is None else self.dead_at.isoformat(),
            "events": len(self.events),
        }

    def details(self) -> dict[str, Any]:
        """Return everything that is known of it."""
        message = self.message
        told = self.summary()
        told["events"] = [event_parts(event) for event in self.events]
        told["problem"] = self.problem
        told["routing_key"] = message.routing_key
        told["headers"] = jsonable(_without(message.headers, (*DEATH_HEADERS, COUNT_HEADER)))
        told["publisher"] = message.publisher or None
        told["bytes"] = len(message.body)
        if self.problem is not None:
            told["body"] = {"base64": base64.b64encode(message.body).decode()}
        return told


class DeadLetters:
    """The dead letters of *system*, looked at through *browser*.

    Nobody else who uses this class is at work on them meanwhile; a program that
    consumes them takes what it takes.  Each letter is in the queue, or held by
    this connection and back in the queue when that ends, until it is removed.
    """

    def __init__(self, browser: QueueBrowser, system: str) -> None:
        self._browser = browser
        self._system = system
        self._codec = Codec()
        self.queue = dead_queue(system)

    def count(self) -> int:
        """Return how many there are; 0 if there never was one."""
        depth = self._browser.depth(self.queue)
        return 0 if depth is None else depth.ready

    def visit(self, decide: Callable[[DeadLetter], Fate], limit: int | None = None) -> int:
        """Ask *decide* about each letter that is there now, oldest first as far as known.

        Args:
            decide: says what becomes of it.
            limit: how many are looked at, at most.

        Returns:
            How many there were.
        """
        with self._browser.alone(f"{self.queue}.browsing", PATIENCE_S):
            count = self.count()
            # Those that die meanwhile (again, perhaps) are not looked at: else a
            # replay of all might never end.
            with self._holding() as held:
                for _ in range(count if limit is None else min(count, limit)):
                    found = self._browser.get(self.queue)
                    if found is None:
                        break
                    held.append(found)
                    fate = decide(self._read(found))
                    if fate is Fate.REMOVE:
                        self._browser.acknowledge(held.pop())
                        continue
                    if found.delivery_count < MAX_RETURNS:
                        held[-1] = replace(found, message=_EMPTY)  # its bytes are not needed
                    if fate is Fate.KEEP_AND_STOP:
                        break
            return count

    @contextmanager
    def _holding(self) -> Iterator[list[Found]]:
        held: list[Found] = []
        yield held
        # Not in a ``finally``: after an error the end of the connection gives them back.
        for found in held:
            self._browser.give_back(found)
        # The broker takes a moment; whoever looks next should see all of them.
        deadline = time.monotonic() + SETTLE_S
        while held and self.count() < len(held) and time.monotonic() < deadline:
            time.sleep(0.02)

    def send_back(self, letter: DeadLetter) -> bool:
        """Give *letter* to its subscription once more; return whether that is still there.

        It goes to that subscription only, with its event id, and is confirmed
        by the broker on return.
        """
        if letter.subscription is None:
            return False
        message = letter.message
        home = _text((message.headers or {}).get(QUEUE_HEADER)) or ""
        if not home.startswith(f"{self._system}."):
            home = f"{self._system}.sub.{letter.subscription}"
        return self._browser.publish(
            Message(
                message.routing_key,
                message.body,
                _without(kept_headers(message.headers), DEATH_HEADERS) or None,
                message.publisher,
                persistent=True,
                queue=home,
            )
        )

    def _read(self, found: Found) -> DeadLetter:
        message = found.message
        headers = message.headers or {}
        cls, origin, events, problem = None, None, [], None
        if message.routing_key == self.queue:  # moved here by the broker
            message = replace(message, routing_key=_earlier_key(headers))
        try:
            names, origin = parse_routing_key(message.routing_key, headers)
            cls = names[-1]
            events = self._codec.decode(message.routing_key, headers, message.body)
        except CorruptMessage as exc:
            problem = str(exc)
        return DeadLetter(
            id=str(events[0]._event_id) if events else _hash(message),
            subscription=_text(headers.get(SUBSCRIPTION_HEADER)) or self._came_from(headers),
            cls=cls,
            origin=origin,
            reason=_text(headers.get(REASON_HEADER))
            or _text(headers.get("x-first-death-reason"))
            or "unknown",
            error=_text(headers.get(ERROR_HEADER)) or "",
            attempts=_number(headers.get(ATTEMPTS_HEADER)),
            dead_at=_moment(headers.get(DEAD_AT_HEADER)) or _moment_of_death(headers),
            events=events,
            problem=problem,
            message=message,
        )

    def _came_from(self, headers: Mapping[str, Any]) -> str | None:
        """Return the subscription from whose queue the broker itself moved the letter."""
        queue = _text(headers.get("x-first-death-queue")) or ""
        found = re.fullmatch(rf"{re.escape(self._system)}\.(?:sub|retry)\.(.+)", queue)
        return None if found is None else found[1]


def _earlier_key(headers: Mapping[str, Any]) -> str:
    for death in _deaths(headers):
        keys = death.get("routing-keys")
        if isinstance(keys, list) and keys and isinstance(keys[0], str):
            return keys[0]
    return ""


def _deaths(headers: Mapping[str, Any]) -> list[dict[str, Any]]:
    deaths = headers.get("x-death")
    return [one for one in deaths if isinstance(one, dict)] if isinstance(deaths, list) else []


def _moment_of_death(headers: Mapping[str, Any]) -> datetime.datetime | None:
    for death in _deaths(headers):
        if isinstance(moment := death.get("time"), datetime.datetime):
            return moment.replace(tzinfo=moment.tzinfo or datetime.UTC)
    return None


def _moment(milliseconds: object) -> datetime.datetime | None:
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return None
    began = datetime.datetime.fromtimestamp(0, datetime.UTC)
    try:
        return began + datetime.timedelta(milliseconds=int(milliseconds))
    except OverflowError:
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _without(headers: Mapping[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in (headers or {}).items() if name not in names}


def _hash(message: Message) -> str:
    what = message.routing_key.encode("utf-8", "replace") + b"\0" + message.body
    return "raw-" + hashlib.sha256(what).hexdigest()[:_HASH_CHARACTERS]
