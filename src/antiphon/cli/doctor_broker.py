"""What a doctor looks at in a broker: is it there, does it deliver, who may do what."""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Iterator

from antiphon.cli.doctor_findings import Finding, of_clock, quickly, version_of
from antiphon.cli.management import Management
from antiphon.errors import AntiphonError, BrokerRefused
from antiphon.messaging.browser import QueueBrowser
from antiphon.messaging.bus import BrokerEventManager, BusOptions

#: The oldest RabbitMQ that is tried.
OLDEST = (3, 10)

#: Seconds between two messages of the doctor's bus to itself, and how many are waited for.
CANARY_INTERVAL_S = 0.1
CANARIES = 5

#: Seconds to wait for the first of them; and where a reason is known why none comes.
PATIENCE_S = 10.0
SHORT_PATIENCE_S = 2.0

#: Seconds: a round that takes longer is slow.
SLOW_S = 0.25

#: Of the doctor's own bus: it is no process of the system that others should see.
BUS_OPTIONS = BusOptions(answers_roll_call=False, canary_interval_s=CANARY_INTERVAL_S)

_BLOCKED_ADVICE = "free memory or disk there; until then events wait in their processes"


def look_at_version(browser: QueueBrowser, url: str, system: str) -> Finding:
    """Return what there is to say of the broker that has answered at *url*, which is masked."""
    broker = browser.broker()
    facts = {"url": url, "system": system, "product": broker.product, "version": broker.version}
    named = f"{broker.product} {broker.version}".strip() or "a broker without a name"
    text = f"{named} answers at {url}"
    if broker.product == "RabbitMQ" and version_of(broker.version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return Finding(
            "broker",
            "version",
            "wrong",
            f"{text}: nothing here is tried with versions before {oldest}",
            f"update to RabbitMQ {oldest} or newer",
            facts,
        )
    return Finding("broker", "version", "ok", text, facts=facts)


def look_at_delivery(bus: BrokerEventManager) -> Finding:
    """Return whether messages of *bus* to itself go round, and how quickly."""
    times = _round_trips(bus)
    health = bus.health()
    if not times:
        problem = "; ".join(health.problems) or bus.last_error or "no message to oneself came back"
        text, _, advice = str(problem).partition("; ")
        if health.blocked_because is not None:
            advice = _BLOCKED_ADVICE
        advice = advice or "see the broker's log, and rabbitmq-diagnostics check_local_alarms"
        return Finding("broker", "delivery", "wrong", text, advice)
    median_s = statistics.median(times)
    facts = {"median_s": round(median_s, 6), "slowest_s": round(max(times), 6)}
    text = (
        f"a message goes round in {quickly(median_s)} "
        f"(the slowest of {len(times)} in {quickly(max(times))})"
    )
    if health.blocked_because is not None:
        text = f"it takes nothing any more: {health.blocked_because}"
        return Finding("broker", "delivery", "wrong", text, _BLOCKED_ADVICE, facts)
    if median_s > SLOW_S:
        advice = "see the broker's load, its disk, and the network between here and there"
        return Finding("broker", "delivery", "warning", f"{text}: that is slow", advice, facts)
    return Finding("broker", "delivery", "ok", text, facts=facts)


def _round_trips(bus: BrokerEventManager) -> list[float]:
    """Return the seconds that some messages of *bus* to itself took."""
    times: dict[float, None] = {}
    began = time.monotonic()
    while len(times) < CANARIES:
        health, waited_s = bus.health(), time.monotonic() - began
        if health.canary_round_trip_s is not None:
            times[health.canary_round_trip_s] = None
        is_known = health.blocked_because is not None or isinstance(bus.last_error, BrokerRefused)
        if waited_s > (SHORT_PATIENCE_S if is_known else PATIENCE_S):
            break
        time.sleep(CANARY_INTERVAL_S / 5)
    return list(times)


def look_at_rights(browser: QueueBrowser, system: str) -> Finding:
    """Return whether this user may do what programs with durable subscriptions do."""
    mark = secrets.token_hex(4)
    for kind, what in (("sub", "durable subscriptions"), ("dead", "dead letters")):
        try:
            browser.try_rights(f"{system}.{kind}.doctor-{mark}", f"{system}.events")
        except BrokerRefused as exc:
            # A user with fewer rights may be meant to have no more.
            text, _, advice = str(exc).partition("; ")
            return Finding(
                "broker", "rights", "warning", f"no {what} for this user: {text}", advice
            )
    text = "this user may publish, listen, subscribe for good, and keep dead letters"
    return Finding("broker", "rights", "ok", text)


def look_at_nodes(management: Management) -> Iterator[Finding]:
    """Yield what the management plugin says of the broker's nodes, and of their clock."""
    try:
        nodes = management.nodes()
    except BrokerRefused:
        yield Finding(
            "broker",
            "alarms",
            "skipped",
            f"user '{management.user}' may not see the nodes of the broker",
            f"rabbitmqctl set_user_tags '{management.user}' monitoring",
        )
    except AntiphonError as exc:
        yield Finding("broker", "alarms", "skipped", str(exc))
    else:
        yield from (_alarms(nodes),)
    if management.clock_off_s is not None:
        yield of_clock("broker", "its clock", management.clock_off_s)


def _alarms(nodes: list[dict[str, object]]) -> Finding:
    problems = []
    for node in nodes:
        name = str(node.get("name", "?"))
        if node.get("running") is False:
            problems.append(f"{name} does not run")
        if node.get("mem_alarm") is True:
            problems.append(f"{name} has no memory left")
        if node.get("disk_free_alarm") is True:
            problems.append(f"{name} has no room on its disk")
        if node.get("partitions"):
            problems.append(f"{name} was cut off from {node['partitions']}")
    if problems:
        advice = (
            "free memory or disk there, or raise the limits (vm_memory_high_watermark, "
            "disk_free_limit); until then nothing is published"
        )
        return Finding("broker", "alarms", "wrong", "; ".join(problems), advice)
    count = f"{len(nodes)} nodes have" if len(nodes) != 1 else "1 node has"
    return Finding("broker", "alarms", "ok", f"{count} memory and disk left")
