"""The suite's part on many readers and writers at once."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
import sys
import threading
from collections.abc import Callable
from typing import Any

from antiphon.storage.abstract_store import AbstractStore
from antiphon.testing.store_tests.base import MakeStore, SuiteBase, content, value


class Concurrency(SuiteBase):
    """Threads and stores that use one medium at the same time."""

    def test_many_writers_lose_nothing(self, make_store: MakeStore, store: AbstractStore) -> None:
        """Whatever they write at once is there."""
        handles = [store] + [self.connected(make_store()) for _ in range(2) if self.shared]

        def write(worker: int) -> None:
            mine = handles[worker % len(handles)]
            for number in range(12):
                mine.set(f"{worker}/{number}", value(b"x" * worker, n=number))
                mine.set_metadata("common", {"worker": worker})

        at_once(write, 4)
        for handle in handles[1:]:
            handle.disconnect()

        keys = {f"{worker}/{number}" for worker in range(4) for number in range(12)}
        assert {*keys, "common"} == set(store.query_keys())

    def test_writers_of_one_key_leave_the_value_of_one(
        self, make_store: MakeStore, store: AbstractStore
    ) -> None:
        """Data and metadata of the last one, never of two; small and large values alike."""
        handles = [store] + [self.connected(make_store()) for _ in range(2) if self.shared]

        def write(worker: int) -> None:
            mine = handles[worker % len(handles)]
            for number in range(6):
                size = (1 << 20) + 5 if number == worker else 5
                mine.set("a", value(b"%d" % worker * size, worker=worker))

        at_once(write, 3)
        for handle in handles[1:]:
            handle.disconnect()

        data, metadata = content(store, "a")
        assert {b"%d" % metadata["worker"]} == {data[at : at + 1] for at in range(5)}
        assert 1 == len(set(data))

    def test_of_all_who_write_a_new_key_one_has_set_it(
        self, store: AbstractStore, changes: list[Any]
    ) -> None:
        """The others have updated it, and their events say so."""
        at_once(lambda worker: [store.set(f"k{n}", value()) for n in range(8)], 3)

        for number in range(8):
            actions = [event.action for event in changes if event.key == f"k{number}"]
            assert ["set", "update", "update"] == sorted(actions)

    def test_writers_of_data_and_of_metadata_keep_both(
        self, store: AbstractStore, other: AbstractStore
    ) -> None:
        """Changing the one half of a key never brings back an old other half."""
        store.set("a", value(b"0", n=0))

        def write(worker: int) -> None:
            for number in range(1, 16):
                if worker == 0:
                    store.set_data("a", io.BytesIO(b"%d" % number))
                elif worker == 1:
                    other.update_metadata("a", {"n": number})
                else:
                    store.update_metadata("a", {f"m{number}": number})

        at_once(write, 3)

        added = {f"m{number}": number for number in range(1, 16)}
        assert (b"15", {"n": 15, **added}) == content(other, "a")

    def test_a_reader_finds_a_key_or_none(self, store: AbstractStore, other: AbstractStore) -> None:
        """While a key comes and goes a reader gets all of it, or ``KeyError``."""
        stop = threading.Event()
        wrong: list[Any] = []

        def write() -> None:
            for number in range(40):
                other.set("a", value(b"%d" % number, n=number))
                other.delete("a")
            stop.set()

        def read() -> None:
            while not stop.is_set():
                try:
                    data, metadata = content(store, "a")
                    list(store.query(n=1))
                except KeyError:
                    continue
                except Exception as exc:
                    wrong.append(exc)
                    return
                if int(data) != metadata["n"]:
                    wrong.append((data, metadata))

        _run_all(write, read, read)

        assert [] == wrong
        assert not store.exists("a")

    def test_data_and_metadata_of_a_read_belong_together(
        self, store: AbstractStore, other: AbstractStore
    ) -> None:
        """While a key is rewritten again and again a reader never sees half of a change."""
        store.set("a", value(b"0", n=0))
        stop = threading.Event()
        wrong: list[Any] = []

        def write() -> None:
            for number in range(60):
                size = (1 << 20) + 5 if number % 20 == 0 else 5
                other.set("a", value(str(number).encode().ljust(size, b"."), n=number))
            stop.set()

        def read() -> None:
            while not stop.is_set():
                data, metadata = content(store, "a")
                if int(data.split(b".")[0]) != metadata["n"]:
                    wrong.append((data[:10], metadata))

        _run_all(write, read, read)

        assert [] == wrong


def _run_all(*works: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def at_once(work: Callable[[int], object], count: int) -> None:
    """Run ``work(0)`` to ``work(count - 1)`` in as many threads, and raise what they raise."""
    failures: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            work(worker)
        except BaseException as exc:  # handed to the test below
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # as many interleavings as there may be
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [] == failures
