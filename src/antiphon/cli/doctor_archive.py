"""What a doctor looks at in an archive."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from antiphon.archive import open_archive
from antiphon.cli.doctor_findings import CLOCK_WRONG_S, Finding, quickly
from antiphon.cli.moments import told
from antiphon.errors import AntiphonError
from antiphon.schemes import mask_url, scheme_of
from antiphon.storage.opening import url_path

#: Bytes that the disk of an archive should have left.
LITTLE_ROOM = 1024**3


def look_at_archive(url: str) -> Iterator[Finding]:
    """Yield what there is to say of the archive at *url*; nothing is written."""
    subject = f"archive {mask_url(url)}"
    try:
        began = time.perf_counter()
        with open_archive(url, read_only=True) as store:
            stats = store.stats()
        took_s = time.perf_counter() - began
    except AntiphonError as exc:
        text, _, advice = str(exc).partition("; ")
        yield Finding(subject, "readable", "wrong", text, advice)
        return
    facts = {
        "events": stats.events,
        "oldest": stats.oldest,
        "newest": stats.newest,
        "bytes": stats.bytes,
        "seconds": round(took_s, 6),
    }
    text = f"it has {stats.events} events in {stats.bytes / 2**20:.1f} MiB"
    text += "" if stats.newest is None else f", the newest of {told(stats.newest)}"
    yield Finding(subject, "readable", "ok", f"{text} (read in {quickly(took_s)})", facts=facts)
    if stats.newest is not None and stats.newest > time.time() + CLOCK_WRONG_S:
        yield Finding(
            subject,
            "future",
            "warning",
            f"its newest event is of {told(stats.newest)}, which is to come",
            "some machine's clock was ahead; antiphon archive search --since now shows its events",
        )
    with contextlib.suppress(AntiphonError, OSError):
        yield from _room(subject, url)


def _room(subject: str, url: str) -> Iterator[Finding]:
    if scheme_of(url) != "sqlite":
        return
    room = shutil.disk_usage(Path(url_path(url.partition("?")[0])).absolute().parent)
    facts = {"free_bytes": room.free, "disk_bytes": room.total}
    text = f"its disk has {room.free / 1024**3:.1f} GiB left of {room.total / 1024**3:.1f}"
    if room.free >= LITTLE_ROOM:
        yield Finding(subject, "room", "ok", text, facts=facts)
        return
    advice = "give it a larger disk, or keep less ([[retention]] of the recorder)"
    yield Finding(subject, "room", "warning", text, advice, facts)
