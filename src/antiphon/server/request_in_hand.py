"""Which request a thread works for: for logs, and so that events carry the request's trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from antiphon.messaging.tracing import continued

_T = TypeVar("_T")


# Not frozen: that would take three times as long to make, for each request.
@dataclass(slots=True)
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


#: What this thread, or task, works for.
in_hand: ContextVar[RequestInHand | None] = ContextVar("antiphon_request_in_hand", default=None)


def request_in_hand() -> RequestInHand | None:
    """Return the request that this thread, or task, works for; None if it does for none."""
    return in_hand.get()


def request_of(store: str, method: str, headers: Mapping[bytes, bytes]) -> RequestInHand:
    """Return the request for *store* with these *headers*, by names in small letters."""
    sent = headers.get(b"traceparent")
    return RequestInHand(store, method, None if sent is None else sent.decode("latin-1"))


def working_for(request: RequestInHand, work: Callable[..., _T], *args: Any) -> _T:
    """Return what *work* does, for *request*; for threads, which have no task's context.

    With OpenTelemetry imported, events that it emits carry the request's trace context.
    """
    token = in_hand.set(request)
    try:
        if request.traceparent is None:
            return work(*args)
        with continued(request.traceparent):
            return work(*args)
    finally:
        in_hand.reset(token)
