"""Stores over HTTP, for ``DynamicURLStore``, ``StaticURLStore`` and whoever speaks HTTP.

The protocol is in docs/reference/http-protocol.md.  An application is plain
ASGI: any server runs it, and any framework mounts it::

    app = store_app(open_store("sqlite:///catalogue.sqlite"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from antiphon.server.app import MAX_VALUE_BYTES, UPLOAD_IDLE_S, StoreApp
from antiphon.server.authentication import (
    Account,
    Accounts,
    Authenticator,
    accounts_in,
    token_hash,
)
from antiphon.server.calls import Identity
from antiphon.server.exchange import RequestRecord, Served
from antiphon.server.several import StoresApp
from antiphon.server.views import Views
from antiphon.server.waiting import MAX_WAITING, Waiting
from antiphon.server.workers import Workers
from antiphon.storage.read_only_store import AbstractReadOnlyStore

__all__ = [
    "Account",
    "Accounts",
    "Authenticator",
    "Identity",
    "RequestRecord",
    "StoreApp",
    "StoresApp",
    "Workers",
    "accounts_in",
    "store_app",
    "stores_app",
    "token_hash",
]


def store_app(
    store: AbstractReadOnlyStore,
    *,
    name: str = "",
    authenticator: Authenticator | None = None,
    max_value_bytes: int = MAX_VALUE_BYTES,
    upload_idle_s: float = UPLOAD_IDLE_S,
    workers: Workers | None = None,
    max_waiting: int = MAX_WAITING,
    observe: Callable[[RequestRecord], None] | None = None,
) -> StoreApp:
    """Return an ASGI application that serves *store*.

    Args:
        store: any store; connected before the first request, and disconnected
            by whoever connected it.  With ``as_user``, as authorizing stores
            have it, each request acts as its user.
        name: for *observe*.
        authenticator: tells who sends a request; None lets everyone in.
        max_value_bytes: largest value that is taken.
        upload_idle_s: seconds without a byte after which an upload is given up.
        workers: threads in which the store works, shared with other
            applications; None makes own ones, which the application's
            ``close()``, or the server's end, ends.
        max_waiting: clients that may wait for changes at a time; none of them
            holds a thread, but each holds a connection.
        observe: is told of each request, on the event loop: it must not wait.
    """
    served = Served(
        name=name,
        views=Views(store),
        authenticator=authenticator,
        max_value_bytes=max_value_bytes,
        upload_idle_s=upload_idle_s,
        workers=workers or Workers(),
        waiting=Waiting(max_waiting),
        observe=observe,
    )
    return StoreApp(served, owns_workers=workers is None)


def stores_app(stores: Mapping[str, AbstractReadOnlyStore], **options: Any) -> StoresApp:
    """Return an ASGI application that serves each of *stores* under ``/stores/<name>``.

    Args:
        stores: by name; see ``store_app``.
        **options: of ``store_app``, for each of them.
    """
    workers = options.pop("workers", None) or Workers()
    return StoresApp(
        {
            name: store_app(store, name=name, workers=workers, **options)
            for name, store in stores.items()
        },
        close=workers.close,
    )
