"""A mounted store that fills: what is read is kept, what the user wrote is the user's."""

from io import BytesIO

import pytest

from antiphon.caching.applier import Applier
from antiphon.errors import (
    InvalidValue,
    KeyNotFound,
    NotConnected,
    StoreFull,
    StoreUnavailable,
    TransactionError,
    VersionConflict,
)
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.freshness import Freshness
from antiphon.storage.journal import Version
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.string_value import StringValue


class Setting:
    """A backing store, a cache over it, and what keeps it right."""

    def __init__(self) -> None:
        self.backing = DictMemoryStore()
        self.own = DictMemoryStore()
        self.mounted = MountedStore("p/", self.own, self.backing, fill=True)
        self.mounted.connect()
        self.applier = Applier(self.mounted.filling.ledger, self.backing, "p/")
        self.catch_up()
        self.mounted.filling.ledger.beat()

    def catch_up(self) -> None:
        self.applier.catch_up(lambda *told: None, after_doubt=False)

    def change(self, key: str, data: bytes) -> Version | None:
        """Change the backing store as another process would, and hear of it."""
        version = self.backing.set(key, StringValue(data, {"n": len(data)}))
        self.catch_up()
        return version

    def read(self, key: str) -> bytes:
        return self.mounted.get(key).data.read()


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_what_is_read_is_served_from_the_cache(setting: Setting) -> None:
    """The second read does not touch the backing store."""
    setting.change("p/a", b"one")
    setting.read("p/a")
    value = setting.mounted.get("p/a")

    assert (b"one", {"n": 3}, 3) == (value.data.read(), value.metadata, value.size)
    assert setting.backing.get("p/a").version == value.version
    stats = setting.mounted.cache_stats()
    assert (1, 1, 1) == (stats.hits, stats.misses, stats.fills)


def test_keys_outside_the_mount_are_not_kept(setting: Setting) -> None:
    """Only what lies below the mount point is cached."""
    setting.change("q/a", b"one")
    setting.read("q/a")

    assert [] == list(setting.mounted.filling.ledger.keys())


def test_a_change_is_seen_at_the_next_read(setting: Setting) -> None:
    """After the invalidation the new value is read and kept."""
    setting.change("p/a", b"one")
    setting.read("p/a")
    setting.change("p/a", b"two")

    assert b"two" == setting.read("p/a")
    assert b"two" == setting.read("p/a")
    assert 1 == setting.mounted.cache_stats().hits


def test_a_deleted_key_is_gone(setting: Setting) -> None:
    """A deletion at the source is an invalidation too."""
    setting.change("p/a", b"one")
    setting.read("p/a")
    setting.backing.delete("p/a")
    setting.catch_up()

    with pytest.raises(KeyNotFound):
        setting.mounted.get("p/a")
    assert not setting.mounted.exists("p/a")


def test_in_doubt_nothing_stale_is_served(setting: Setting) -> None:
    """While no event can come, an entry is served only if the head has not moved."""
    setting.change("p/a", b"one")
    setting.read("p/a")
    setting.mounted.filling.ledger.doubt()
    assert b"one" == setting.read("p/a")
    setting.backing.set("p/a", StringValue(b"two"))

    assert b"two" == setting.read("p/a")


def test_a_cache_without_an_invalidator_is_not_served_from() -> None:
    """Nobody vouches for it, so every read goes to the source."""
    backing = DictMemoryStore()
    mounted = MountedStore("", DictMemoryStore(), backing, fill=True)
    mounted.connect()
    for data in (b"one", b"two"):
        backing.from_bytes("a", data)
        assert data == mounted.get("a").data.read()

    assert 0 == mounted.cache_stats().hits


def test_metadata_ranges_and_existence_come_from_the_cache(setting: Setting) -> None:
    """Every way to read sees the cached value."""
    setting.change("p/a", b"0123456789")
    setting.read("p/a")
    mounted = setting.mounted
    before = mounted.cache_stats().hits

    assert {"n": 10} == mounted.get_metadata("p/a")
    assert {} == mounted.get_metadata("p/a", select=["other"])
    assert b"234" == mounted.get_data_range("p/a", 2, 5).read()
    assert b"0123456789" == mounted.get_data("p/a").read()
    assert b"89" == mounted.get("p/a").range(-2).read()
    assert mounted.exists("p/a")
    assert before + 6 == mounted.cache_stats().hits


def test_large_values_are_cached_too(setting: Setting) -> None:
    """More than is held in one piece goes through the cache, also by ranges."""
    data = bytes(range(256)) * 12_000
    setting.change("p/a", data)
    setting.read("p/a")

    assert data == setting.read("p/a")
    assert data[5:9] == setting.mounted.get("p/a").range(5, 9).read()


def test_own_keys_hide_the_source_and_survive_its_changes(setting: Setting) -> None:
    """P6: what the user wrote is not a cache entry; no invalidation reaches it."""
    setting.change("p/a", b"one")
    setting.read("p/a")
    setting.mounted.set("p/a", StringValue(b"mine"))
    setting.change("p/a", b"two")
    setting.mounted.filling.ledger.void_prefix("", None)

    assert b"mine" == setting.read("p/a")
    assert [("p/a", {})] == list(setting.mounted.query())


