"""Antiphon's main job in under a minute: run it with ``make demo``.

A writer, a listener and a reader with a cache, three processes; then the broker
is killed, and the cache comes right by itself.  The exit status is 0 only if
everything that was shown was true.
"""

from __future__ import annotations

import contextlib
import sys
import time

from antiphon.errors import AntiphonError
from antiphon.testing.servers import RabbitMQ, Servers
from examples.demo.cast import Actor, Message
from examples.demo.stage import Stage

#: The key that everything is about.
KEY = "prices/eur"


class Demonstration:
    """The scenes, in order, over three processes and a broker that can be killed."""

    def __init__(
        self, stage: Stage, broker: RabbitMQ, writer: Actor, listener: Actor, reader: Actor
    ) -> None:
        self.stage = stage
        self.broker = broker
        self.writer = writer
        self.listener = listener
        self.reader = reader

    def write(self, key: str, value: str) -> None:
        """Have the writer change a key."""
        answer = self.writer.ask(key=key, value=value)
        self.stage.line(
            "writer", f"{key} = {value}   [dim](in Redis after {answer['ms']:.1f} ms)[/]"
        )

    def read(self) -> Message:
        """Have the reader read the key."""
        answer = self.reader.ask(key=KEY)
        where = "its cache" if answer["from_cache"] else "Redis"
        self.stage.line(
            "reader", f"{KEY} is {answer['value']}   [dim](from {where}, {answer['us']:.0f} µs)[/]"
        )
        return answer

    def a_cache_is_filled_as_it_is_read(self) -> None:
        """The first read goes to Redis, the second does not."""
        self.stage.scene("1  A cache is filled as it is read")
        told_from = self.reader.mark()
        self.write(KEY, "1.0842")
        self.reader.wait(told_from, lambda m: m.get("invalidated") == KEY)
        first, second = self.read(), self.read()
        self.stage.claim("the first read came from Redis", not first["from_cache"])
        self.stage.claim(
            "the second came from the cache, and was right",
            second["from_cache"] and second["value"] == "1.0842",
        )

    def a_change_is_heard_everywhere(self) -> None:
        """One write: an event in the listener, an invalidation in the reader."""
        self.stage.scene("2  A change in one process is heard in the others")
        heard_from, dropped_from = self.listener.mark(), self.reader.mark()
        self.write(KEY, "1.0911")
        heard = self.listener.wait(heard_from, lambda m: m.get("heard") == KEY)
        dropped = self.reader.wait(dropped_from, lambda m: m.get("invalidated") == KEY)
        if heard:
            self.stage.line(
                "listener", f"heard {heard['kind']} of {KEY} {heard['ms']:.1f} ms later"
            )
        if dropped and dropped["ms"] is not None:
            self.stage.line(
                "reader",
                f"dropped {KEY} from its cache [bold]{dropped['ms']:.1f} ms[/] after the write",
            )
        self.stage.claim("the listener heard what it asked for", heard)
        self.stage.claim("the cached price was invalidated", dropped and dropped["dropped"])
        fresh = self.read()
        self.stage.claim("the next read is the new price", fresh["value"] == "1.0911")

    def what_nobody_asked_for_stays_away(self) -> None:
        """A change of another key does not reach a listener that filters."""
        self.stage.scene("3  What nobody asked for is not heard")
        heard_from, dropped_from = self.listener.mark(), self.reader.mark()
        self.write("stocks/acme", "17.20")
        self.write(KEY, "1.0911")
        # Events of one writer come in order: once the second is here, the
        # first would have been.
        after = self.listener.wait(heard_from, lambda m: m.get("heard") == KEY)
        other = self.listener.find(heard_from, lambda m: m.get("heard") == "stocks/acme")
        self.stage.claim(
            "the listener heard of prices/eur, not of stocks/acme", after and not other
        )
        self.reader.wait(dropped_from, lambda m: m.get("invalidated") == KEY)
        self.read()

    def the_broker_dies(self) -> None:
        """kill -9, a write meanwhile, and no stale read."""
        self.stage.scene("4  The broker is killed, and somebody writes all the same")
        doubted_from = self.reader.mark()
        self.broker.kill()
        self.stage.line("broker", "killed with -9")
        doubted = self.reader.wait(doubted_from, lambda m: m.get("trusted") is False)
        self.stage.claim("the reader noticed, and trusts its cache no longer", doubted)
        self.write(KEY, "1.1203")
        read = self.read()
        self.stage.claim(
            "the reader was not fooled: no event could come, yet the price is right",
            read["value"] == "1.1203",
        )

    def the_broker_comes_back(self) -> None:
        """The cache is checked and trusted again, the listener hears again."""
        self.stage.scene("5  The broker comes back; nobody does anything else")
        back_from, trusted_from = self.listener.mark(), self.reader.mark()
        with self.stage.console.status("  restarting RabbitMQ …"):
            self.broker.restart()
        back = time.monotonic()
        trusted = self.reader.wait(trusted_from, lambda m: m.get("trusted") is True)
        if trusted:
            self.stage.line(
                "reader",
                f"checked its cache and trusts it, {max(0.0, trusted['at'] - back):.1f} s"
                " after the broker is back",
            )
        self.stage.claim("the cache was checked and is trusted again", trusted)
        self.read()
        again = self.read()
        self.stage.claim(
            "it serves again, and what it serves is right",
            again["from_cache"] and again["value"] == "1.1203",
        )
        self.listener.wait(back_from, lambda m: m.get("state") == "connected")
        heard_from = self.listener.mark()
        self.write(KEY, "1.1307")
        heard = self.listener.wait(heard_from, lambda m: m.get("heard") == KEY and m["ms"] < 2000)
        if heard:
            self.stage.line(
                "listener", f"heard {heard['kind']} of {KEY} {heard['ms']:.1f} ms later"
            )
        self.stage.claim("the listener hears again, without having done anything", heard)

    def run(self) -> int:
        """Play all scenes; return the exit status."""
        self.a_cache_is_filled_as_it_is_read()
        self.a_change_is_heard_everywhere()
        self.what_nobody_asked_for_stays_away()
        if self.broker.is_ours:
            self.the_broker_dies()
            self.the_broker_comes_back()
        else:
            self.stage.scene(
                "4  The broker was given, and is not ours to kill: the end is left out"
            )
        return self.stage.verdict()


def main() -> int:
    """Start the servers and the three processes, play, and stop everything."""
    stage = Stage()
    stage.console.print("[bold]Antiphon[/]: what one process changes, the others hear, and drop.")
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(Servers())
        broker = servers.rabbitmq
        database = stack.enter_context(servers.redis.database())
        store_url = f"{database}?namespace=catalogue"
        actors = [
            stack.enter_context(Actor(role, broker.url, store_url))
            for role in ("writer", "listener", "reader")
        ]
        for actor in actors:
            if actor.wait(0, lambda m: m.get("ready")) is None:
                raise RuntimeError(f"the {actor.role} did not start")
        stage.line("processes", ", ".join(f"{a.role} {a.pid}" for a in actors))
        return Demonstration(stage, broker, *actors).run()


if __name__ == "__main__":
    try:
        status = main()
    except AntiphonError as exc:
        print(f"demo: {exc}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
