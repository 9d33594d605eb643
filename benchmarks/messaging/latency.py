"""One-way latency from emit in one process to the listener in another, beside the peers.

    python -m benchmarks.messaging.latency [--rate 200] [--rounds 15] [--events 50] [--save]

Rounds of all alternate in one run, so that what else the machine does falls on
all alike.  Times are taken with the machine's monotonic clock, which all its
processes share: just before ``emit`` (or publish) and first thing in the listener.
"""

from __future__ import annotations

import statistics

from benchmarks.messaging.case import Case
from benchmarks.messaging.contest import compete_in_latency
from benchmarks.messaging.report import broker_at, parser, percentiles, write_report

#: Those who can send one event when it comes.
PEERS = (
    "pika_blocking",
    "antiphon_bus",
    "with_kombu",
    "with_aio_pika",
    "with_amqpstorm",
    "with_faststream",
    "bare_socket",
)

#: What ours is to be, of raw pika.
TARGET, AIM = 1.0, 0.75


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--peers", nargs="+", default=PEERS)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--events", type=int, default=50)
    options.add_argument("--rate", type=float, default=200)
    options.add_argument("--persistent", action="store_true", help="by a durable queue")
    chosen = options.parse_args()
    case = Case("latency", persistent=chosen.persistent)
    with broker_at(chosen.url) as url:
        found = compete_in_latency(
            url, case, chosen.peers, rounds=chosen.rounds, count=chosen.events, rate=chosen.rate
        )
    heads = ("ratio", "p50", "p90", "p99", "max")
    lines = [f"{chosen.rate:g} events/s, microseconds; ratio: median of the rounds' p50", ""]
    lines.append(" " * 17 + "".join(head.rjust(9) for head in heads))
    first = next(iter(found.values()))
    for name, each in found.items():
        if not each.latencies_us:
            lines.append(f"{name:17} {each.failure.strip().splitlines()[-1]}")
            continue
        pairs = zip(each.latencies_us, first.latencies_us, strict=True)
        ratio = statistics.median(
            statistics.median(own) / statistics.median(other) for own, other in pairs
        )
        figures = percentiles([one for some in each.latencies_us for one in some]).values()
        lines.append(f"{name:17}{ratio:9.2f}" + "".join(f"{figure:9.0f}" for figure in figures))
        if name == "antiphon":
            state = "met" if ratio <= AIM else f"aim {AIM} missed" if ratio <= TARGET else "MISSED"
            lines[-1] += f"   asked for: {TARGET:g}, {state}"
    write_report("latency", lines, keep=chosen.save)


if __name__ == "__main__":
    main()