def test_a_cached_key_is_copied_up_when_it_is_changed(setting: Setting) -> None:
    """A change of the metadata keeps the data, and the other way round."""
    setting.change("p/a", b"one")
    setting.change("p/b", b"two")
    setting.read("p/a")
    setting.mounted.set_metadata("p/a", {"mine": True})
    setting.mounted.set_data("p/b", BytesIO(b"mine"))
    setting.mounted.update_metadata("p/b", {"more": 1})

    assert b"one" == setting.read("p/a")
    assert {"mine": True} == setting.mounted.get_metadata("p/a")
    assert b"mine" == setting.read("p/b")
    assert {"n": 3, "more": 1} == setting.mounted.get_metadata("p/b")


def test_push_moves_an_own_key_to_the_source(setting: Setting) -> None:
    """What was pushed is the source's, and the next read is right."""
    setting.change("p/a", b"one")
    setting.read("p/a")
    setting.mounted.set("p/a", StringValue(b"mine"))
    setting.mounted.push("p/a")

    assert b"mine" == setting.backing.get("p/a").data.read()
    assert not setting.own.exists("a")
    assert b"mine" == setting.read("p/a")


def test_push_does_not_overwrite_what_another_wrote(setting: Setting) -> None:
    """The source moved on since the user's write began: both values stay."""
    setting.change("p/a", b"one")
    setting.mounted.set("p/a", StringValue(b"mine"))
    setting.change("p/a", b"two")

    with pytest.raises(VersionConflict):
        setting.mounted.push("p/a")
    assert b"two" == setting.backing.get("p/a").data.read()
    assert b"mine" == setting.read("p/a")


@pytest.mark.parametrize("size", [3, 3 << 20])
def test_a_push_that_was_cut_off_can_be_done_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """What the source has by then is one's own value, and no conflict."""
    setting.mounted.set("p/a", StringValue(b"m" * size, {"n": 1}))

    def fail(key: str, *more: object, **conditions: object) -> None:
        raise StoreUnavailable("the process ends here")

    with monkeypatch.context() as patch:
        patch.setattr(setting.own, "delete", fail)
        with pytest.raises(StoreUnavailable):
            setting.mounted.push("p/a")
    setting.mounted.push("p/a")

    assert b"m" * size == setting.backing.to_bytes("p/a")
    assert not setting.own.exists("a")


@pytest.mark.parametrize(
    "theirs", [StringValue(b"mime", {"n": 1}), StringValue(b"mine", {"n": True})]
)
def test_a_push_that_was_cut_off_overwrites_no_other_value(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, theirs: StringValue
) -> None:
    """Only what is the same to the byte was brought there by oneself."""
    setting.mounted.set("p/a", StringValue(b"mine", {"n": 1}))
    setting.backing.set("p/a", theirs)

    with pytest.raises(VersionConflict):
        setting.mounted.push("p/a")
    assert b"mine" == setting.own.to_bytes("a")


def test_push_of_a_new_key_does_not_overwrite_one_that_came_since(setting: Setting) -> None:
    """A key that was not there when the write began must still not be there."""
    setting.mounted.set("p/new", StringValue(b"mine"))
    setting.change("p/new", b"theirs")

    with pytest.raises(VersionConflict):
        setting.mounted.push("p/new")


