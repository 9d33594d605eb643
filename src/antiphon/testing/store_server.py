"""A real HTTP server for tests, over any store.

In a test::

    from antiphon.testing.store_server import serve

    with serve(store) as served:
        client = DynamicURLStore(served.keys_url, served.query_url)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from antiphon.server import StoreApp, stores_app
from antiphon.server.serving import TLS, HttpServer
from antiphon.storage.read_only_store import AbstractReadOnlyStore


@dataclass(frozen=True, slots=True)
class ServedStore:
    """A store that is being served.

    Attributes:
        url: its base, ``http://127.0.0.1:PORT/stores/NAME``.
        app: the application that serves it.
        server: runs the application.
    """

    url: str
    app: StoreApp
    server: HttpServer

    @property
    def keys_url(self) -> str:
        """``base_url`` of a ``DynamicURLStore``."""
        return f"{self.url}/keys"

    @property
    def query_url(self) -> str:
        """``query_url`` of a ``DynamicURLStore``."""
        return f"{self.url}/query"

    @property
    def root_url(self) -> str:
        """``root_url`` of a ``StaticURLStore``, with ``data/`` and ``index.json`` below it."""
        return f"{self.url}/"


def _open_signal_pipe() -> None:
    """Let uvloop open the pipe that it keeps until the process ends.

    It does so with its first loop; a test that looks for files that are left
    open would find it.
    """
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.new_event_loop().close()


_open_signal_pipe()


@contextlib.contextmanager
def serve(
    store: AbstractReadOnlyStore,
    *,
    name: str = "store",
    port: int = 0,
    tls: TLS | None = None,
    **options: Any,
) -> Iterator[ServedStore]:
    """Serve *store* over HTTP on the loopback interface until the block ends.

    Args:
        store: any store; connected if it is not, and then disconnected afterwards.
        name: that it is served under.
        port: 0 takes a free one.
        tls: None serves plain HTTP.
        **options: of ``antiphon.server.store_app``.
    """
    with contextlib.ExitStack() as stack:
        if not store.is_connected():
            store.connect()
            stack.callback(store.disconnect)
        app = stack.enter_context(stores_app({name: store}, **options))
        server = stack.enter_context(HttpServer(app, port=port, tls=tls))
        yield ServedStore(f"{server.url}/stores/{name}", app.apps[name], server)
