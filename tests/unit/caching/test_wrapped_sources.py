"""Caches over stores that wrap others follow the journals of all of these."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.caching.invalidator import CacheInvalidator
from antiphon.errors import VersionConflict
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.passwords import make_encoder
from antiphon.storage.simple_auth_store import SimpleAuthStore
from antiphon.storage.string_value import StringValue


def passwords(store: DictMemoryStore) -> SimpleAuthStore:
    """Return *store* for a user with a password."""
    auth = SimpleAuthStore(store, make_encoder(b"salt", lambda given: given))
    auth.set_password("alice", "secret")
    auth.connect({"username": "alice", "password": "secret"})
    return auth


#: How the source wraps a store, and what its keys begin with there.
WRAPPED: dict[str, tuple[Callable[[DictMemoryStore], Any], str]] = {
    "first of two": (lambda store: JoinedStore([store, DictMemoryStore()]), ""),
    "second of two": (lambda store: JoinedStore([DictMemoryStore(), store]), ""),
    "mounted": (lambda store: MountedStore("p/q/", store, DictMemoryStore()), "p/q/"),
    "below a mounted one": (lambda store: MountedStore("p/x/", DictMemoryStore(), store), ""),
    "with passwords": (passwords, ""),
    "with permissions": (lambda store: AuthorizingStore(store, user=User("ann")), ""),
    "joined, with permissions": (
        lambda store: AuthorizingStore(JoinedStore([store]), user=User("ann")),
        "",
    ),
}


@pytest.fixture(params=WRAPPED)
def wrapped(request: pytest.FixtureRequest) -> tuple[DictMemoryStore, Any, str]:
    """A store, what it is wrapped in, and a key there."""
    wrap, prefix = WRAPPED[request.param]
    store = DictMemoryStore()
    source = wrap(store)
    if not source.is_connected():
        source.connect()
    return store, source, prefix


def test_changes_of_what_is_wrapped_reach_the_cache(
    wrapped: tuple[DictMemoryStore, Any, str],
) -> None:
    """Whoever changes the wrapped store, a fresh read is right, and served from the cache again."""
    store, source, prefix = wrapped
    key = "p/q/a"
    # What is written past an authorizing store belongs to nobody.
    writer = source if isinstance(source, AuthorizingStore) else store
    name = key if writer is source else key[len(prefix) :]
    cache = MountedStore("p/", DictMemoryStore(), source, fill=True, freshness="strict")
    cache.connect()
    with CacheInvalidator(cache, check_interval_s=0.2):
        for number in range(5):
            data = b"%d" % number
            writer.set(name, StringValue(data))
            assert data == cache.to_bytes(key)
        hits = cache.cache_stats().hits
        deadline = time.monotonic() + 10
        while cache.cache_stats().hits == hits:
            assert time.monotonic() < deadline
            assert data == cache.to_bytes(key)


def test_a_push_is_conditional_there_too(wrapped: tuple[DictMemoryStore, Any, str]) -> None:
    """What others changed meanwhile is not overwritten; what nobody did is."""
    _, source, _ = wrapped
    if isinstance(source, MountedStore) and source.mount_point == "p/x/":
        return  # nothing can be written there
    source.set("p/q/a", StringValue(b"one"))
    cache = MountedStore("p/", DictMemoryStore(), source, fill=True)
    cache.connect()
    cache.set("p/q/a", StringValue(b"mine"))
    cache.push("p/q/a")
    assert b"mine" == source.to_bytes("p/q/a")
    cache.set("p/q/a", StringValue(b"again"))
    source.set("p/q/a", StringValue(b"theirs"))

    with pytest.raises(VersionConflict):
        cache.push("p/q/a")
    assert b"theirs" == source.to_bytes("p/q/a")
