"""What is taken out of a player to show that the checker finds it missing."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from antiphon.archive import recorder
from antiphon.archive.retention import Retention
from antiphon.archive.tail import CAUGHT_UP, Tail
from antiphon.wire.codec import Codec
from services.recorder import archive as kept

#: Seconds by which what was acknowledged first is committed later.
_LATER_S = 0.3


def _commit() -> None:
    """Acknowledge before the commit, which a thread makes a moment later."""
    record = recorder.Recorder._record
    waiting: deque[tuple[recorder.Recorder, Any]] = deque()

    def commit_later() -> None:
        while True:
            while waiting:
                record(*waiting.popleft())
            time.sleep(_LATER_S)

    threading.Thread(target=commit_later, daemon=True).start()
    recorder.Recorder._record = lambda self, received: waiting.append((self, received))  # type: ignore[method-assign]


def _ids() -> None:
    """Give what comes a second time another id."""
    recorded = recorder.recorded
    recorder.recorded = lambda *args, **options: replace(  # type: ignore[assignment]
        recorded(*args, **options), id=str(uuid.uuid4())
    )


def _order() -> None:
    """Save what came together from back to front."""
    save = kept.KeptArchive.save_many
    kept.KeptArchive.save_many = lambda self, events: save(self, list(events)[::-1])  # type: ignore[method-assign]


def _seam() -> None:
    """Let a tail's history end whenever it does, and what is live begin with the head then."""

    def all_items(self: Any, since: float | None, history: Any) -> Iterator[Any]:
        if since is not None:
            yield from self._store.search(since, None, self._flags, self._match)
        self._place = self._store.head()
        yield CAUGHT_UP
        yield from self._live(self._place)

    Tail._all = all_items  # type: ignore[method-assign]


def _spare() -> None:
    """Keep half of what a rule counts, and nothing that it spares."""
    apply = kept.apply

    def greedy(store: Any, rules: Any, **options: Any) -> int:
        return apply(store, [_halved(rule) for rule in rules], **options)

    kept.apply = greedy  # type: ignore[assignment]


def _halved(rule: Retention) -> Retention:
    count = rule.max_events
    return replace(rule, max_events=None if count is None else count // 2, unless=())


def _mark() -> None:
    """Send events once more without a word that they are replayed."""
    Codec.replayed = staticmethod(lambda envelope: envelope)  # type: ignore[method-assign, assignment]


#: What can be taken out.
MECHANISMS: dict[str, Callable[[], None]] = {
    "commit": _commit,
    "ids": _ids,
    "order": _order,
    "seam": _seam,
    "spare": _spare,
    "mark": _mark,
}


def apply(without: str) -> None:
    """Take *without* out of this process; "" takes nothing."""
    if without:
        MECHANISMS[without]()
