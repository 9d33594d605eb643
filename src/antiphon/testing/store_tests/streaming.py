"""The suite's part on values of any size, and on the sources that they come from."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import hashlib
import io
import threading
from typing import Any

import pytest

from antiphon.storage.abstract_store import AbstractStore
from antiphon.testing.store_tests.base import (
    LARGE,
    Call,
    FailingStream,
    Peek,
    SuiteBase,
    everything,
    large_bytes,
    value,
)


class Streaming(SuiteBase):
    """Large values go in and out piece by piece; a source may be slow, or fail."""

    @pytest.mark.parametrize("size", [0, 11, 1 << 20, (1 << 20) + 1, 3 * (1 << 20) + 17])
    def test_ranges_are_slices(self, store: AbstractStore, size: int) -> None:
        """Start is inclusive, end exclusive, negative ones count from the end."""
        data = large_bytes(size)
        store.set("a", value(data))
        mid = size // 2
        for start, end in [
            (None, None), (0, 4), (2, 5), (2, 2), (5, 2), (-3, None), (None, -3), (mid, None),
            (mid, mid + 100_000), (size - 1, size), (size, size + 9), (-10 * size, 10 * size + 1),
        ]:  # fmt: skip
            assert data[start:end] == store.get_data_range("a", start, end).read()

    def test_sixteen_mebibytes_go_in_and_out(self, store: AbstractStore, peek: Peek) -> None:
        """Also read piece by piece, from the middle, and as they are in the medium."""
        block = large_bytes(1 << 20)
        data = b"".join(bytes([number]) + block[1:] for number in range(16))
        store.set("a", value(data, n=1))

        assert 16 << 20 == store.get("a").size
        pieces = hashlib.sha256()
        found = store.get("a")
        with found.data:
            for piece in found.iterdata(1 << 18):
                pieces.update(piece)
        assert hashlib.sha256(data).digest() == pieces.digest()
        with store.get_data_range("a", (9 << 20) - 5, (9 << 20) + 5) as stream:
            assert data[(9 << 20) - 5 : (9 << 20) + 5] == stream.read()
        assert {"a": (data, {"n": 1})} == peek()

    @pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20, LARGE])
    def test_data_of_any_size(self, store: AbstractStore, other: AbstractStore, size: int) -> None:
        """Bytes come back unchanged, and the size is known."""
        data = large_bytes(size)
        store.set_data("a", io.BytesIO(data))

        assert data == other.to_bytes("a")
        assert size == other.get("a").size

    def test_a_large_source_is_read_piece_by_piece(self, store: AbstractStore) -> None:
        """No more than a buffer is asked for at a time, and the source is not closed."""
        asked: list[int] = []

        class Watched(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                asked.append(-1 if size is None else size)
                return super().read(size)

        source = Watched(large_bytes())
        store.set_data("a", source, 1 << 16)

        assert large_bytes() == store.to_bytes("a")
        assert 0 < min(asked)
        assert 1 << 16 == max(asked)
        assert not source.closed

    def test_a_source_may_give_less_than_asked(self, store: AbstractStore) -> None:
        """Short reads do not end a value, an empty one does."""

        class Slow(io.RawIOBase):
            pieces = iter([b"a", bytearray(b"bc"), memoryview(b"def"), b""])

            def read(self, size: int = -1) -> Any:
                return next(self.pieces)

        store.set_data("a", Slow())

        assert b"abcdef" == store.to_bytes("a")

    @pytest.mark.parametrize("good_bytes", [0, 1000, LARGE])
    def test_a_source_that_fails_changes_nothing(
        self, store: AbstractStore, heard: list[Any], good_bytes: int
    ) -> None:
        """The source's error comes through; nothing was written, nothing is told of a change."""
        store.set("a", value(b"before", n=1))
        del heard[:]
        calls: list[Call] = [
            lambda: store.set("a", (FailingStream(good_bytes), {})),
            lambda: store.set_data("a", FailingStream(good_bytes)),
            lambda: store.set_data("new", FailingStream(good_bytes)),
        ]
        for write in calls:
            with pytest.raises(OSError, match="the source failed"):
                write()

        assert {"a": (b"before", {"n": 1})} == everything(store)
        assert [] == [event for event in heard if "Progress" not in type(event).__name__]

    def test_a_slow_source_holds_nobody_up(
        self, store: AbstractStore, other: AbstractStore
    ) -> None:
        """While a large value trickles in others read and write, the same key too."""
        store.set("a", value(b"before"))
        reached, go_on = threading.Event(), threading.Event()

        class Slow(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                if self.tell() > (2 << 20):
                    reached.set()
                    go_on.wait(20)
                return super().read(size)

        thread = threading.Thread(target=lambda: store.set_data("a", Slow(large_bytes())))
        thread.start()
        try:
            assert reached.wait(20)
            assert b"before" == other.to_bytes("a")
            other.set("a", value(b"meanwhile"))
            store.set("b", value())
            assert b"meanwhile" == store.to_bytes("a")
        finally:
            go_on.set()
            thread.join()
        assert large_bytes() == other.to_bytes("a")


class Snapshots(SuiteBase):
    """A value is one version of its key, whatever happens after it was read."""

    def test_a_large_stream_can_be_read_in_any_way(self, store: AbstractStore) -> None:
        """Pieces of any size, seeks, and the rest at once."""
        data = large_bytes()
        store.set("a", value(data))
        with store.get_data("a") as stream:
            begin = stream.read(5) + stream.read(1 << 20)
            assert data[: len(begin)] == begin
            assert data[len(begin) :] == stream.read()
            stream.seek(-20, io.SEEK_END)
            assert data[-20:] == stream.read()
            stream.seek(3)
            assert data[3:9] == stream.read(6)

    def test_a_value_stays_what_it_was(self, store: AbstractStore, other: AbstractStore) -> None:
        """A value read before a change gives the data and metadata of before."""
        for size in (5, 3 * (1 << 20) + 17):
            data = large_bytes(size)
            store.set("a", value(data, n=1))
            found = store.get("a")
            other.set("a", value(b"new", n=2))
            other.delete("a")

            assert (data, {"n": 1}) == (found.data.read(), found.metadata)
