"""What the stack is for: a change in one place is heard of, dropped from caches, and archived."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from antiphon import MountedStore, open_bus, open_store
from antiphon.events.api import BaseEvent
from tests.compose.stack import Stack


class Ordered(BaseEvent):
    """An event of a program's own."""


@contextmanager
def reader(stack: Stack) -> Iterator[MountedStore]:
    """Return a program's store with the cache that the invalidator keeps right."""
    url = stack.secrets("program")["ANTIPHON_REDIS_URL"]
    cache = open_store(f"{url}/1?namespace=prices-cache")
    source = open_store(f"{url}/0?namespace=catalogue")
    for store in (cache, source):
        store.connect()
    mounted = MountedStore("prices/", cache, source, fill=True)
    mounted.connect()
    yield mounted
    for store in (mounted, cache, source):
        store.disconnect()


def test_a_change_is_heard_of(stack: Stack) -> None:
    """A value that is stored over HTTP is an event for a program on this machine."""
    heard: list[BaseEvent] = []
    key = f"prices/{secrets.token_hex(4)}"
    with open_bus(stack.secrets("program")["ANTIPHON_AMQP_URL"]) as bus:
        bus.connect(BaseEvent, heard.append, filter={"key": key})
        assert stack.put(key, b"1").status in (200, 201, 204)
        stack.wait(lambda: len(heard) > 0, 10)

    assert "StoreSetEvent" == type(heard[0]).__name__


def test_a_change_is_archived(stack: Stack) -> None:
    """The recorder has the change, by class, key and time, once."""
    key = f"prices/{secrets.token_hex(4)}"
    stack.put(key, b"1")
    stack.wait(lambda: len(stack.archived("--key", key)) > 0, 20)

    (found,) = stack.archived("--key", key, "--class", "StoreModificationEvent", "--since", "1h")
    assert "StoreSetEvent" == found["class"].rpartition(":")[2]
    assert found["timestamp"] <= found["received"] + 1


def test_a_programs_event_is_archived(stack: Stack) -> None:
    """Events of classes that the recorder does not have are kept as well."""
    origin = f"shop-{secrets.token_hex(4)}"
    with open_bus(stack.secrets("program")["ANTIPHON_AMQP_URL"], origin=origin) as bus:
        for number in range(20):
            bus.emit(Ordered(number=number))
        bus.flush(10)
    stack.wait(lambda: len(stack.archived("--origin", origin)) == 20, 20)

    numbers = [one["attributes"]["number"] for one in stack.archived("--origin", origin)]
    assert list(range(20)) == numbers


def test_a_cache_is_kept_right(stack: Stack) -> None:
    """What a program cached is dropped when the value changes elsewhere."""
    key = f"prices/{secrets.token_hex(4)}"
    stack.put(key, b"1")
    with reader(stack) as mounted:
        assert b"1" == mounted.get_data(key).read()
        hits = mounted.cache_stats().hits
        stack.wait(
            lambda: mounted.get_data(key).read() == b"1" and mounted.cache_stats().hits > hits, 10
        )
        stack.put(key, b"2")
        stack.wait(lambda: mounted.get_data(key).read() == b"2", 10)


def test_a_programs_store_is_the_servers(stack: Stack) -> None:
    """A program that writes to Redis itself, with a bus, is heard of and archived, too."""
    shown = stack.secrets("program")
    key = f"prices/{secrets.token_hex(4)}"
    with open_bus(shown["ANTIPHON_AMQP_URL"]) as bus:
        store = open_store(
            f"{shown['ANTIPHON_REDIS_URL']}/0?namespace=catalogue", event_manager=bus
        )
        store.connect()
        store.set_data(key, io.BytesIO(b"5"))
        bus.flush(10)
        store.disconnect()
    stack.wait(lambda: len(stack.archived("--key", key)) == 1, 20)


@pytest.mark.parametrize(
    "words", [["stats"], ["search", "--limit", "3"], ["export", "--since", "1h"]]
)
def test_the_archive_is_read_beside_the_recorder(stack: Stack, words: list[str]) -> None:
    """The command line works in the recorder's container, and in one of its own."""
    inside = stack.execute("recorder", "antiphon", "archive", *words)

    assert inside.strip()
    assert stack.run("antiphon", "archive", *words).strip()


def test_a_tail_shows_what_happens_now(stack: Stack) -> None:
    """`antiphon archive tail` in one terminal prints what is written in another, once."""
    key = f"prices/{secrets.token_hex(4)}"
    words = ("antiphon", "archive", "tail", "--json", "--key", key)
    printed = ""
    with stack.followed("recorder", *words) as output:

        def has_printed(text: str) -> bool:
            nonlocal printed
            printed += output.read()
            return text in printed

        stack.wait(lambda: has_printed("caught up"), 20)
        for number in range(3):
            stack.put(key, str(number).encode())
        stack.wait(lambda: has_printed("\n") and printed.count("}\n") >= 3, 20)

    assert 3 == printed.count("}\n")


def test_stores_are_reached_from_a_shell(stack: Stack) -> None:
    """`antiphon store` as the operator, by the name of the store's variable; it is heard of."""
    key = f"prices/{secrets.token_hex(4)}"
    stack.run("antiphon", "store", "set", "env:CATALOGUE", key, "--text", "1.08")

    assert "1.08" == stack.run("antiphon", "store", "get", "env:CATALOGUE", key)
    assert b"1.08" == stack.value(key).body
    stack.wait(lambda: len(stack.archived("--key", key)) == 1, 20)


def test_the_topology_shows_the_recorder(stack: Stack) -> None:
    """`antiphon topology` as the operator."""
    shown = stack.run("antiphon", "topology", "--management", "http://rabbitmq:15672")

    assert "recorder" in shown
    assert "invalidator" in shown
