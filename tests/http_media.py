"""Stores served over HTTP, for the tests of those who talk to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvloop

from antiphon.server import store_app
from antiphon.server.serving import HttpServer
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.dynamic_url_store import DynamicURLStore

#: A key may have 1 MiB, and is percent-encoded in the request line.
MAX_HEAD_BYTES = 4 << 20

# libuv opens a pipe with its first loop and keeps it: here, where no test has to answer for it.
with asyncio.Runner(loop_factory=uvloop.new_event_loop):
    pass


class Web:
    """A server that runs for many tests, each of which serves a store of its own.

    Attributes:
        url: where it is.
    """

    def __init__(self) -> None:
        self.url = ""
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    @contextlib.contextmanager
    def serving(self, store: Any, **options: Any) -> Iterator[str]:
        """Serve *store* for as long as the block runs; gives its URL."""
        with store, store_app(store, **options) as self._app:
            yield self.url


@contextlib.contextmanager
def running_web() -> Iterator[Web]:
    """Give a server for as long as the block runs."""
    web = Web()
    with HttpServer(web, max_head_bytes=MAX_HEAD_BYTES) as server:
        web.url = server.url
        # Until it answers its thread is opening files, which no test has to answer for.
        with web.serving(DictMemoryStore()) as url, client(url) as store:
            store.set_metadata("a", {})
        yield web


def client(url: str) -> DynamicURLStore:
    """Return an unconnected store on what is served at *url*."""
    return DynamicURLStore(f"{url}/keys", f"{url}/query")
