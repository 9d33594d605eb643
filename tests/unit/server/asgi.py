"""Asks an application in this process, without any socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx

from antiphon.server import StoreApp, StoresApp, store_app


class Asker:
    """Sends requests to an application; paths are below its root."""

    def __init__(self, app: StoreApp | StoresApp) -> None:
        self.app = app

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to one request."""
        return asyncio.run(self._ask(method, path, **options))

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            content = options.pop("content", None)
            if isinstance(content, Iterator):
                options["content"] = _as_async(content)
            elif content is not None:
                options["content"] = content
            return await client.request(method, path, **options)


async def _as_async(pieces: Iterator[bytes]) -> Any:
    for piece in pieces:
        yield piece


def asker_of(store: Any, **options: Any) -> Asker:
    """Return an asker of an application over *store*; end it with ``asker.app.close()``."""
    return Asker(store_app(store, **options))
