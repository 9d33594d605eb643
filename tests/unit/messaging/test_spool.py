"""Events on disk: nothing that was appended is lost, whatever becomes of the process."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import (
    PublishBufferFull,
    SpoolInUse,
    SpoolUnusable,
    SpoolUnwritable,
)
from antiphon.messaging.batching import Address, BufferPolicy
from antiphon.messaging.spool import Spool
from antiphon.messaging.spool_format import (
    SEGMENT_HEAD,
    DamagedRecord,
    TornRecord,
    address_record,
    event_record,
    read_record,
)
from antiphon.messaging.spooled_buffer import SpooledBuffer
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec

KEY: Address = ("key", None)
OTHER: Address = ("other", {"classes": ["a", "b"], "raw": b"\x00\xff"}, "x.events.topic")

Opener = Callable[..., SpooledBuffer]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Open the spool again and again; the one before is let go as by the death of its process."""
    buffers: list[SpooledBuffer] = []

    def open_one(
        *,
        max_events: int = 1000,
        spool_bytes: int = 10**8,
        path: Path = tmp_path / "spool",
        is_synced: bool = False,
        **policy: Any,
    ) -> SpooledBuffer:
        for buffer in buffers:
            buffer.abandon()
        spool = Spool(path, "shop", max_bytes=spool_bytes, is_synced=is_synced)
        settings = BufferPolicy(publisher=f"p{len(buffers)}", **{"batch_events": 10, **policy})
        buffers.append(SpooledBuffer(spool, max_events, 10**7, settings))
        return buffers[-1]

    yield open_one
    for buffer in buffers:
        buffer.abandon()


def add(to: SpooledBuffer, *numbers: int, address: Address = KEY, padding: int = 0) -> None:
    for number in numbers:
        to.add(
            address, b"\xc6" + (4 + padding).to_bytes(4, "big") + b"%04d" % number + b"x" * padding
        )


def numbers(messages: list[Message]) -> list[int]:
    return [int(one[5:9]) for message in messages for one in Codec.split(message.body)]


def drain(buffer: SpooledBuffer) -> list[int]:
    """Take and confirm everything."""
    came: list[int] = []
    while messages := list(buffer.take(3)):
        came += numbers(messages)
        buffer.settle(len(messages))
    return came


def segments(buffer: SpooledBuffer) -> list[Path]:
    return sorted(buffer.spool.path.glob("*.events"))


# -- From one process to the next --------------------------------------------------


def test_what_is_left_comes_first(opened: Opener) -> None:
    """The next process sends what is not confirmed, in order, and then its own."""
    buffer = opened()
    add(buffer, *range(5))
    buffer.settle(len(buffer.take(1)))  # what was there: one message
    add(buffer, *range(5, 8))

    again = opened()
    add(again, 8, 9)

    assert (3, 2, 5) == (again.recovered, again.emitted, len(again))
    assert [5, 6, 7, 8, 9] == drain(again)
    assert 0 == len(again)


def test_same_messages(opened: Opener) -> None:
    """Key, headers, exchange, bytes and publisher are those of the process that emitted."""
    buffer = opened()
    add(buffer, 1, 2)
    add(buffer, 3, address=OTHER)
    before = list(buffer.take(10))

    again = opened()

    assert before == list(again.take(10))
    assert "p0" == before[0].publisher


def test_taken_is_not_confirmed(opened: Opener) -> None:
    """What was under way when the process died is sent again."""
    buffer = opened()
    add(buffer, 1, 2)
    buffer.take(10)

    assert [1, 2] == drain(opened())


def test_many_lives(opened: Opener) -> None:
    """A spool may be opened as often as it likes, with something or with nothing in it."""
    for life in range(5):
        buffer = opened()
        assert buffer.recovered == life
        add(buffer, life)

    assert [0, 1, 2, 3, 4] == drain(opened())
    assert 0 == opened().recovered


def test_closed_empty(opened: Opener) -> None:
    """When everything is confirmed nothing but the directory's own files stays."""
    buffer = opened()
    add(buffer, *range(10))
    drain(buffer)
    buffer.close()
    buffer.close()

    assert [] == segments(buffer)
    assert 0 == buffer.spooled_bytes


