"""From the start of a write in one process until another reads the new value through its cache.

    python -m benchmarks.caches.invalidation [--rounds 12] [--writes 40] [--save]

The reader is *idle* (it sleeps until something tells it, then reads) or *busy*
(it reads without pause).  Rounds of all contenders alternate in one run.  The
writer's thread is idle between two writes, 8 to 24 ms apart.  Times are taken
with the machine's monotonic clock: just before the write, which puts it into the
value, and when the reader has the value.  Private servers, unless others are given.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.caches.case import Servers
from benchmarks.caches.contest import CASES, PEERS, Case, Found, compete, module_of
from benchmarks.caches.report import parser, percentiles, servers_of, write_report

#: What ours is to be at most, of the first contender: by name, idle and busy.
TARGETS = {
    ("antiphon", False): 2.1,
    ("antiphon, 0.5 ms", False): 2.1,
    ("antiphon, 0.5 ms", True): 0.35,
}


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--peers", nargs="+", default=PEERS)
    options.add_argument("--rounds", type=int, default=12)
    options.add_argument("--writes", type=int, default=40)
    chosen = options.parse_args()
    with servers_of(chosen) as (amqp, redis), _zeo(chosen.peers) as zeo:
        servers = Servers(amqp, redis, zeo)
        found = compete(servers, chosen.peers, rounds=chosen.rounds, count=chosen.writes)
    lines = []
    for case in CASES:
        lines += [f"{case.title}; microseconds, and the ratio of the rounds' medians", ""]
        lines += [*_table(found, case), ""]
    for peer in chosen.peers:
        with contextlib.suppress(ImportError):
            lines.append(f"{module_of(peer).NAME:17} {module_of(peer).SAYS}")
    write_report("invalidation", lines, keep=chosen.save)


def _table(found: dict[str, dict[Case, Found]], case: Case) -> Iterator[str]:
    heads = ("ratio", "p50", "p90", "p99", "max")
    yield (
        " " * 17
        + "".join(head.rjust(9) for head in heads)
        + ("  us a read" if case.is_busy else "")
    )
    first = next(iter(found.values()))[case]
    for name, each in found.items():
        this = each[case]
        if not this.latencies_us or this.failure:
            yield f"{name:17} {(this.failure.strip() or 'gave up').splitlines()[-1]}"
            continue
        ratio = statistics.median(
            statistics.median(own) / statistics.median(other)
            for own, other in zip(this.latencies_us, first.latencies_us, strict=False)
        )
        figures = percentiles([one for some in this.latencies_us for one in some]).values()
        line = f"{name:17}{ratio:9.2f}" + "".join(f"{figure:9.0f}" for figure in figures)
        if case.is_busy:
            line += f"{statistics.median(this.read_us):11.2f}"
        target = TARGETS.get((name, case.is_busy))
        if target is not None:
            line += f"   asked for: {target:g}, {'met' if ratio <= target else 'MISSED'}"
        yield line


@contextlib.contextmanager
def _zeo(peers: Any) -> Iterator[tuple[str, int] | None]:
    """Start ZEO's server, if it takes part and is there."""
    try:
        if "with_zeo" not in peers:
            raise ImportError
        address, stop = module_of("with_zeo").start_server()
    except ImportError:
        yield None
        return
    try:
        yield address
    finally:
        stop()


if __name__ == "__main__":
    main()