def test_a_write_during_a_push_is_kept(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user writes while a push is under way stays, and can be pushed next."""
    setting.mounted.set("p/a", StringValue(b"first"))
    real_set = DictMemoryStore.set

    def set_and_be_overtaken(
        store: DictMemoryStore, key: str, value: object, **more: object
    ) -> object:
        result = real_set(store, key, value, **more)  # type: ignore[arg-type]
        if store is setting.backing:
            monkeypatch.undo()
            setting.mounted.set("p/a", StringValue(b"second"))
        return result

    monkeypatch.setattr(DictMemoryStore, "set", set_and_be_overtaken)
    setting.mounted.push("p/a")

    assert b"first" == setting.backing.get("p/a").data.read()
    assert b"second" == setting.read("p/a")
    setting.mounted.push("p/a")
    assert b"second" == setting.backing.get("p/a").data.read()


def test_delete_takes_only_the_users_own_key(setting: Setting) -> None:
    """After it, the source's value shows again; a key that is only cached cannot be deleted."""
    setting.change("p/a", b"one")
    setting.read("p/a")
    with pytest.raises(KeyNotFound):
        setting.mounted.delete("p/a")
    setting.mounted.set("p/a", StringValue(b"mine"))
    setting.mounted.delete("p/a")

    assert b"one" == setting.read("p/a")


@pytest.mark.parametrize("how", ["delete", "push"])
def test_a_rolled_back_delete_keeps_the_base(setting: Setting, how: str) -> None:
    """After the rollback the user's key is as before, and push still sees the other's change."""
    setting.change("p/a", b"one")
    setting.mounted.set("p/a", StringValue(b"mine"))
    with (
        pytest.raises((ZeroDivisionError, TransactionError)),
        setting.mounted.transaction("t"),
    ):
        getattr(setting.mounted, how)("p/a")
        raise ZeroDivisionError
    setting.change("p/a", b"theirs")

    with pytest.raises(VersionConflict):
        setting.mounted.push("p/a")
    assert b"theirs" == setting.backing.get("p/a").data.read()


def test_an_entry_dropped_between_look_up_and_check_is_not_served(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check speaks of what is there then; what was looked up before may be gone."""
    setting.change("p/a", b"old")
    setting.read("p/a")
    setting.backing.set("p/a", StringValue(b"new"))
    setting.mounted.filling.ledger.doubt()
    covers = Freshness.covers

    def caught_up_meanwhile(freshness: Freshness, beat: int | None, **asked: float | None) -> bool:
        setting.catch_up()
        return covers(freshness, beat, **asked)

    monkeypatch.setattr(Freshness, "covers", caught_up_meanwhile)

    assert b"new" == setting.read("p/a")


@pytest.mark.parametrize("method", ["lookup", "reserve", "fill"])
def test_a_cache_that_fails_is_no_trouble_to_readers(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """A full or locked cache medium costs the cache, not the read."""
    setting.change("p/a", b"one")

    def fail(*arguments: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(setting.mounted.filling.ledger, method, fail)

    assert b"one" == setting.read("p/a")


def test_a_wrapper_of_a_store_without_a_journal_is_refused_as_source() -> None:
    """Wrappers tell of no change; a cache over one could never be kept right."""
    plain = MountedStore("z/", AbstractStore(), AbstractStore())
    mounted = MountedStore("p/", DictMemoryStore(), plain, fill=True)

    with pytest.raises(InvalidValue, match="give the store behind it"):
        mounted.connect()


def test_fills_and_drops_are_no_changes_of_the_mount_store(setting: Setting) -> None:
    """No event, no journal entry, no key: a fill is not a write."""
    heard: list[BaseEvent] = []
    setting.own.event_manager = EventManager()
    setting.own.event_manager.connect(BaseEvent, heard.append)
    head = setting.own.head()
    setting.change("p/a", b"one")
    setting.read("p/a")
    setting.change("p/a", b"two")

    assert head == setting.own.head()
    assert [] == list(setting.own.query_keys())
    assert [] == heard


def test_filling_over_a_cache_is_refused(setting: Setting) -> None:
    """A cache of a cache could not know what its entries are worth."""
    with pytest.raises(InvalidValue, match="fill=True"):
        MountedStore("p/", DictMemoryStore(), setting.mounted, fill=True)


def test_a_url_is_no_store() -> None:
    """A likely slip; the error says at once what makes a store of it."""
    with pytest.raises(InvalidValue, match=r"mount_store is 'memory:'.*open_store\(url\)"):
        MountedStore("p/", "memory:", DictMemoryStore(), fill=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match=r"backing_store is None"):
        MountedStore("p/", DictMemoryStore(), None)  # type: ignore[arg-type]


def test_the_password_of_a_url_that_is_no_store_is_not_told() -> None:
    """Messages end up in logs."""
    with pytest.raises(InvalidValue) as told:
        MountedStore("p/", DictMemoryStore(), "redis://:secret@db/0")  # type: ignore[arg-type]

    assert "secret" not in str(told.value)


def test_a_cache_in_its_own_source_is_refused() -> None:
    """It would save nothing, and what one writes into it hid the source's own keys."""
    store = DictMemoryStore()

    with pytest.raises(InvalidValue, match="cache of its own source"):
        MountedStore("p/", store, store, fill=True)


def test_a_mount_store_that_cannot_hold_a_cache_is_refused() -> None:
    """The error names the class and says what to use."""
    mounted = MountedStore("p/", AbstractStore(), DictMemoryStore(), fill=True)

    with pytest.raises(InvalidValue, match="AbstractStore cannot hold a cache"):
        mounted.connect()


def test_a_cache_that_is_not_connected_says_so() -> None:
    """Forgetting connect() is told as on every other store."""
    mounted = MountedStore("p/", DictMemoryStore(), DictMemoryStore(), fill=True)

    with pytest.raises(NotConnected, match=r"call connect\(\) first"):
        mounted.get("p/a")
    with pytest.raises(NotConnected, match=r"call connect\(\) first"):
        mounted.cache_stats()


def test_a_conditional_write_of_bytes_is_conditional(setting: Setting) -> None:
    """from_bytes returns the version, and takes one to expect."""
    first = setting.backing.from_bytes("k", b"1")
    setting.backing.from_bytes("k", b"2")

    with pytest.raises(VersionConflict):
        setting.backing.from_bytes("k", b"3", expect=first)


def test_a_plain_mount_has_no_cache() -> None:
    """Without fill it is Encore's store, and says so."""
    mounted = MountedStore("p/", DictMemoryStore(), DictMemoryStore())

    with pytest.raises(InvalidValue, match="fill=True"):
        mounted.cache_stats()
