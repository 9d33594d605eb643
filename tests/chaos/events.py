"""What the players emit: numbered events of several classes and origins."""

from __future__ import annotations

from antiphon import BaseEvent


class Note(BaseEvent):
    """The base of all: ``publisher`` and ``number`` say which one it is."""

    wire_name = "chaos:Note"


class Left(Note):
    """One side of the diamond."""

    wire_name = "chaos:Left"


class Right(Note):
    """The other side."""

    wire_name = "chaos:Right"


class Both(Left, Right):
    """Its foot."""

    wire_name = "chaos:Both"


#: By the word that stands in histories.
CLASSES: dict[str, type[Note]] = {cls.__name__: cls for cls in (Note, Left, Right, Both)}

ORIGINS = ("north", "north.a", "süd.#.*")

#: Events in a row of one class, and of one origin: some runs share a routing
#: key, so that they may travel in one message, and some are cut in the middle.
CLASS_RUN, ORIGIN_RUN = 11, 17


def class_of(number: int) -> str:
    """Return the name of the class of event *number*."""
    return tuple(CLASSES)[number // CLASS_RUN % len(CLASSES)]


def origin_of(number: int) -> str:
    """Return the origin of event *number*."""
    return ORIGINS[number // ORIGIN_RUN % len(ORIGINS)]


def matches(wanted: str, cls: str) -> bool:
    """Return whether a listener of class *wanted* is to hear events of class *cls*."""
    return issubclass(CLASSES[cls], CLASSES[wanted])
