"""Checks of what a bus is asked to subscribe to."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from types import FunctionType
from typing import cast

from antiphon.errors import InvalidBusOption
from antiphon.events.abstract_event_manager import BaseEvent, Filter
from antiphon.events.filters import check_filter, check_name
from antiphon.messaging.subscription_options import MODES, SubscriptionOptions

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

#: Bytes of a queue's name at the broker, less what comes before it.
_MAX_QUEUE_BYTES = 200

#: Events of one call, and seconds to wait for them, at most.
_MAX_EVENTS, _MAX_WAIT_S = 100_000, 60.0

#: Messages that the broker sends ahead at most, unless told otherwise.
_MAX_PREFETCH = 200


def check_subscription_name(name: object) -> None:
    """Raise ``InvalidBusOption`` if no subscription can be called *name*."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidBusOption(
            "the name of a subscription is 1 to 100 letters, digits, '_', '-' and '.', and "
            f"begins with a letter or digit; it is not {name!r}"
        )


def check_queue_name(queue: str) -> None:
    """Raise ``InvalidBusOption`` if no queue can be called *queue*."""
    if not queue or len(queue.encode()) > _MAX_QUEUE_BYTES or queue.startswith("amq."):
        raise InvalidBusOption(
            f"the name of a queue is 1 to {_MAX_QUEUE_BYTES} bytes and does not begin with "
            f"'amq.'; it is not {queue!r}"
        )


def options_for_batches(
    max_events: object, max_wait_s: object, options: SubscriptionOptions | None
) -> SubscriptionOptions:
    """Return *options*, or what they are for a listener that gets *max_events* at once.

    Raises:
        InvalidBusOption: one of them makes no sense.
    """
    if type(max_events) is not int or not 1 <= max_events <= _MAX_EVENTS:
        raise InvalidBusOption(
            f"max_events is a whole number from 1 to {_MAX_EVENTS}, not {max_events!r}"
        )
    is_time = type(max_wait_s) in (int, float) and not math.isnan(cast(float, max_wait_s))
    if not is_time or not 0 <= cast(float, max_wait_s) <= _MAX_WAIT_S:
        raise InvalidBusOption(
            f"max_wait_s is a number of seconds from 0 to {_MAX_WAIT_S:g}, not {max_wait_s!r}"
        )
    if options is None:
        return SubscriptionOptions(prefetch=min(max_events, _MAX_PREFETCH))
    if isinstance(options, SubscriptionOptions) and options.workers != 1:
        raise InvalidBusOption(
            f"a listener of batches has one thread, so workers=1, not {options.workers}"
        )
    return options


def checked_classes(cls: object) -> tuple[type[BaseEvent], ...]:
    """Return *cls*, an event class or several, as a tuple.

    Raises:
        InvalidBusOption: it is something else, or a class whose events do not travel.
    """
    is_one = not isinstance(cls, Iterable) or isinstance(cls, type | str)
    classes = (cls,) if is_one else tuple(cast(Iterable[object], cls))
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, BaseEvent)):
            raise InvalidBusOption(f"subscribe takes event classes, not {one!r}")
        if not one.travels:
            raise InvalidBusOption(
                f"events of class {one.__qualname__} stay in the process that emits them (travels "
                "is False), so no queue gets them: connect() hears them"
            )
    if not classes:
        raise InvalidBusOption("subscribe takes one event class or several, not none")
    return cast(tuple[type[BaseEvent], ...], classes)


def parted_classes(cls: object) -> tuple[tuple[type[BaseEvent], ...], tuple[str, ...]]:
    """Return the event classes in *cls*, and the names of others.

    Raises:
        InvalidBusOption: there is something else among it, or nothing.
    """
    given = tuple(cls) if isinstance(cls, Iterable) and not isinstance(cls, type | str) else (cls,)
    names = tuple(one for one in given if isinstance(one, str))
    if "" in names:
        raise InvalidBusOption("the name of an event class is empty")
    classes = [one for one in given if not isinstance(one, str)]
    return checked_classes(classes) if classes or not names else (), names


def checked_options(
    func: object, mode: object, filter: Filter | None, options: object
) -> SubscriptionOptions:
    """Return *options*, or the usual ones.

    Raises:
        InvalidBusOption: an argument makes no sense.
    """
    if not callable(func):
        raise InvalidBusOption(f"a listener must be callable with one event; {func!r} is not")
    if mode not in MODES:
        near = difflib.get_close_matches(str(mode), MODES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidBusOption(f"mode is one of {', '.join(map(repr, MODES))}, not {mode!r}{hint}")
    check_filter(filter)
    for path, value in (filter or {}).items():
        check_name(path)
        if isinstance(value, FunctionType):
            raise InvalidBusOption(
                f"the filter value of {path!r} is the function {value!r}: a filter names values "
                "that attributes must equal; test other things in the listener"
            )
    if options is None:
        return SubscriptionOptions()
    if not isinstance(options, SubscriptionOptions):
        raise InvalidBusOption(f"options are SubscriptionOptions(...), not {options!r}")
    return options
