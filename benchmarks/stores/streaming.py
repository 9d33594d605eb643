"""Large values through stores: how quick, and in how much memory.

    .venv/bin/python -m benchmarks.stores.streaming [--size-mib 1024] [--only redis] [--save]

Each step is a process of its own: it opens the store, has the kernel forget the
peak of its memory so far (``clear_refs``), and reports how far it went beyond
what it had then (``VmHWM``).  *copy* is ``b.set(key, a.get(key))`` into a store
of the same medium; for HTTP both are on one server.  What is read is compared,
by CRC-32, with what was written; both are part of the time.  For HTTP the
server's own growth is shown as well, and the store that it serves is in sqlite.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.stores import harness

MIB = 1 << 20

#: What no step may take more of.
LIMIT_MIB = 64

STEPS = ("set", "get", "get_data_range", "copy")

_BLOCK = random.Random(7).randbytes(MIB)


class Source:
    """A stream of *size* bytes that are never in memory together, no two blocks alike."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes."""
        size = min(size if size >= 0 else self._left, self._left, MIB - 8)
        self._left -= size
        self._at += 1
        return (self._at.to_bytes(8, "big") + _BLOCK)[:size]


def checksum(pieces: Iterator[bytes]) -> tuple[int, int]:
    """Return length and CRC-32 of what *pieces* are together."""
    length = crc = 0
    for piece in pieces:
        length += len(piece)
        crc = zlib.crc32(piece, crc)
    return length, crc


