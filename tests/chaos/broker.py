"""The broker that is tormented."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.errors import ServersUnavailable
from antiphon.testing.broker_control import raise_alarm
from antiphon.testing.servers import programs
from antiphon.testing.servers.base import START_TIMEOUT_S
from antiphon.testing.servers.rabbitmq_private import PrivateRabbitMQ

_PORT_TAKEN = ("already in use", "addrinuse")

#: More than any disk has free, and what the private servers take as the limit otherwise.
_NO_DISK, _ENOUGH_DISK = "1000000000000000", "20000000"


class ChaosBroker(PrivateRabbitMQ):
    """A private RabbitMQ that can be reached from other networks, too.

    Args:
        addresses: of this machine, to listen on beside the loopback interface.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        scripts = programs.find_rabbitmq()
        if scripts is None:
            raise ServersUnavailable("chaos needs the programs of RabbitMQ on this machine")
        self._addresses = addresses
        super().__init__(scripts)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    def _prepare(self) -> None:
        super()._prepare()
        lines = [
            f"listeners.tcp.{number} = {address}:{self._port}\n"
            for number, address in enumerate(self._addresses, 2)
        ]
        # It is up for minutes, on interfaces that only lead to our own namespaces.
        lines.append("loopback_users = none\n")
        (self.folder / "conf.d" / "chaos.conf").write_text("".join(lines))

    def at_end(self, argv: Sequence[str]) -> None:
        """Have *argv* run when this process is gone, however it ended."""
        self._keeper.at_end(list(argv))

    def stop_orderly(self) -> None:
        """Stop RabbitMQ within its node, as for maintenance."""
        self.evaluate("rabbit:stop().")

    def start_orderly(self) -> None:
        """Start it again."""
        self.evaluate("rabbit:start().")

    def alarm(self, kind: str, *, is_on: bool) -> None:
        """Raise or clear an alarm: *kind* is memory or disk."""
        if kind == "memory":
            raise_alarm(self, is_on=is_on)
        else:
            limit = _NO_DISK if is_on else _ENOUGH_DISK
            self.evaluate(f"rabbit_disk_monitor:set_disk_free_limit({limit}).")

    def close_connections(self) -> None:
        """Close every connection, without waiting for any: a channel may take its time."""
        self.evaluate(
            '[spawn(fun() -> catch rabbit_networking:close_connection(P, "chaos") end) '
            "|| P <- rabbit_networking:connections()], ok."
        )

    def queues(self) -> dict[str, int]:
        """Return the names of all queues with the messages in them."""
        answer = self.evaluate(
            'lists:flatten(lists:join("\\n", [io_lib:format("~s ~w", '
            "[element(4, amqqueue:get_name(Q)), rabbit_amqqueue:info(Q, [messages])]) "
            "|| Q <- rabbit_amqqueue:list()]))."
        )
        found = {}
        for line in answer.strip('"').replace("\\n", "\n").splitlines():
            name, _, info = line.partition(" ")
            digits = "".join(filter(str.isdigit, info))
            found[name] = int(digits or 0)
        return found

    def delete_queue(self, name: str) -> bool:
        """Delete queue *name* of the default virtual host under its consumers."""
        return "true" == self.evaluate(
            f'Name = rabbit_misc:r(<<"/">>, queue, <<"{name}">>), '
            "case rabbit_amqqueue:lookup(Name) of "
            '{ok, Q} -> rabbit_amqqueue:delete(Q, false, false, <<"chaos">>), true; '
            "_ -> false end."
        )


def start_broker(addresses: Sequence[str]) -> ChaosBroker:
    """Start a broker, and wait until it answers."""
    for attempts_left in (2, 1, 0):
        broker = ChaosBroker(addresses)
        try:
            broker.wait_ready(START_TIMEOUT_S)
        except ServersUnavailable as exc:
            broker.stop()
            if not attempts_left or not any(words in str(exc) for words in _PORT_TAKEN):
                raise
        except BaseException:
            broker.stop()
            raise
        else:
            return broker
    raise AssertionError("not reached")
