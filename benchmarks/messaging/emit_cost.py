"""What ``emit`` costs its caller: broker up, gone, and blocked by an alarm.

    python -m benchmarks.messaging.emit_cost [--events 20000] [--rounds 5] [--save]

Always on a private broker, since it is killed.  Each call is timed; no one
listens in this process.  At 200/s nothing is under way, so that each event is
written to the socket by the thread that emits it, and finds the processor's
caches cold.  "Encoding alone" is the part that no bus can do without.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence

from antiphon.events.event_id import next_event_id
from antiphon.messaging.bus import BrokerEventManager
from antiphon.storage.events import StoreKeyEvent
from antiphon.testing.broker_control import raise_alarm
from antiphon.wire import Codec
from benchmarks.messaging.case import Case, paced
from benchmarks.messaging.peers.antiphon_bus import open_case, padding, set_event
from benchmarks.messaging.report import parser, percentiles, private_broker, write_report


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--events", type=int, default=20_000, help="in each round")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    count, rounds = chosen.events, chosen.rounds
    room = {"buffer_events": 2 * count * rounds, "buffer_bytes": 2**30}
    lines = [
        f"{'nanoseconds a call':22}" + "".join(h.rjust(9) for h in ("p50", "p90", "p99", "max"))
    ]
    size = padding()
    lines.append(_line("encoding alone", _encoding(size, count)))
    with private_broker() as broker:
        bus = open_case(broker.url, Case("emit"), **room)
        alone: list[int] = []
        paced(count // 20, 200, lambda: alone.extend(_emits(bus, [set_event(size)])))
        lines.append(_line("broker up, 200/s", alone))
        for name, before in _states(broker, bus):
            before()
            taken: list[int] = []
            for _ in range(rounds):
                taken += _emits(bus, [set_event(size) for _ in range(count)])
                if name == "broker up":
                    bus.flush(60)
            lines.append(_line(name, taken))
        broker.restart()
        bus.wait_connected(30)
        bus.flush(120)
        lines.append("all of it was confirmed after the broker's return")
        bus.close()
    write_report("emit_cost", lines, keep=chosen.save)


def _states(broker: object, bus: BrokerEventManager) -> list[tuple[str, Callable[[], object]]]:
    def block() -> None:
        raise_alarm(broker, is_on=True)
        while bus.stats().blocked_because is None:  # told to those who publish
            bus.emit(set_event(1))
            time.sleep(0.01)

    def unblock_and_kill() -> None:
        raise_alarm(broker, is_on=False)
        bus.flush(60)
        broker.kill()
        while bus.is_connected:
            time.sleep(0.01)

    return [
        ("broker up", lambda: bus.flush(30)),
        ("broker blocked", block),
        ("broker gone", unblock_and_kill),
    ]


def _emits(bus: BrokerEventManager, events: Sequence[StoreKeyEvent]) -> list[int]:
    if len(events) > 1:
        gc.collect()
        gc.freeze()
    emit, clock, taken = bus.emit, time.perf_counter_ns, []
    for event in events:
        began = clock()
        emit(event)
        taken.append(clock() - began)
    gc.unfreeze()
    return taken


def _encoding(size: int, count: int) -> list[int]:
    encode, clock, taken = Codec().encode, time.perf_counter_ns, []
    for event in [set_event(size) for _ in range(count)]:
        began = clock()
        encode(event, origin=None, event_id=next_event_id(), time_ns=1)
        taken.append(clock() - began)
    return taken


def _line(name: str, taken: Sequence[int]) -> str:
    return f"{name:22}" + "".join(f"{each:9.0f}" for each in percentiles(taken).values())


if __name__ == "__main__":
    main()
