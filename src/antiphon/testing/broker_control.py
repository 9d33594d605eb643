"""Trouble for a RabbitMQ of one's own: what tests of a reconnect need."""

from __future__ import annotations

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers import RabbitMQ
from antiphon.testing.servers.rabbitmq_private import PrivateRabbitMQ


def close_all_connections(broker: RabbitMQ) -> None:
    """Have *broker* close every connection, as an operator can.

    Raises:
        ServersUnavailable: the broker is not ours, or does not run.
    """
    if isinstance(broker, PrivateRabbitMQ):
        broker.evaluate(
            'lists:foreach(fun(P) -> rabbit_networking:close_connection(P, "for a test") end, '
            "rabbit_networking:connections())."
        )
    else:
        broker.rabbitmqctl("close_all_connections", "for a test")


def delete_all_queues(broker: RabbitMQ) -> int:
    """Delete every queue of every virtual host under its consumers; return how many there were.

    Raises:
        ServersUnavailable: the broker was not started by us as a program, or does not run.
    """
    # rabbitmqctl refuses to delete exclusive queues; inside the broker it works.
    return int(
        _private(broker).evaluate(
            "Queues = rabbit_amqqueue:list(), "
            "lists:foreach(fun(Q) -> rabbit_amqqueue:delete_immediately("
            "[amqqueue:get_pid(Q)]) end, Queues), length(Queues)."
        )
    )


def delete_queue(broker: RabbitMQ, virtual_host: str, name: str) -> None:
    """Delete the queue *name* under its consumers; one that is not there is no error.

    Raises:
        ServersUnavailable: the broker was not started by us as a program, or does not run.
    """
    _private(broker).evaluate(
        "case rabbit_amqqueue:lookup(rabbit_misc:r("
        f'<<"{virtual_host}">>, queue, <<"{name}">>)) of '
        '{ok, Q} -> rabbit_amqqueue:delete(Q, false, false, <<"test">>); _ -> none end.'
    )


def raise_alarm(broker: RabbitMQ, *, is_on: bool) -> None:
    """Let *broker* say that it is out of memory, or (False) that it no longer is.

    Raises:
        ServersUnavailable: the broker is not ours, or does not run.
    """
    level = "0" if is_on else "0.4"
    if isinstance(broker, PrivateRabbitMQ):
        broker.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({level}).")
    else:
        broker.rabbitmqctl("set_vm_memory_high_watermark", level)


def set_patience(broker: RabbitMQ, seconds: float | None) -> None:
    """Let new channels of *broker* wait so long for acknowledgements; None for half an hour.

    Raises:
        ServersUnavailable: the broker was not started by us as a program, or does not run.
    """
    timeout_ms = 1_800_000 if seconds is None else round(seconds * 1000)
    tick_ms = 60_000 if seconds is None else 100  # how often a channel looks
    _private(broker).evaluate(
        f"application:set_env(rabbit, consumer_timeout, {timeout_ms}), "
        f"application:set_env(rabbit, channel_tick_interval, {tick_ms})."
    )


def count_queues(broker: RabbitMQ) -> int:
    """Return how many queues there are in all virtual hosts."""
    if isinstance(broker, PrivateRabbitMQ):
        return int(broker.evaluate("length(rabbit_amqqueue:list())."))
    return len(broker.rabbitmqctl("list_queues", "--quiet", "name").split())


def _private(broker: RabbitMQ) -> PrivateRabbitMQ:
    if not isinstance(broker, PrivateRabbitMQ):
        raise ServersUnavailable("this needs a RabbitMQ that was started privately as a program")
    return broker
