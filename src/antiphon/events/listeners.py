"""What is called: functions held strongly, bound methods held weakly."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, TypeAlias

from antiphon.events.abstract_event_manager import Listener

#: What a dispatch calls with the event: the listener, or ``WeakMethod.call`` of one.
Call: TypeAlias = Callable[[Any], object]

if TYPE_CHECKING:
    _Ref = weakref.ref[Any]
else:
    _Ref = weakref.ref


class WeakMethod(_Ref):
    """A bound method that does not keep its object alive.

    It is the weak reference itself, so that the callback of a death is handed
    all it needs to remove the listener.

    Attributes:
        func: the function of the method.
        cls: the event class that it is connected to.
        key: what tells it apart from other listeners, see ``key_of``.
    """

    __slots__ = ("cls", "func", "key")

    func: Callable[[Any, Any], object]
    cls: type
    key: Hashable

    def call(self, event: Any) -> None:
        """Call the method with *event*; do nothing if its object is gone."""
        # Bound once and called as any function is: a ``__call__`` would be slower,
        # and two kinds of listeners would need a test in the loop over them.
        instance = self()
        if instance is not None:
            self.func(instance, event)


def hold(
    cls: type, func: Listener, key: Hashable, when_gone: Callable[[WeakMethod], object]
) -> Call:
    """Return what to call for the listener *func*.

    A method is held weakly, and *when_gone* is called with the ``WeakMethod``
    when its object has gone; anything else is held as it is.

    Raises:
        TypeError: the method's object does not allow weak references.
    """
    if type(func) is not MethodType:
        return func
    try:
        weak = WeakMethod(func.__self__, when_gone)
    except TypeError:
        raise TypeError(
            f"cannot connect {func!r}: methods are held weakly, and {type(func.__self__)!r} has no "
            "weak references; add '__weakref__' to its __slots__, or connect a function"
        ) from None
    weak.func = func.__func__
    weak.cls = cls
    weak.key = key
    return weak.call


def key_of(func: Listener) -> Hashable:
    """Return what tells the listener *func* from others: equal for equal callables.

    Methods are told apart by the identity of their object: two equal objects
    are two listeners, and an unhashable one is as good as any.

    Raises:
        TypeError: *func* cannot be called.
    """
    kind = type(func)
    if kind is FunctionType:
        return func
    if kind is MethodType:
        return (id(func.__self__), id(func.__func__))  # type: ignore[attr-defined]
    if not callable(func):
        raise TypeError(f"cannot connect {func!r}: a listener must be callable with one event")
    try:
        hash(func)
    except TypeError:
        return (id(func),)
    return func


def listener_of(call: Call) -> Listener | None:
    """Return the listener that *call* stands for; None for a method whose object is gone."""
    if type(call) is MethodType and type(call.__self__) is WeakMethod:
        weak = call.__self__
        instance = weak()
        return None if instance is None else MethodType(weak.func, instance)
    return call
