"""The service ``recorder`` as a player: ``python -m tests.chaos.archive.recording JSON``.

It is the service as it is, which notes beside that when it is ready, and which
events it puts aside.  It ends at SIGTERM, and when its standard input does.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from antiphon.archive.recorder import Recorder as ArchiveRecorder
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec
from services.recorder.service import RecorderService
from services.recorder.settings import RecorderSettings
from services.skeleton import run
from tests.chaos.archive import sabotage
from tests.chaos.events import Note
from tests.chaos.history import Recorder
from tests.chaos.watching import watch_moves, watch_publishing


def main() -> int:
    """Run the service with what the argument says."""
    settings = json.loads(sys.argv[1])
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in [name for name in os.environ if name.startswith("ANTIPHON_")]:
        del os.environ[name]
    name = f"{settings['name']}.{settings['run']}"
    notes = Recorder(Path(settings["folder"]) / f"{name}.log")
    watch_publishing(notes)
    watch_moves(notes, _notes_in)
    _watch_start(notes)
    sabotage.apply(settings["without"])
    threading.Thread(target=_end_with_conductor, daemon=True).start()
    print("begun", flush=True)
    return run("recorder", RecorderSettings, RecorderService, [settings["toml"]])


def _notes_in(message: Message) -> list[Any]:
    events = Codec().decode(message.routing_key, message.headers, message.body)
    return [event for event in events if isinstance(event, Note)]


def _watch_start(notes: Recorder) -> None:
    start = ArchiveRecorder.start

    def watched(self: ArchiveRecorder) -> ArchiveRecorder:
        start(self)
        threading.Thread(target=_become_ready, args=(self, notes), daemon=True).start()
        return self

    ArchiveRecorder.start = watched  # type: ignore[method-assign, assignment]


def _become_ready(recorder: ArchiveRecorder, notes: Recorder) -> None:
    while (subscription := recorder._subscription) is not None:
        if subscription.wait_ready(1):
            notes.note("ready")
            return


def _end_with_conductor() -> None:
    for _ in sys.stdin:
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
