"""The events that stores emit.

Names and inheritance are Encore's.  The modification events are the ones that
matter across processes: their class says what happened, ``key`` and
``metadata`` to what, and ``position`` where it stands in the store's journal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

from antiphon.events.api import (
    BaseEvent,
    ProgressEndEvent,
    ProgressEvent,
    ProgressStartEvent,
    ProgressStepEvent,
)
from antiphon.storage.journal import Position, Version, split_place

_T = TypeVar("_T")


class _Derived(Generic[_T]):
    """Like ``property``, but an attribute of that name given to the event wins."""

    # Encore's events take any attribute, so a program may well emit one that
    # is called ``version``; a property would hide it.

    def __init__(self, compute: Callable[[Any], _T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, event: None, owner: type) -> Self: ...
    @overload
    def __get__(self, event: object, owner: type) -> _T: ...
    def __get__(self, event: object | None, owner: type) -> Self | _T:
        return self if event is None else self._compute(event)


class StoreEvent(BaseEvent):
    """Base of all events of stores; ``source`` is the store."""


class StoreTransactionEvent(StoreEvent):
    """Base of the events that frame a transaction."""


class StoreTransactionStartEvent(StoreTransactionEvent):
    """A transaction began."""


class StoreTransactionEndEvent(StoreTransactionEvent):
    """A transaction ended; the events of its changes follow.

    Attributes:
        state: ``done``, or ``failed`` if it was rolled back.
    """

    state: str


class StoreKeyEvent(StoreEvent):
    """Base of the events that concern one key.

    Attributes:
        key: the key.
        metadata: its metadata, where known.
        redacted: True if *key* is only a keyed digest of the key and *metadata*
            are left out, as in the events of an authorizing store.
    """

    #: A class attribute, so that events that are not redacted carry nothing more.
    redacted: bool = False
    key: str
    metadata: dict[str, Any]


class StoreModificationEvent(StoreKeyEvent):
    """Base of the events that tell of a change of one key.

    Attributes:
        action: ``set``, ``update`` or ``delete``.
    """

    action: str

    @_Derived
    def position(self) -> Position | None:
        """Where the change stands in the store's journal; None if it has none."""
        # Events that came over the wire hold a plain tuple: the wire knows
        # nothing of stores.
        place: tuple[Any, ...] | None = getattr(self, "_position", None)
        return None if place is None else split_place(place)[0]

    @_Derived
    def version(self) -> Version | None:
        """The version that the change gave to the key; None if it has none."""
        place: tuple[Any, ...] | None = getattr(self, "_position", None)
        return None if place is None else split_place(place)[0].version

    @_Derived
    def link(self) -> bytes:
        """The beginning of the id of the journal's entry before the change; b"" if unknown."""
        place: tuple[Any, ...] | None = getattr(self, "_position", None)
        return b"" if place is None else split_place(place)[1]


class StoreSetEvent(StoreModificationEvent):
    """A key that was not there was set; ``metadata`` is what it has now."""

    action = "set"


class StoreUpdateEvent(StoreModificationEvent):
    """A key that was there was changed; ``metadata`` is what it has now."""

    action = "update"


class StoreDeleteEvent(StoreModificationEvent):
    """A key was deleted; ``metadata`` is what it had before."""

    action = "delete"


class StoreProgressEvent(ProgressEvent, StoreKeyEvent):
    """Base of the events that tell how a transfer goes on.

    Attributes:
        operation_id: names the transfer.
        message: says in words what is done.
    """


class StoreProgressStartEvent(ProgressStartEvent, StoreProgressEvent):
    """A transfer began.

    Attributes:
        steps: bytes to be transferred; -1 if unknown.
    """


class StoreProgressStepEvent(ProgressStepEvent, StoreProgressEvent):
    """A transfer went on.

    Attributes:
        step: bytes transferred so far.
    """


class StoreProgressEndEvent(ProgressEndEvent, StoreProgressEvent):
    """A transfer ended.

    Attributes:
        exit_state: ``normal``, ``warning``, ``error`` or ``exception``.
    """
