"""Whether memory stays flat over many events: sender, listener and broker.

    python -m benchmarks.messaging.memory [--events 10000000] [--persistent] [--save]

Events go out in runs of 50 000, each flushed; after every twentieth of the whole the resident
memory of the three is taken.  The first tenth warms up: caches fill, and the allocators
take what they keep.
"""

from __future__ import annotations

import time
from pathlib import Path

from antiphon.testing.servers import RabbitMQ
from benchmarks.messaging.case import Case
from benchmarks.messaging.contest import Contender
from benchmarks.messaging.report import parser, private_broker, write_report

#: Events of one run.
RUN = 50_000

#: Times that memory is taken.
LOOKS = 20

#: MiB that may come and go: what a run itself takes, and the allocators' whims.
SLACK_MB = 48.0


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--events", type=int, default=10_000_000)
    options.add_argument("--persistent", action="store_true")
    chosen = options.parse_args()
    runs = max(LOOKS, chosen.events // RUN)
    names = ("listener", "sender", "broker")
    seen: list[tuple[float, ...]] = []
    lines = [f"{'events':>12}" + "".join(name.rjust(10) for name in names) + "   MiB resident"]
    with private_broker() as broker:
        contender = Contender(
            broker.url, "antiphon_bus", Case("memory", persistent=chosen.persistent)
        )
        contender.count = RUN
        began = time.monotonic()
        for run in range(1, runs + 1):
            contender.round(is_warming=True)
            if not run % (runs // LOOKS):
                seen.append((*map(resident_mb, contender.pids), resident_mb(broker_pid(broker))))
                lines.append(f"{run * RUN:12,}" + "".join(f"{mb:10.1f}" for mb in seen[-1]))
        seconds = time.monotonic() - began
        contender.close()
    lines.append("")
    for name, values in zip(names, zip(*seen, strict=True), strict=True):
        early, late = max(values[2 : LOOKS // 2]), max(values[LOOKS // 2 :])
        verdict = "flat" if late - early <= SLACK_MB else "GROWS"
        lines.append(
            f"{name}: {late - early:+.1f} MiB from the first half to the second: {verdict}"
        )
    lines.append(f"{runs * RUN / seconds:,.0f} events/s, the making of the events included")
    write_report("memory", lines, keep=chosen.save)


def broker_pid(broker: RabbitMQ) -> int:
    """Return the number of the process that has most memory below *broker*'s."""
    return int(broker.evaluate("list_to_integer(os:getpid())."))


def resident_mb(pid: int) -> float:
    """Return the resident memory of process *pid*, MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