def pieces_of(stream: Any) -> Iterator[bytes]:
    """Yield what a stream has."""
    while piece := stream.read(MIB // 4):
        yield piece


# -- One step, in a process of its own ---------------------------------------


class Tee:
    """Counts and sums up what is read from a source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.length = self.crc = 0

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        piece = self._source.read(size)
        self.length += len(piece)
        self.crc = zlib.crc32(piece, self.crc)
        return piece


def _do_step(step: str, a: Any, b: Any, size: int) -> tuple[int, int]:
    if step == "set":
        tee = Tee(Source(size))
        a.set("large", (tee, {"kind": "film", "part": 1}))
        return tee.length, tee.crc
    if step == "get":
        return checksum(pieces_of(a.get("large").data))
    if step == "get_data_range":
        return checksum(pieces_of(a.get_data_range("large", size // 4, -(size // 4))))
    if step == "copy":
        b.set("copy", a.get("large"))
        return b.get("copy").size or 0, 0
    raise ValueError(step)


def child(step: str, size: int, url: str, other_url: str) -> None:
    """Do one step, and print what it took as JSON."""
    from antiphon.storage.opening import open_store

    a, b = open_store(url), open_store(other_url)
    with a, b:
        before = Memory()
        began = time.perf_counter()
        length, crc = _do_step(step, a, b, size)
        seconds = time.perf_counter() - began
        grown = before.grown_mib()
    print(json.dumps({"length": length, "crc": crc, "seconds": seconds, "grown_mib": grown}))


class Memory:
    """The memory of a process from now on."""

    def __init__(self, pid: int | str = "self") -> None:
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before_kib = self._kib("VmRSS")

    def _kib(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB", self._status.read_text(), re.MULTILINE)
        assert found is not None
        return int(found.group(1))

    def grown_mib(self) -> float:
        """Return how far the process went beyond what it had when this object was made."""
        return (self._kib("VmHWM") - self._before_kib) / 1024


# -- Media -------------------------------------------------------------------


@dataclass(slots=True)
class Medium:
    """Two stores of one kind.

    Attributes:
        name: shown.
        url, other_url: of the stores.
        server_pid: process whose memory is watched as well, if there is one.
    """

    name: str
    url: str
    other_url: str
    server_pid: int | None = None
    done: list[str] = field(default_factory=list)


@contextlib.contextmanager
def sqlite_medium(folder: Path) -> Iterator[Medium]:
    """Two files."""
    yield Medium("sqlite", f"sqlite://{folder}/a.sqlite", f"sqlite://{folder}/b.sqlite")


@contextlib.contextmanager
def files_medium(folder: Path) -> Iterator[Medium]:
    """Two directories."""
    yield Medium("files", f"file://{folder}/a", f"file://{folder}/b")


@contextlib.contextmanager
def redis_medium(folder: Path) -> Iterator[Medium]:
    """Two namespaces of a private Redis."""
    from antiphon.testing.servers import redis

    with redis(given=False) as server:
        url = server.redis_url
        yield Medium("redis", f"{url}?namespace=a", f"{url}?namespace=b")


@contextlib.contextmanager
def http_medium(folder: Path) -> Iterator[Medium]:
    """Two stores that one server serves from sqlite."""
    words = [sys.executable, "-m", "benchmarks.stores.streaming", "--serve", str(folder)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            base = "dynamic+" + server.stdout.readline().strip()
            yield Medium("http", f"{base}/stores/a", f"{base}/stores/b", server.pid)
        finally:
            server.terminate()


MEDIA: dict[str, Callable[[Path], contextlib.AbstractContextManager[Medium]]] = {
    "sqlite": sqlite_medium,
    "files": files_medium,
    "redis": redis_medium,
    "http": http_medium,
}


def serve(folder: Path) -> None:
    """Serve two stores until the end of standard input."""
    from antiphon.server import stores_app
    from antiphon.server.serving import HttpServer
    from antiphon.storage.opening import open_store

    with (
        open_store(f"sqlite://{folder}/a.sqlite") as a,
        open_store(f"sqlite://{folder}/b.sqlite") as b,
        stores_app({"a": a, "b": b}) as app,
        HttpServer(app) as serving,
    ):
        print(serving.url, flush=True)
        sys.stdin.read()


# -- Running it --------------------------------------------------------------


def run(medium: Medium, size: int) -> Iterator[str]:
    """Do all steps, and yield a line for each."""
    written = None
    for step in STEPS:
        server = None if medium.server_pid is None else Memory(medium.server_pid)
        words = ["--child", step, "--size-mib", str(size // MIB)]
        words += [medium.url, medium.other_url]
        program = [sys.executable, "-m", "benchmarks.stores.streaming", *words]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            yield f"{medium.name:8}{step:16} failed: {''.join(last)[:150]}"
            return
        found = json.loads(done.stdout)
        written = written or (found["length"], found["crc"])
        if step in ("set", "get"):
            assert written == (found["length"], found["crc"]), "something else was read"
        grown = found["grown_mib"]
        line = (
            f"{medium.name:8}{step:16}{found['length'] / MIB / found['seconds']:10.0f}{grown:12.1f}"
        )
        line += " " * 12 if server is None else f"{server.grown_mib():12.1f}"
        is_too_much = grown > LIMIT_MIB or (server and server.grown_mib() > LIMIT_MIB)
        yield line + (f"   more than {LIMIT_MIB} MiB" if is_too_much else "")


def main() -> None:
    """Read the command line, measure, print, and keep the result if asked to."""
    parser = argparse.ArgumentParser(description="Stream large values through stores.")
    parser.add_argument("--size-mib", type=int, default=1024, help="size of the value")
    parser.add_argument("--only", default=",".join(MEDIA), help="media, with commas")
    parser.add_argument("--save", action="store_true", help="keep the text in results/")
    parser.add_argument("--keys", help="not used: all modules here are called alike")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("urls", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = options.size_mib * MIB
    if options.child:
        child(options.child, size, *options.urls)
    elif options.serve:
        serve(options.serve)
    else:
        measure(size, options.only.split(","), is_kept=options.save)


def measure(size: int, names: list[str], *, is_kept: bool) -> None:
    """Measure all of *names*."""
    began = time.monotonic()
    lines = [
        f"a value of {size // MIB} MiB",
        f"{'':24}{'MiB/s':>10}{'grown MiB':>12}{'server MiB':>12}",
    ]
    print("\n".join(lines), flush=True)
    for name in names:
        folder = harness.scratch_folder()
        with MEDIA[name](folder) as medium:
            for line in run(medium, size):
                print(line, flush=True)
                lines.append(line)
        shutil.rmtree(folder, ignore_errors=True)
    if is_kept:
        head = harness.circumstances("streaming", "Antiphon this commit", time.monotonic() - began)
        path = (
            harness.HERE / "results" / f"{datetime.now(UTC):%Y-%m-%d}-streaming-{size // MIB}.txt"
        )
        path.write_text("\n".join([*head, *lines, ""]))


if __name__ == "__main__":
    main()
