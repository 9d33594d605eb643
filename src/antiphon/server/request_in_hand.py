"""Which request a thread works for: for logs, and so that events carry the request's trace."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from antiphon.messaging.tracing import continued

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RequestInHand:
    """A request that is being answered.

    Attributes:
        store: the name that the store is served under.
        method: of HTTP.
        traceparent: the W3C trace context that the client sent, whatever it is; None for none.
    """

    store: str
    method: str
    traceparent: str | None


_in_hand: ContextVar[RequestInHand | None] = ContextVar("antiphon_request_in_hand", default=None)


def request_in_hand() -> RequestInHand | None:
    """Return the request that this thread, or task, works for; None if it does for none."""
    return _in_hand.get()


@contextlib.contextmanager
def having_in_hand(request: RequestInHand) -> Iterator[None]:
    """Work for *request* in the block.

    With OpenTelemetry imported, events emitted in it carry the request's trace context.
    """
    token = _in_hand.set(request)
    try:
        if request.traceparent is None:
            yield
        else:
            with continued(request.traceparent):
                yield
    finally:
        _in_hand.reset(token)


def working_for(request: RequestInHand, work: Callable[..., _T], *args: Any) -> _T:
    """Return what *work* does, for *request*; for threads, which have no task's context."""
    with having_in_hand(request):
        return work(*args)
