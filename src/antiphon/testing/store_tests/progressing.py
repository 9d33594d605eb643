"""The suite's part on progress."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from typing import Any

import pytest

from antiphon.events.api import ProgressEvent
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.events import (
    StoreProgressEndEvent,
    StoreProgressEvent,
    StoreProgressStartEvent,
    StoreProgressStepEvent,
    StoreSetEvent,
)
from antiphon.testing.store_tests.base import Call, FailingStream, SuiteBase, listen, value


class Progressing(SuiteBase):
    """Long transfers tell how they go."""

    def test_a_transfer_of_many_pieces_tells_how_it_goes(
        self, store: AbstractStore, heard: list[Any]
    ) -> None:
        """Start, a step a piece, end; then the change."""
        store.set("a", value(b"x" * 25, n=1), 10)

        kinds = [type(event) for event in heard]
        assert [
            StoreProgressStartEvent, StoreProgressStepEvent, StoreProgressStepEvent,
            StoreProgressStepEvent, StoreProgressEndEvent, StoreSetEvent,
        ] == kinds  # fmt: skip
        progress = heard[:-1]
        assert 1 == len({event.operation_id for event in progress})
        source = self.emitter(store)
        assert all(e.source is source and e.key == "a" and e.metadata == {"n": 1} for e in progress)
        assert (25, [10, 20, 25]) == (heard[0].steps, [event.step for event in heard[1:4]])
        assert "normal" == heard[4].exit_state

    def test_short_reads_make_no_steps_of_their_own(
        self, store: AbstractStore, heard: list[Any]
    ) -> None:
        """However little a source gives at a time, a step is a buffer."""

        class Trickle(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(1)

        store.set_data("a", Trickle(b"x" * 25), 10)

        assert [10, 20, 25] == [e.step for e in heard if isinstance(e, StoreProgressStepEvent)]

    def test_a_listener_to_progress_cannot_change_the_value(self, store: AbstractStore) -> None:
        """The metadata in its events are copies too."""

        def spoil(event: Any) -> None:
            event.metadata["tags"].append("spoiled")

        self.emitter(store).event_manager.connect(StoreProgressEvent, spoil)
        store.set("a", value(b"x" * 25, tags=["x"]), 10)
        store.set_data("a", io.BytesIO(b"x" * 25), 10)
        store.to_bytes("a", 10)

        assert {"tags": ["x"]} == store.get_metadata("a")

    def test_a_transfer_of_one_piece_tells_nothing(
        self, store: AbstractStore, heard: list[Any]
    ) -> None:
        """What is over in one step has no progress."""
        store.set("a", value(b"x" * 10), 10)
        store.to_bytes("a", 10)

        assert ["StoreSetEvent"] == [type(event).__name__ for event in heard]

    def test_reading_tells_how_it_goes(
        self, store: AbstractStore, tmp_path: Any, heard: list[Any]
    ) -> None:
        """``to_file`` and ``to_bytes`` have progress as ``set`` has."""
        store.set("a", value(b"x" * 25))
        calls: list[Call] = [
            lambda: store.to_file("a", tmp_path / "file", 10),
            lambda: store.to_bytes("a", 10),
        ]
        for read in calls:
            del heard[:]
            read()

            assert [10, 20, 25] == [e.step for e in heard if isinstance(e, StoreProgressStepEvent)]
            assert isinstance(heard[-1], StoreProgressEndEvent)

    def test_a_transfer_that_fails_has_an_end(self, store: AbstractStore) -> None:
        """The end says that it was an exception, and no change is told."""
        heard = listen(self.emitter(store), ProgressEvent)
        with pytest.raises(OSError, match="the source failed"):
            store.set_data("a", FailingStream(3 << 20))

        assert all(isinstance(event, StoreProgressEvent) for event in heard)
        assert "exception" == heard[-1].exit_state
