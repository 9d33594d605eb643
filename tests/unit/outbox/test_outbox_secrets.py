"""What an authorizing store hides is not published in clear by an outbox."""

from __future__ import annotations

import hashlib
import hmac
import threading
from typing import Any

import pytest
from outbox_helpers import PATIENT, QUICK, Heard, World, swept, wait_swept, wait_until

from antiphon.events.api import EventManager
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.events import StoreModificationEvent, StoreSetEvent
from antiphon.storage.shielding import HiddenKeys, shield
from antiphon.storage.string_value import StringValue

_KEY = b"key of the digests"


def digest(key: str) -> str:
    """What stands in place of a key."""
    return hmac.new(_KEY, key.encode(), hashlib.sha256).hexdigest()


def authorizing(store: Any, name: str = "alice") -> AuthorizingStore:
    """Return a user's view of *store*, connected."""
    view = AuthorizingStore(store, digest_key=_KEY).as_user(User(name))
    view.connect()
    return view


def test_an_orphan_goes_out_redacted(world: World) -> None:
    """As the process that committed it would have published it."""
    heard = Heard(world.bus())
    store = world.store(world.bus(QUICK))
    authorizing(store)
    authorizing(world.store()).set("secret", StringValue(b"1", {"n": 1}))

    assert [digest("secret")] == heard.wait(1)
    (event,) = heard.events
    assert ({}, True) == (event.metadata, event.redacted)
    assert [store.head()] == [event.position]


def test_a_process_without_the_shield_publishes_nothing(world: World) -> None:
    """Who opens the medium itself leaves orphans to those who redact them."""
    heard = Heard(world.bus())
    raw = world.bus(QUICK)
    store = world.store(raw)
    plain = world.store()
    authorizing(plain).set("secret", StringValue(b"1"))
    wait_until(lambda: raw.outbox.stats().waiting == 1, "it waits")
    looked = raw.outbox.stats().lag_s
    wait_until(lambda: raw.outbox.stats().lag_s > looked + 0.5, "its lease is over")
    assert ([], False) == (heard.keys, swept(store))
    authorizing(world.store(world.bus(QUICK)))

    assert [digest("secret")] == heard.wait(1)
    wait_swept(store)


def test_a_shield_that_is_taken_away_in_the_middle_of_a_sweep(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing goes out in clear until it is there again."""
    heard = Heard(sqlite_world.bus())
    bus = sqlite_world.bus(QUICK)
    store = sqlite_world.store(bus)
    authorizing(store)
    shielded, get = store.event_manager, store.get
    away = threading.Event()

    def taking_away(key: str) -> Any:
        if not away.is_set():
            store._event_manager = bus  # as a program assigns it
            away.set()
        return get(key)

    monkeypatch.setattr(store, "get", taking_away)
    authorizing(sqlite_world.store()).set("secret", StringValue(b"1"))
    assert away.wait(20)
    looked = bus.outbox.stats().lag_s
    wait_until(lambda: bus.outbox.stats().lag_s > looked + 0.2, "it was looked at again")
    assert [] == heard.keys
    store._event_manager = shielded

    assert [digest("secret")] == heard.wait(1)


def test_users_hear_what_they_may(world: World) -> None:
    """Listeners of a user's own event manager hear of an orphan if the user may see the key."""
    store = world.store(world.bus(QUICK))
    heard: dict[str, list[str]] = {"alice": [], "bob": []}
    for name, keys in heard.items():
        view = authorizing(store, name)
        view.event_manager.connect(StoreSetEvent, lambda event, keys=keys: keys.append(event.key))
    elsewhere = authorizing(world.store())
    elsewhere.set("alice's", StringValue(b"1"))
    wait_swept(store)

    wait_until(lambda: heard["alice"] == ["alice's"], "she hears of it")
    assert [] == heard["bob"]


def test_keys_of_users_are_in_no_event(world: World) -> None:
    """Those of a SimpleAuthStore are swept, and published by nobody."""
    heard = Heard(world.bus())
    store = world.store(world.bus(QUICK))
    plain = world.store()
    for each in (store, plain):
        shield(each, HiddenKeys(".user_"))  # as SimpleAuthStore does
    plain.from_bytes(".user_alice", b"")
    plain.from_bytes("key", b"")
    wait_swept(store)

    assert ["key"] == heard.wait(1)


@pytest.mark.parametrize("later", [False, True])
def test_the_medium_knows_of_its_shield(world: World, later: bool) -> None:
    """Whether the store is connected before it gets the shield or after, and for good."""
    plain = world.store()
    if later:
        plain.disconnect()
    view = AuthorizingStore(plain)
    if later:
        plain.connect()
    noted = plain.outbox_ledger().is_shielded()
    del view

    assert noted
    assert world.store().outbox_ledger().is_shielded()


def test_own_events_go_out_as_ever(world: World) -> None:
    """With the shield in front the outbox still vouches for what the bus has."""
    heard = Heard(world.bus())
    bus = world.bus(PATIENT)
    store = world.store(bus)
    view = authorizing(store)
    view.set("a", StringValue(b"1"))
    heard.wait(1)
    wait_swept(store)

    assert 0 == bus.outbox.stats().orphaned
    assert isinstance(store.event_manager.outbox, type(bus.outbox))


def test_a_wrapper_of_a_manager_is_vouched_for_by_nobody(world: World) -> None:
    """It may keep events back; so others publish them if they do not come."""

    class Swallowing(EventManager):
        def __init__(self, bus: Any) -> None:
            super().__init__()
            self.bus = bus

        def __getattr__(self, name: str) -> Any:
            return getattr(self.bus, name)

        def emit(self, event: Any, block: bool = True) -> None:
            if not isinstance(event, StoreModificationEvent):
                self.bus.emit(event, block)

    heard = Heard(world.bus())
    bus = world.bus(QUICK)
    store = world.store(Swallowing(bus))
    world.store(bus)
    store.from_bytes("a", b"")

    assert ["a"] == heard.wait(1)
