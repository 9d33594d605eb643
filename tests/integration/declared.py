"""What a program has declared at a broker, and what RabbitMQ 4.x has against it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from antiphon.testing.servers import RabbitMQ

#: Lists everything in a virtual host as JSON, in the broker itself: four rabbitmqctl take 8 s.
_LISTING = """
    Host = <<"VIRTUAL_HOST">>,
    Name = fun({resource, _, _, N}) -> N end,
    Table = fun(L) -> maps:from_list([{K, V} || {K, _, V} <- L]) end,
    Map = fun(I) -> maps:from_list([case K of
        name -> {K, Name(V)}; arguments -> {K, Table(V)}; policy -> {K, V =/= ''}; _ -> {K, V}
        end || {K, V} <- I]) end,
    Queues = [#{name => Name(amqqueue:get_name(Q)), type => amqqueue:get_type(Q),
        durable => amqqueue:is_durable(Q), auto_delete => amqqueue:is_auto_delete(Q),
        exclusive => amqqueue:get_exclusive_owner(Q) =/= none,
        arguments => Table(amqqueue:get_arguments(Q)),
        policy => amqqueue:get_policy(Q) =/= undefined} || Q <- rabbit_amqqueue:list(Host)],
    Exchanges = [Map(I) || I <- rabbit_exchange:info_all(
        Host, [name, type, durable, auto_delete, internal, arguments, policy])],
    Bindings = [Map(I) || I <- rabbit_binding:info_all(
        Host, [source_name, destination_name, destination_kind, routing_key, arguments])],
    Channels = [Map(I) || I <- rabbit_channel:info_all(
        [vhost, global_prefetch_count, prefetch_count, transactional])],
    binary_to_list(iolist_to_binary(rabbit_json:encode(#{queues => Queues,
        exchanges => Exchanges, bindings => Bindings, channels => Channels}))).
"""


@dataclass
class Declared:
    """What there is in one virtual host, and what the open channels have asked for."""

    queues: list[dict[str, Any]]
    exchanges: list[dict[str, Any]]
    bindings: list[dict[str, Any]]
    channels: list[dict[str, Any]]


def read_back(broker: RabbitMQ, virtual_host: str) -> Declared:
    """Return what is declared in *virtual_host*, but for what every one has."""
    answer = broker.evaluate(_LISTING.replace("VIRTUAL_HOST", virtual_host))  # type: ignore[attr-defined]
    found = json.loads(json.loads(answer) if answer.startswith('"') else answer)
    return Declared(
        found["queues"],
        [one for one in found["exchanges"] if one["name"] and not one["name"].startswith("amq.")],
        [one for one in found["bindings"] if one["source_name"]],  # the default one's are implied
        [one for one in found["channels"] if one["vhost"] == virtual_host],
    )


def is_quorum(queue: dict[str, Any]) -> bool:
    """Return whether *queue* is a quorum queue; RabbitMQ 3.10 tells its module."""
    return queue["type"] in ("quorum", "rabbit_quorum_queue")


#: Deprecated feature of RabbitMQ's own list (rabbitmq.com, "Deprecated Features"), or what
#: 4.x took away or refuses -> whether a queue would need it.
QUEUE_RULES: dict[str, Callable[[dict[str, Any]], bool]] = {
    # Denied by default from 4.3 on.
    "transient_nonexcl_queues": lambda q: not q["durable"] and not q["exclusive"],
    # Removed in 4.0: mirrored classic queues; also their arguments.
    "classic_queue_mirroring": lambda q: any(a.startswith("x-ha-") for a in q["arguments"]),
    # Removed in 4.0, in favour of leader locators.
    "queue_master_locator": lambda q: "x-queue-master-locator" in q["arguments"],
    # Lazy and first-version classic queues: ignored since 3.12 and 4.0.
    "x-queue-mode": lambda q: "x-queue-mode" in q["arguments"],
    "x-queue-version": lambda q: "x-queue-version" in q["arguments"],
    # Quorum queues refuse these with precondition_failed.
    "priorities of quorum queues": lambda q: is_quorum(q) and "x-max-priority" in q["arguments"],
    "quorum queues that come and go": lambda q: (
        is_quorum(q) and (not q["durable"] or q["auto_delete"] or q["exclusive"])
    ),
    "reject-publish-dlx of quorum queues": lambda q: (
        is_quorum(q) and q["arguments"].get("x-overflow") == "reject-publish-dlx"
    ),
    # A plain user sets no policies; nothing here needs one.
    "policy": lambda q: bool(q["policy"]),
    # What a program declares for good is replicated where there are nodes for it.
    "durable classic queues": lambda q: q["durable"] and not is_quorum(q),
}


def objections(declared: Declared) -> Iterator[str]:
    """Yield what RabbitMQ 4.x has against it, one text each."""
    for queue in declared.queues:
        for rule, is_broken in QUEUE_RULES.items():
            if is_broken(queue):
                yield f"{rule}: queue {queue}"
    for exchange in declared.exchanges:
        if not exchange["durable"] or exchange["auto_delete"] or exchange["type"] != "topic":
            yield f"exchange that may be gone after a restart: {exchange}"
    for channel in declared.channels:
        if channel["global_prefetch_count"]:
            yield f"global_qos: {channel}"