def test_late_confirm(opened: Opener) -> None:
    """What is confirmed after the spool was closed stays: it may be another process's by now."""
    buffer = opened()
    add(buffer, 1, 2)
    buffer.take(10)
    buffer.close()

    again = opened()
    buffer.settle(1)

    assert [1, 2] == drain(again)
    assert 0 == again.spool.damaged


@settings(deadline=None)  # the disk takes its time
@given(st.lists(st.sampled_from(["add", "add", "take", "settle", "rewind", "die"]), max_size=50))
def test_any_history(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """Whatever happens, with a death at any point, all comes out in order, and nothing is lost."""
    path = tmp_path_factory.mktemp("spool")

    def opened_again() -> SpooledBuffer:
        spool = Spool(path, "shop", max_bytes=20_000)
        return SpooledBuffer(spool, 4, 10**6, BufferPolicy(batch_events=3))

    buffer, emitted, confirmed = opened_again(), 0, list[int]()
    under_way: list[Message] = []
    for step in steps:
        if step == "add":
            add(buffer, *range(emitted, emitted + 3), padding=150)
            emitted += 3
        elif step == "take":
            under_way += buffer.take(2)
        elif step == "settle" and under_way:
            confirmed += numbers([under_way.pop(0)])
            buffer.settle(1)
        elif step == "rewind":
            buffer.rewind()
            under_way = []
        elif step == "die":
            buffer.abandon()
            buffer, under_way = opened_again(), []
        assert len(buffer) == emitted - len(confirmed)
    buffer.rewind()
    rest = drain(buffer)
    buffer.close()

    assert list(range(emitted)) == confirmed + rest


# -- Bounds ----------------------------------------------------------------------


def test_memory_is_bounded(opened: Opener) -> None:
    """What does not fit into memory is only on disk, and is read back in order."""
    buffer = opened(max_events=20)
    add(buffer, *range(500))

    assert len(buffer._fresh) <= 20
    assert 500 == len(buffer)
    assert list(range(500)) == drain(buffer)


def test_emitting_while_it_is_read_back(opened: Opener) -> None:
    """New events come after all that is on disk."""
    buffer, came, emitted = opened(max_events=7), list[int](), 0
    for _ in range(60):
        add(buffer, *range(emitted, emitted + 5))
        emitted += 5
        messages = list(buffer.take(1))
        came += numbers(messages)
        buffer.settle(len(messages))

    assert list(range(emitted)) == came + drain(buffer)


def test_segments_go(opened: Opener) -> None:
    """Files are removed as their events are confirmed."""
    buffer = opened(spool_bytes=80_000)
    add(buffer, *range(300), padding=100)
    many = len(segments(buffer))

    drain(buffer)

    assert many > 2
    assert 1 == len(segments(buffer))
    assert buffer.spooled_bytes == segments(buffer)[0].stat().st_size


def test_full(opened: Opener) -> None:
    """The disk's bound holds, and confirmed events make room again."""
    buffer = opened(spool_bytes=40_000, when_full="raise")

    with pytest.raises(PublishBufferFull, match=r"the spool .* is full"):
        add(buffer, *range(10_000), padding=100)

    taken = buffer.appended
    assert sum(path.stat().st_size for path in segments(buffer)) <= 40_000
    assert taken == len(drain(buffer))
    add(buffer, 1)


def test_drop_the_oldest(opened: Opener) -> None:
    """Room is made by whole segments, from the oldest on; what is under way stays."""
    buffer = opened(spool_bytes=40_000, when_full="drop_oldest")
    add(buffer, *range(5), padding=100)
    under_way = list(buffer.take(1))
    add(buffer, *range(5, 1000), padding=100)

    upto = buffer.appended
    buffer.settle(1)
    rest = drain(buffer)

    assert [0, 1, 2, 3, 4] == numbers(under_way)
    assert list(range(1000 - len(rest), 1000)) == rest
    assert 1000 == 5 + len(rest) + buffer.dropped
    assert 0 == buffer.wait_settled(upto, 0)


def test_dropped_stay_dropped(opened: Opener) -> None:
    """The next process sends what was left, without a word of damage."""
    buffer = opened(spool_bytes=40_000, when_full="drop_oldest")
    buffer.take(1)
    add(buffer, *range(1000), padding=100)
    left = len(buffer)

    again = opened(spool_bytes=40_000)

    assert list(range(1000 - left, 1000)) == drain(again)
    assert 0 == again.spool.damaged


# -- Damage ------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 8, 15])
def test_torn_record(opened: Opener, cut: int) -> None:
    """A write that the death of the process cut off costs the event that was not emitted yet."""
    buffer = opened()
    add(buffer, 1, 2, 3)
    path = segments(buffer)[-1]
    os.truncate(path, path.stat().st_size - cut)

    again = opened()
    add(again, 4)

    assert [1, 2, 4] == drain(again)


def test_torn_head(opened: Opener) -> None:
    """A segment of which not even the head was written is none."""
    buffer = opened()
    add(buffer, 1)
    (buffer.spool.path / f"{1:020d}.events").write_bytes(SEGMENT_HEAD[:5])

    assert [1] == drain(opened())


def test_damaged_in_the_middle(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """A segment that cannot be read to its end is set aside, told, and the rest is sent."""
    buffer = opened(spool_bytes=40_000, max_events=5)
    add(buffer, *range(200), padding=100)
    second, third = segments(buffer)[1:3]
    spoil(second, second.stat().st_size // 2)

    again = opened(spool_bytes=40_000, max_events=5)
    came = drain(again)

    first_lost = next(number for number in range(200) if number not in came)
    next_segment = int(third.stem)
    assert [*range(first_lost), *range(next_segment, 200)] == came
    assert next_segment - first_lost == again.spool.damaged
    assert f"{again.spool.damaged} events in {second} cannot be read" in caplog.text
    assert second.with_suffix(".damaged").exists()
    assert 0 == len(again)


def test_damaged_while_in_use(opened: Opener) -> None:
    """Nobody waits for what cannot be read any more, and what comes after it is sent."""
    buffer = opened(max_events=5)
    add(buffer, *range(50))
    spoil(segments(buffer)[0], segments(buffer)[0].stat().st_size // 2)
    came = drain(buffer)
    upto = buffer.appended
    assert 0 == buffer.wait_settled(upto, 0)

    add(buffer, 50)

    assert [50] == drain(buffer)
    assert 50 == len(came) + buffer.spool.damaged


def test_damaged_at_the_end(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """Damage in the last segment is told at once, and a copy is kept."""
    buffer = opened()
    add(buffer, 1, 2, 3)
    path = segments(buffer)[-1]
    spoil(path, path.stat().st_size - 1)

    again = opened()

    assert [1, 2] == drain(again)
    assert "is damaged from byte" in caplog.text
    assert path.with_suffix(".damaged").exists()


def test_no_segment(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is named like a segment and is none is set aside."""
    buffer = opened()
    add(buffer, 1)
    strange = buffer.spool.path / f"{0:019d}.events"
    strange.write_bytes(b"something else, and more than a head")

    assert [1] == drain(opened())
    assert "is no segment" in caplog.text


def test_without_progress(opened: Opener) -> None:
    """With the note of how far it is confirmed gone, everything there is sent again."""
    buffer = opened()
    add(buffer, 1)
    drain(buffer)
    add(buffer, 2)
    (buffer.spool.path / "progress").unlink()

    assert [1, 2] == drain(opened())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_an_error(data: bytes) -> None:
    """Reading fails in two ways only, whatever is there."""
    for start in (data, event_record(b"x") + data, address_record("k", None, None, "p") + data):
        at = 0
        try:
            while at < len(start):
                at = read_record(start, at).end
        except (TornRecord, DamagedRecord):
            continue


def spoil(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes((byte[0] ^ 0xFF,)))


# -- The disk ----------------------------------------------------------------------


@pytest.mark.parametrize("written", [0, 10])
def test_full_disk(opened: Opener, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """An event for which the disk has no room is refused; nothing earlier is lost."""
    buffer = opened()
    add(buffer, 1)
    write = os.write
    room = [written]

    def fill(number: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        data, room[0] = data[: room[0]], 0
        return write(number, data)

    monkeypatch.setattr("os.write", fill)
    with pytest.raises(SpoolUnwritable, match=r"cannot be written: No space left .* still there"):
        add(buffer, 2)
    monkeypatch.setattr("os.write", write)
    add(buffer, 3)

    assert [1, 3] == drain(opened())


def test_full_disk_at_a_new_segment(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that could not be begun is not there."""
    buffer = opened()

    def full(number: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.write", full)
        with pytest.raises(SpoolUnwritable) as caught:
            add(buffer, 1)
    assert errno.ENOSPC == caught.value.errno
    assert [] == segments(buffer)
    add(buffer, 2)

    assert [2] == drain(opened())


def test_synced(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """When asked, each event is on the medium before emit goes on."""
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    buffer = opened(is_synced=True)

    add(buffer, 1, 2, 3)

    assert 3 == len(synced)


# -- The directory -------------------------------------------------------------------


def test_in_use(opened: Opener) -> None:
    """Two buses cannot share a directory; the second hears who has it."""
    buffer = opened()

    with pytest.raises(SpoolInUse, match=rf"in use by process {os.getpid()} on .*, since \d"):
        Spool(buffer.spool.path, "shop", max_bytes=10**6)


def test_other_system(opened: Opener) -> None:
    """The directory of another system is refused."""
    buffer = opened()
    buffer.close()

    with pytest.raises(SpoolUnusable, match="is of system 'shop', not 'bank'"):
        Spool(buffer.spool.path, "bank", max_bytes=10**6)


def test_other_format(opened: Opener) -> None:
    """A directory of a later version is left alone."""
    buffer = opened()
    buffer.close()
    (buffer.spool.path / "spool.json").write_text(json.dumps({"format": 2, "system": "shop"}))

    with pytest.raises(SpoolUnusable, match="has format 2, and this version reads 1"):
        Spool(buffer.spool.path, "shop", max_bytes=10**6)


def test_not_a_spool(tmp_path: Path) -> None:
    """A directory with other things in it is none for a spool."""
    (tmp_path / "letters").write_text("dear")

    with pytest.raises(SpoolUnusable, match=r"holds other things .*'letters'"):
        Spool(tmp_path, "shop", max_bytes=10**6)


def test_nonsense_about(opened: Opener) -> None:
    """A directory whose description cannot be read is refused."""
    buffer = opened()
    buffer.close()
    (buffer.spool.path / "spool.json").write_text("[]")

    with pytest.raises(SpoolUnusable, match="tells nothing of a spool"):
        Spool(buffer.spool.path, "shop", max_bytes=10**6)


def test_no_directory(tmp_path: Path) -> None:
    """What is no directory, or has no parent, is named with the reason."""
    (tmp_path / "file").write_text("")

    for path, reason in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "a" / "b", "No such file"),
    ):
        with pytest.raises(SpoolUnusable, match=f"{path}.* cannot be used: {reason}"):
            Spool(path, "shop", max_bytes=10**6)


def test_no_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that this user may not write is named."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.open", refuse)

    with pytest.raises(SpoolUnusable, match="Permission denied; it must be a directory"):
        Spool(tmp_path / "spool", "shop", max_bytes=10**6)


def test_emitting_in_the_middle_of_a_write(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event of a finalizer that runs in the middle of a write comes after it, on disk too."""
    buffer = opened()
    append, is_first = buffer.spool.append, [True]

    def interrupted(*arguments: Any) -> None:
        if is_first.pop() if is_first else False:
            add(buffer, 2)
        append(*arguments)

    monkeypatch.setattr(buffer.spool, "append", interrupted)
    add(buffer, 1)
    monkeypatch.undo()

    assert [1, 2] == numbers(list(buffer.take(10)))
    assert [1, 2] == drain(opened())


def test_quiet_when_all_is_well(opened: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """Opening what an earlier process left is nothing to warn of."""
    caplog.set_level(logging.INFO)
    add(opened(), 1, 2)
    opened()

    assert "" == caplog.text
