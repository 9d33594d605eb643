"""What listeners of a bus may ask for beyond what every event manager knows."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from antiphon.events.abstract_event_manager import Filter, Listener
from antiphon.events.filters import check_filter
from antiphon.events.origin import OriginSpec, Prefix, matches_origin, origin_of

#: What listeners may ask for, in the form that is kept: None is every origin.
Origins = tuple[str | Prefix, ...] | None

_WILDCARDS = frozenset("*#")

#: One more test that an event must pass.
Condition = Callable[[Any], bool]


def checked_origins(origin: OriginSpec) -> Origins:
    """Return *origin* as a tuple without repetitions; None stays None.

    An origin with a wildcard is warned of: it is matched as it is written.

    Raises:
        TypeError: something in it is no text.
    """
    if origin is None:
        return None
    if isinstance(origin, str) or not isinstance(origin, Iterable):
        origin = (origin,)
    several = tuple(dict.fromkeys(origin))
    for one in several:
        if not isinstance(one, str):
            raise TypeError(f"an origin is text or a Prefix, or several of those, not {one!r}")
        if not _WILDCARDS.isdisjoint(one.split(".")):
            begin = ".".join(itertools.takewhile(_is_plain, one.split("."))) or "a.b"
            warnings.warn(
                f"origin {str(one)!r} is matched as it is written: '*' and '#' are no wildcards "
                f"here; for all origins that begin alike use Prefix({begin!r}), for all, None",
                stacklevel=3,
            )
    return several


def _is_plain(word: str) -> bool:
    return word not in _WILDCARDS


def origin_test(origins: Origins, default: str | None) -> Condition | None:
    """Return the test whether an event comes from one of *origins*; None if all pass.

    Args:
        origins: what is asked for.
        default: origin of this process's events that name none.
    """
    if origins is None:
        return None
    if len(origins) == 1 and not isinstance(origins[0], Prefix):
        only = origins[0]
        return lambda event: origin_of(event, default) == only
    return lambda event: matches_origin(origins, origin_of(event, default))


def both(one: Condition | None, other: Condition) -> Condition:
    """Return the test that both pass; None passes always."""
    return other if one is None else lambda event: one(event) and other(event)


def portable(filter: Filter | None) -> Filter | None:
    """Return *filter* with a store in it replaced by what is the same in every process."""
    check_filter(filter)
    store_id = getattr(filter.get("source"), "store_id", None) if filter else None
    if filter is None or not isinstance(store_id, UUID) or "source.store_id" in filter:
        return filter
    rest = {name: value for name, value in filter.items() if name != "source"}
    return {"source.store_id": store_id, **rest}


class NamedListener:
    """A listener of a class name: equal to another one of the same name and listener."""

    def __init__(self, name: str, func: Listener) -> None:
        self._identity = (name, func)
        self._func = func

    def __call__(self, event: Any) -> None:
        self._func(event)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedListener) and other._identity == self._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return f"{self._func!r} on {self._identity[0]}"
