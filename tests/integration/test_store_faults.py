"""Stores on media that fail: full, spoiled, held by another, with sources that break off."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_disk import SmallDisk, small_disk

from antiphon.errors import StoreError, StoreFull, StoreUnavailable
from antiphon.events.api import EventManager
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent, StoreProgressEndEvent
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import everything, large_bytes, listen

#: Seconds that a store waits for another one here.
TIMEOUT_S = 0.2

#: What each store holds before it is tried.
CONTENT: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a": (b"data of a", {"n": 1, "name": "a"}),
    "b/c": (b"", {"n": 1}),
    "large": (large_bytes((1 << 20) + 100), {"n": 2}),
}

_quiet = settings(
    max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


class Medium:
    """A medium: opens stores on it, and does to it what goes wrong with media.

    Attributes:
        timeout_s: for which its stores wait for each other.
    """

    timeout_s = TIMEOUT_S

    def open(self) -> BackendStore:
        """Return a store on the medium, not yet connected."""
        raise NotImplementedError

    def pieces(self) -> object:
        """Return what lies in the medium, so that leftovers are noticed."""
        raise NotImplementedError

    def spoil(self, key: str, keep: float) -> None:
        """Cut off what the medium has of the metadata of *key*, leaving a share of it."""
        raise NotImplementedError


class Memory(Medium):
    """A dictionary."""

    def __init__(self) -> None:
        self._store = DictMemoryStore()

    def open(self) -> BackendStore:
        return self._store

    def pieces(self) -> object:
        return [sorted(self._store.query_keys()), dict(self._store._staged)]


class Sqlite(Medium):
    """A database."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"

    def open(self) -> BackendStore:
        return SqliteStore(self.path, timeout_s=self.timeout_s)

    def pieces(self) -> object:
        with contextlib.closing(sqlite3.connect(self.path)) as raw:
            tables = [
                name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type='table'")
            ]
            return {t: raw.execute(f'SELECT count(*) FROM "{t}"').fetchone() for t in tables}

    def spoil(self, key: str, keep: float) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as raw, raw:
            (text,) = raw.execute("SELECT metadata FROM store WHERE key = ?", (key,)).fetchone()
            cut = text[: int(len(text) * keep)]
            raw.execute("UPDATE store SET metadata = ? WHERE key = ?", (cut, key))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            yield
            raw.execute("ROLLBACK")


