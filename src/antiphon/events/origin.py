"""Where an event comes from, in dotted words, and how listeners ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from antiphon.events.abstract_event_manager import BaseEvent


class Prefix(str):
    """All origins that begin with some dotted words.

    ``Prefix("a.b")`` matches the origins ``a.b`` and ``a.b.c``, but not
    ``a.bc``.  It is text, so that it can be printed and split, but it equals no
    plain text: ``{"a", Prefix("a")}`` asks for two different things.
    """

    __slots__ = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The words between the dots."""
        return tuple(self.split("."))

    def matches(self, origin: str | None) -> bool:
        """Return whether *origin* is this prefix, or begins with its words."""
        return origin is not None and (
            str.__eq__(self, origin) is True or origin.startswith(str(self) + ".")
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prefix) and str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((Prefix, str(self)))

    def __repr__(self) -> str:
        return f"Prefix({str(self)!r})"


#: What a listener may ask for: every origin, one, all that begin alike, or several of those.
OriginSpec: TypeAlias = "str | Prefix | Iterable[str | Prefix] | None"


def matches_origin(spec: OriginSpec, origin: str | None) -> bool:
    """Return whether *origin* is one that *spec* asks for.

    Args:
        spec: None matches everything, events without origin included; text
            matches that origin only; a ``Prefix`` matches as it says; of
            several, one that matches is enough.
        origin: the event's origin, None if it has none.
    """
    if spec is None:
        return True
    if isinstance(spec, Prefix):
        return spec.matches(origin)
    if isinstance(spec, str):
        return spec == origin
    return any(matches_origin(one, origin) for one in spec)


def origin_of(event: BaseEvent, default: str | None = None) -> str | None:
    """Return the origin of *event*.

    It is the first of these that is text: ``event.origin``; what the sender
    said, for an event that arrived; ``event.source.origin``; *default*.  An
    event that arrived without an origin has none: *default* is this process's.
    """
    origin = getattr(event, "origin", None)
    if isinstance(origin, str):
        return origin
    state = event.__dict__
    if "_came" in state or "_delivery" in state:
        delivery = event._delivery
        if delivery is not None:
            return delivery.origin
    source = getattr(event, "source", None)
    origin = None if source is None else getattr(source, "origin", None)
    return origin if isinstance(origin, str) else default
