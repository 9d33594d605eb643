"""Events a second from emit in one process to the listener in another, beside the peers.

    python -m benchmarks.messaging.throughput [--cases transient persistent …] [--save]

Every event is a ``StoreSetEvent`` whose message has 200 bytes; the peers send 200
opaque bytes.  Ours is decoded and handed to a listener one by one.  Events are
made before the clock starts, for all; the end is when the last was handled and,
if persistent, confirmed.  The ratio is the median over the rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.messaging.case import Case
from benchmarks.messaging.contest import PEERS, Found, compete, describe, ratio
from benchmarks.messaging.report import broker_at, parser, percentiles, write_report

CASES = (
    Case("transient", target=20.0),
    Case("persistent", persistent=True, target=50.0),
    Case("transient-single", single=True, target=2.7),
    Case("persistent-single", persistent=True, single=True, target=10.0),
    Case("transient-mixed", mixed=True),
    Case("persistent-mixed", persistent=True, mixed=True),
)

#: Peers that have no other way for one event a message, or for mixed traffic.
SINGLE_PEERS = ("pika_blocking", "antiphon_bus", "pika_select", "bare_socket")


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--cases", nargs="+", default=[case.name for case in CASES])
    options.add_argument("--peers", nargs="+", default=None, help="modules of peers/")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=0.4, help="about, of each round")
    chosen = options.parse_args()
    lines = describe(PEERS if chosen.peers is None else chosen.peers)
    with broker_at(chosen.url) as url:
        for case in CASES:
            if case.name in chosen.cases:
                peers = chosen.peers or (SINGLE_PEERS if case.single or case.mixed else PEERS)
                found = compete(url, case, peers, rounds=chosen.rounds, seconds=chosen.seconds)
                lines += ["", *table(case, found)]
    write_report("throughput", lines, keep=chosen.save)


def table(case: Case, found: dict[str, Found]) -> Sequence[str]:
    """Return the lines that tell of *case*."""
    heads = ("ratio", "events/s", "worst", "best", "us in caller")
    lines = [f"{case.name:17}" + "".join(head.rjust(13) for head in heads)]
    first = next(iter(found.values()))
    for name, each in found.items():
        if not each.rates:
            lines.append(f"{name:17} {each.failure.strip().splitlines()[-1]}")
            continue
        figures = (
            f"{ratio(each, first):.2f}",
            f"{percentiles(each.rates)[50]:.0f}",
            f"{min(each.rates):.0f}",
            f"{max(each.rates):.0f}",
            f"{min(each.costs_us):.1f}",
        )
        lines.append(f"{name:17}" + "".join(figure.rjust(13) for figure in figures))
        if name == "antiphon" and case.target is not None:
            is_met = ratio(each, first) >= case.target
            lines[-1] += f"   asked for: {case.target:g}" + ("" if is_met else ", MISSED")
    return lines


if __name__ == "__main__":
    main()