class Files(Medium):
    """A directory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "files"
        init_shared_store(self.path)

    def open(self) -> BackendStore:
        return FileSystemStore(self.path, timeout_s=self.timeout_s)

    def pieces(self) -> object:
        return sorted(path.relative_to(self.path) for path in self.path.rglob("*"))

    def spoil(self, key: str, keep: float) -> None:
        name = {"a": "a", "b/c": "b%2Fc", "large": "large"}[key]
        (path,) = [p for p in self.path.glob("*.metadata") if p.stem.lower() == name.lower()]
        text = path.read_bytes()
        path.write_bytes(text[: int(len(text) * keep)])

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        with (self.path / ".antiphon" / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class InRedis(Medium):
    """A namespace."""

    def __init__(self, url: str) -> None:
        self.url = url

    def open(self) -> BackendStore:
        return RedisStore(self.url, namespace="store")

    def _raw(self) -> contextlib.closing[Any]:
        parts = urlsplit(self.url)
        client = redis.Redis(parts.hostname or "", parts.port or 0, int(parts.path[1:]))
        return contextlib.closing(client)

    def pieces(self) -> object:
        with self._raw() as raw:
            return sorted(raw.keys("*"))

    def spoil(self, key: str, keep: float) -> None:
        with self._raw() as raw:
            name = b"{store}:k:" + key.encode()
            text = raw.hget(name, "m")
            raw.hset(name, "m", text[: int(len(text) * keep)])


@pytest.fixture(params=["memory", "sqlite", "files", "redis"])
def medium(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str) -> Medium:
    """A medium of each kind."""
    match request.param:
        case "memory":
            return Memory()
        case "sqlite":
            return Sqlite(tmp_path)
        case "files":
            return Files(tmp_path)
    return InRedis(redis_url)


@contextlib.contextmanager
def opened(medium: Medium, *, fill: bool = True) -> Iterator[BackendStore]:
    """A connected store on *medium*, with what ``CONTENT`` says."""
    store = medium.open()
    store.event_manager = EventManager()
    with store:
        if fill:
            store.multiset(CONTENT, [StringValue(*value) for value in CONTENT.values()])
        yield store


def open_files() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


# -- Sources that break off ----------------------------------------------------


class Breaking(io.RawIOBase):
    """A stream that raises *error* after *good* bytes."""

    def __init__(self, good: int, error: BaseException) -> None:
        self._left, self._error = good, error

    def read(self, size: int = -1) -> bytes:
        if self._left <= 0:
            raise self._error
        size = min(size, self._left)
        self._left -= size
        return b"x" * size


_errors = st.sampled_from(
    [OSError("gone"), MemoryError(), ValueError("bad"), KeyboardInterrupt(), EOFError()]
)
_writes: dict[str, Callable[[BackendStore, str, Any], object]] = {
    "set": lambda store, key, source: store.set(key, (source, {"new": 1})),
    "set_data": lambda store, key, source: store.set_data(key, source),
    "multiset": lambda store, key, source: store.multiset(
        ["other", key], [StringValue(large_bytes()), (source, {})]
    ),
    "multiset_data": lambda store, key, source: store.multiset_data(
        ["other", key], [io.BytesIO(b"small"), source]
    ),
}


def test_a_source_that_breaks_off_leaves_nothing(medium: Medium) -> None:
    """Wherever and with whatever: no change, no event but those of progress, nothing left lying."""
    with opened(medium) as store:
        before, pieces, files = everything(store), medium.pieces(), open_files()

        @_quiet
        @given(
            write=st.sampled_from(sorted(_writes)),
            key=st.sampled_from(["a", "large", "new"]),
            good=st.sampled_from([0, 1, 1 << 16, 1 << 20, (1 << 20) + 1, (3 << 20) + 5]),
            error=_errors,
        )
        def check(write: str, key: str, good: int, error: BaseException) -> None:
            store.event_manager = EventManager()
            changes = listen(store, StoreModificationEvent)
            ends = listen(store, StoreProgressEndEvent)
            with pytest.raises(type(error)):
                _writes[write](store, key, Breaking(good, error))

            assert before == everything(store)
            assert pieces == medium.pieces()
            assert files == open_files()
            assert [] == changes
            assert {"exception"} >= {end.exit_state for end in ends if end.key == key}

        check()


# -- Full disks ----------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder) as disk:
        yield disk


@pytest.mark.parametrize("kind", [Sqlite, Files])
def test_a_full_disk_keeps_what_was_there(disk: SmallDisk, kind: Callable[[Path], Medium]) -> None:
    """What did not fit changed nothing; the rest is read, and written once there is room."""
    medium = kind(disk.folder)
    with opened(medium) as store, opened(medium, fill=False) as other:
        trial = Trial(disk, store)
        files = open_files()

        @_quiet
        @given(
            left=st.sampled_from([0, 4096, 1 << 15, 1 << 17]),
            sizes=st.lists(st.sampled_from([0, 5, 5000, 100_000, (1 << 20) + 7]), max_size=4),
        )
        def check(left: int, sizes: list[int]) -> None:
            with disk.full(left):
                for number, size in enumerate(sizes):
                    data, metadata = large_bytes(size), {"n": number, "text": "x" * (size // 100)}
                    trial.change({["a", "new", "b/c"][number % 3]: (data, metadata)})
                    assert trial.model == everything(store) == everything(other)
                trial.change({"a": (b"both", {"n": 5}), "filler": (large_bytes(200_000), {})})
                assert trial.model == everything(store) == everything(other)
            trial.start_again()
            assert dict(CONTENT) == everything(other)

        check()
        assert files == open_files()
    assert trial.refused
    assert all(str(disk.folder) in str(exc) for exc in trial.refused)
    with opened(medium, fill=False) as again:
        assert dict(CONTENT) == everything(again)


class Trial:
    """A store that is written to until there is no room, beside what it must hold."""

    def __init__(self, disk: SmallDisk, store: BackendStore) -> None:
        self.model = dict(CONTENT)
        self.refused: list[StoreError] = []
        self._expected = StoreFull if disk.is_real else StoreError
        self._store = store

    def change(self, values: dict[str, tuple[bytes, dict[str, Any]]]) -> None:
        """Set all of *values* in one transaction; if that is refused the model stays."""
        try:
            self._store.multiset(values, [StringValue(*value) for value in values.values()])
        except self._expected as exc:
            self.refused.append(exc)
        else:
            self.model.update(values)

    def start_again(self) -> None:
        """Write what there was at the beginning, which there is room for."""
        for key in self.model.keys() - CONTENT.keys():
            self._store.delete(key)
        for key, value in CONTENT.items():
            if self.model[key] != value:
                self._store.set(key, StringValue(*value))
        self.model = dict(CONTENT)


def test_a_full_redis_keeps_what_was_there(redis_server: Any) -> None:
    """At its memory limit it refuses, changes nothing, and takes writes again afterwards."""
    medium = InRedis(redis_server.url)
    with opened(medium) as store:
        before, pieces = everything(store), medium.pieces()
        redis_server.command("CONFIG", "SET", "maxmemory", "1")
        for size in (0, 10, 100_000, (1 << 20) + 7):
            with pytest.raises(StoreFull):
                store.set("a", StringValue(large_bytes(size), {"n": 9}))
            assert before == everything(store)
        redis_server.command("CONFIG", "SET", "maxmemory", "0")

        assert pieces == medium.pieces()
        store.set("a", StringValue(b"again"))
        assert b"again" == store.to_bytes("a")


# -- Spoiled metadata ----------------------------------------------------------


@pytest.mark.parametrize("medium", ["sqlite", "files", "redis"], indirect=True)
def test_metadata_cut_short_harm_no_other_key(medium: Medium) -> None:
    """However much is left: a clear error or nothing untrue, and the key can be set anew."""

    @_quiet
    @given(key=st.sampled_from(sorted(CONTENT)), keep=st.floats(0, 0.99))
    def check(key: str, keep: float) -> None:
        with opened(medium) as store:
            files = open_files()
            medium.spoil(key, keep)
        with opened(medium, fill=False) as store:
            for other, (data, metadata) in CONTENT.items():
                if other != key:
                    assert data == store.to_bytes(other)
                    assert metadata == store.get_metadata(other)
            with contextlib.suppress(StoreError):
                # Redis holds lines: where they are cut between two, nobody can tell.
                assert store.get_metadata(key).items() <= CONTENT[key][1].items()
            with contextlib.suppress(StoreError):
                store.to_bytes(key)
            with contextlib.suppress(StoreError):
                found = {each for each, _ in store.query(n=1)}
                assert {"a", "b/c"} - {key} <= found
            store.set(key, StringValue(b"new", {"n": 7}))
            assert {"n": 7} == store.get_metadata(key)
            assert [key] == list(store.query_keys(n=7))
            assert files == open_files()
            store.delete(key)

    check()


@pytest.mark.parametrize("kind", [Sqlite, Files])
def test_a_spoiled_file_is_told_or_harmless(tmp_path: Path, kind: Callable[[Path], Medium]) -> None:
    """Any file of a store, cut or overwritten anywhere while nobody uses it: never a bare error."""
    numbers = iter(range(1000))

    @_quiet
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        medium = kind(folder)
        with opened(medium):
            pass
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        path = data.draw(st.sampled_from(paths))
        held = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, max(0, len(held) - 1)))
        if data.draw(st.booleans()):
            del held[at:]
        else:
            rubbish = data.draw(st.binary(min_size=1, max_size=40))
            held[at : at + len(rubbish)] = rubbish
        path.write_bytes(held)
        before = open_files()
        with contextlib.suppress(StoreError), opened(medium, fill=False) as store:
            for key in (*CONTENT, "none"):
                with contextlib.suppress(StoreError):
                    assert isinstance(store.to_bytes(key), bytes)
                with contextlib.suppress(StoreError):
                    store.get_metadata(key)
            with contextlib.suppress(StoreError):
                list(store.query())
            with contextlib.suppress(StoreError):
                store.set("a", StringValue(b"new", {"n": 7}))
                assert (b"new", {"n": 7}) == (store.to_bytes("a"), store.get_metadata("a"))
        assert before == open_files()

    check()


# -- Held by another -----------------------------------------------------------


@pytest.mark.parametrize("kind", [Sqlite, Files])
def test_a_store_held_by_another_is_told_in_time(
    tmp_path: Path, kind: Callable[[Path], Any]
) -> None:
    """Reading goes on; a write waits its time, says so, and has not happened."""
    medium = kind(tmp_path)
    with opened(medium) as store:
        changes = listen(store, StoreModificationEvent)
        writes: list[Callable[[], object]] = [
            lambda: store.set("a", StringValue(b"new")),
            lambda: store.set("a", StringValue(large_bytes())),
            lambda: store.update_metadata("a", {"m": 1}),
            lambda: store.delete("a"),
            lambda: store.multiset_metadata(["a", "b"], [{}, {}]),
        ]
        with medium.held():
            for write in writes:
                begin = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    write()
                assert time.monotonic() - begin < TIMEOUT_S + 5
            assert dict(CONTENT) == everything(store)
            assert [] == changes
        store.set("a", StringValue(b"new"))

        assert b"new" == store.to_bytes("a")
        assert ["a"] == [event.key for event in changes]


@pytest.mark.parametrize("kind", [Sqlite, Files])
def test_a_store_that_becomes_free_in_time_is_written(
    tmp_path: Path, kind: Callable[[Path], Any]
) -> None:
    """Who waits less than its time gets through."""
    medium = kind(tmp_path)
    medium.timeout_s = 30
    with opened(medium) as store:
        store_free = threading.Event()

        def hold() -> None:
            with medium.held():
                held.set()
                store_free.wait(10)

        held = threading.Event()
        thread = threading.Thread(target=hold)
        thread.start()
        assert held.wait(10)
        threading.Timer(TIMEOUT_S, store_free.set).start()
        store.set("a", StringValue(b"new"))
        thread.join()

        assert b"new" == store.to_bytes("a")
