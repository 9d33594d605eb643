"""Stores over HTTP, beside static files served by the same ASGI server.

    .venv/bin/python -m benchmarks.stores.http [--turns 10] [--seconds 1] [--save]

Each server is a process of its own: uvicorn with uvloop and httptools, one
worker.  The limit is Starlette's ``StaticFiles`` with a file of 1 KiB; since
that opens its file for each request, in threads, there is an application as
well that only answers 1 KiB from memory, which no server can be quicker than.  The
load comes from this process: a number of connections, each with one request on
its way.  In each turn every case is loaded for some seconds, one after the
other; the *share* is the case's requests a second over those of the static
file in the same turn, and shown is the median of the turns.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.stores import harness

#: Keys in each store.
KEYS = 1000

#: Share of static serving that a small get from a store in memory has to have.
TARGET = 0.6

TOKEN = "a-token-of-the-benchmark"

LIBRARIES = ("uvicorn", "uvloop", "httptools", "starlette")


# -- The servers -----------------------------------------------------------------


def serve(kind: str, folder: Path) -> None:
    """Serve until SIGTERM; print the port."""
    from antiphon.server.serving import HttpServer

    with HttpServer(_app(kind, folder)) as server:
        print(server.port, flush=True)
        signal.sigwait({signal.SIGTERM})


def _app(kind: str, folder: Path) -> Any:
    if kind == "static":
        from starlette.applications import Starlette
        from starlette.routing import Mount
        from starlette.staticfiles import StaticFiles

        (folder / "file").write_bytes(harness.data_of(0))
        return Starlette(routes=[Mount("/files", StaticFiles(directory=folder))])
    if kind == "constant":
        return _constant
    from antiphon import open_store
    from antiphon.server import Account, Accounts, store_app, token_hash
    from antiphon.storage.string_value import StringValue

    url = "memory:" if kind != "sqlite" else f"sqlite:///{folder}/store.sqlite"
    store = open_store(url)
    store.connect()
    for number in range(KEYS):
        item = harness.Item.of(number)
        store.set(f"key{number}", StringValue(item.data, item.metadata))
    accounts = Accounts([Account("user", token_hashes=(token_hash(TOKEN),))])
    return store_app(store, authenticator=accounts if kind == "memory, users" else None)


async def _constant(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"1024")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": harness.data_of(0)})


@contextlib.contextmanager
def server(kind: str) -> Iterator[int]:
    """Run a server in a process of its own; yield its port."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--serve", kind, "--folder", folder],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(10)
            process.stdout.close()


# -- The load --------------------------------------------------------------------


@dataclass
class Case:
    """One kind of request to one server.

    Attributes:
        name: shown.
        server: which server it goes to.
        request: the bytes of the request.
        status: expected in each answer.
        rates: requests a second, by turn.
        latencies_us: of all requests.
    """

    name: str
    server: str
    request: bytes
    status: int = 200
    rates: list[float] = field(default_factory=list)
    latencies_us: list[float] = field(default_factory=list)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class _Connection(asyncio.Protocol):
    """Sends one request after the other, and notes how long each took."""

    def __init__(self, case: Case, until: float, done: asyncio.Future[None]) -> None:
        self._case = case
        self._until = until
        self._done = done
        self._wanted = b"HTTP/1.1 %d" % case.status
        self._buffer = b""
        self.count = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._case.request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(self._wanted):
            raise RuntimeError(head)
        if self._case.status != 304:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(rest) < length:
                return
        self._buffer = b""
        now = time.perf_counter()
        self._case.latencies_us.append((now - self._sent) * 1e6)
        self.count += 1
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def load(case: Case, port: int, seconds: float, connections: int) -> None:
    """Load a server with one case, and note how many requests it answered."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    opened = []
    for _ in range(connections):
        done = loop.create_future()
        _, protocol = await loop.create_connection(
            lambda done=done: _Connection(case, began + seconds, done),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        opened.append((protocol, done))
    for _, done in opened:
        await done
    answered = sum(protocol.count for protocol, _ in opened)
    case.rates.append(answered / (time.perf_counter() - began))


def cases() -> list[Case]:
    """Return the static file first, then what is compared with it."""
    key, data = "/keys/key7", harness.data_of(7)
    bearer = f"Authorization: Bearer {TOKEN}"
    return [
        Case("static file", "static", request("GET", "/files/file")),
        Case("constant", "constant", request("GET", "/")),
        Case("get, memory", "memory", request("GET", f"{key}/data")),
        Case("get, memory, users", "memory, users", request("GET", f"{key}/data", bearer)),
        Case("get, sqlite", "sqlite", request("GET", f"{key}/data")),
        Case("get value, memory", "memory", request("GET", f"{key}/value")),
        Case("not modified", "memory", request("GET", f"{key}/data", "If-None-Match: *"), 304),
        Case("put, memory", "memory", request("PUT", f"{key}/data", body=data)),
        Case("put, sqlite", "sqlite", request("PUT", f"{key}/data", body=data)),
        Case("query, 100 of 1000", "memory", request("GET", "/query?group=%22group-3%22")),
    ]


# -- The result ------------------------------------------------------------------


def report(measured: list[Case]) -> Iterator[str]:
    """Yield the lines of the table, and whether the target is met."""
    limit = measured[0]
    yield "case".ljust(22) + "".join(
        text.rjust(12) for text in ("requests/s", "share", "median us", "p99 us", "max us")
    )
    shares = {}
    for case in measured:
        ratios = [own / least for own, least in zip(case.rates, limit.rates, strict=True)]
        shares[case.name] = statistics.median(ratios)
        ordered = sorted(case.latencies_us)
        figures = (ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1])
        yield (
            case.name.ljust(22)
            + f"{statistics.median(case.rates):,.0f}".rjust(12)
            + f"{shares[case.name]:.2f}".rjust(12)
            + "".join(f"{figure:,.0f}".rjust(12) for figure in figures)
        )
    share = shares.get("get, memory")
    if share is not None:
        verdict = "met" if share >= TARGET else "missed"
        yield ""
        yield f"target {verdict}: a get from memory has {share:.2f} of a static file, of {TARGET:g}"


def main() -> None:
    """Measure, print, and keep the result if asked to."""
    parser = argparse.ArgumentParser(description="Measure stores over HTTP.")
    parser.add_argument("--keys", help="taken and ignored, as all media are called alike")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case in each turn")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--save", action="store_true", help="keep the text in results/")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        serve(options.serve, options.folder)
        return
    began = time.monotonic()
    limit, *others = cases()
    chosen = [limit, *(case for case in others if options.only in case.name)]
    asyncio.run(_measure(chosen, options))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    text = "\n".join(
        [
            *harness.circumstances("http", versions, time.monotonic() - began),
            f"{options.connections} connections, 1 KiB, {len(limit.rates)} turns",
            "",
            *report(chosen),
            "",
        ]
    )
    print(text)
    if options.save:
        path = harness.HERE / "results" / f"{datetime.now(UTC):%Y-%m-%d}-http.txt"
        path.write_text(text)


async def _measure(chosen: list[Case], options: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        ports = {
            kind: stack.enter_context(server(kind)) for kind in {case.server for case in chosen}
        }
        for case in chosen:
            await load(case, ports[case.server], 0.2, options.connections)
            case.rates.clear()
            case.latencies_us.clear()
        for _ in range(options.turns):
            for case in chosen:
                await load(case, ports[case.server], options.seconds, options.connections)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", os.getcwd())
    main()
