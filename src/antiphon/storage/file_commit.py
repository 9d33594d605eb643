"""Commits of a file store: decided in the log, then carried out on the files."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from antiphon.errors import StoreError, StoreUnavailable
from antiphon.storage.changes import Change, Committed, Staged, action_of
from antiphon.storage.file_errors import mapped, mapping, unreadable
from antiphon.storage.file_index import Index
from antiphon.storage.file_layout import (
    Layout,
    in_the_way,
    place,
    print_of,
    remove,
    replace_file,
    sync,
    write_new,
)
from antiphon.storage.file_medium import Medium
from antiphon.storage.file_names import file_name, folded, hashed_name, is_hashed
from antiphon.storage.file_record import NO_PRINT, Entry, Source, Step
from antiphon.storage.journal import JournalEntry, Version
from antiphon.storage.metadata import decode, encode

#: Values up to this many bytes ride in the log, and so are on the disk with one
#: sync; larger ones have a file of their own from the start.
INLINE_BYTES = 1 << 16

#: Bytes of values in one record of the log.
_INLINE_TOTAL = 8 << 20


@dataclass(slots=True)
class _Draft:
    """A key in the middle of a commit; *version* is None when it is gone."""

    name: str
    before: Entry | None
    version: Version | None
    created: float = 0.0
    text: str | None = None
    metadata: dict[str, Any] | None = None
    source: Source = Source.KEPT
    data: bytes = b""


class Committer:
    """Applies changes.

    Args:
        medium: the directory.
        store: named in errors.
    """

    def __init__(self, medium: Medium, store: object) -> None:
        self._medium = medium
        self._layout = medium.layout
        self._store = store
        #: Staged values that a commit may have taken.
        self._risked: set[str] = set()

    # -- Large values --------------------------------------------------------

    def stage(self, chunks: Iterable[bytes]) -> Staged:
        """Put a value aside; on any error nothing of it stays."""
        token = uuid.uuid4().hex
        path = self._layout.staged_file(token)
        size = 0
        with mapping(f"cannot write {path}"):
            stream = open(path, "xb", buffering=0)  # noqa: SIM115 - closed below
        try:
            with stream:
                for chunk in chunks:
                    with mapping(f"cannot write {path}"):
                        _write_all(stream.fileno(), chunk)
                    size += len(chunk)
                with mapping(f"cannot write {path}"):
                    if self._medium.durable:
                        os.fsync(stream.fileno())
                        sync(self._layout.staged)
        except BaseException:
            remove(path)
            raise
        return Staged(token, size)

    def discard(self, staged: Staged) -> None:
        """Remove a staged value that no commit took."""
        with mapping("cannot remove a staged value"), contextlib.ExitStack() as lock:
            if staged.token in self._risked:
                # A commit that was interrupted may have been decided all the same,
                # and is then carried out first.
                lock.enter_context(self._medium.locked())
            remove(self._layout.staged_file(staged.token))
        self._risked.discard(staged.token)

    # -- Commits -------------------------------------------------------------

    def commit(self, changes: Sequence[Change]) -> list[Committed]:
        """Apply *changes* in order: all of them, or none."""
        aside: dict[int, Staged] = {}
        try:
            self._set_aside(changes, aside)
            with self._medium.locked() as index:
                return self._commit(index, changes, aside)
        except BaseException as exc:
            staged_values = [each.data for each in changes if isinstance(each.data, Staged)]
            for staged in [*staged_values, *aside.values()]:
                # It may be decided after all; if not, it is collected later.
                if staged.token in self._risked and isinstance(exc, StoreUnavailable):
                    continue
                with contextlib.suppress(StoreError):
                    self.discard(staged)
            raise

    def _set_aside(self, changes: Sequence[Change], aside: dict[int, Staged]) -> None:
        """Stage what is too large for the log; note it in *aside* by the number of its change."""
        room = _INLINE_TOTAL
        for number, change in enumerate(changes):
            data = change.data
            if not isinstance(data, bytes):
                continue
            room -= len(data)
            if len(data) > INLINE_BYTES or room < 0:
                aside[number] = self.stage([data])

    def _commit(
        self, index: Index, changes: Sequence[Change], aside: dict[int, Staged]
    ) -> list[Committed]:
        steps, drafts, committed = self._decide(index, changes, aside)
        written: list[str] = []
        what = f"cannot write {changes[0].key!r:.80} into {self._layout.root}"
        try:
            renewed = [
                self._prepare(step, drafts[step.key], written) if step.final else False
                for step in steps
            ]
            used = {step.data.decode() for step in steps if step.source is Source.STAGED}
            self._risked |= used
            end = self._medium.append(steps)
        except BaseException as exc:
            _remove_all(written)
            if isinstance(exc, OSError) and not isinstance(exc, StoreError):
                raise mapped(exc, what) from exc
            raise
        self._place(steps, renewed, written, what)
        try:
            self._medium.advance(steps, end)
        except OSError as exc:
            raise _undone(exc, what) from exc
        self._risked -= used
        self._drop_unused(changes, used, aside)
        return committed

    def _decide(
        self, index: Index, changes: Sequence[Change], aside: dict[int, Staged]
    ) -> tuple[list[Step], dict[str, _Draft], list[Committed]]:
        """Work out what becomes of *changes*; nothing is written."""
        now_ns = time.time_ns()
        count = len(changes)
        last = {change.key: number for number, change in enumerate(changes)}
        epoch, sequence, newest = index.head
        drafts: dict[str, _Draft] = {}
        steps: list[Step] = []
        committed: list[Committed] = []
        for number, change in enumerate(changes):
            key = change.key
            draft = drafts.get(key)
            if draft is None:
                draft = drafts[key] = _draft_of(key, index, self._layout)
            action = action_of(change, draft.version, self._store)
            version = Version(epoch, sequence + number + 1, change.entry_id)
            publisher = change.event_id.publisher
            journal = JournalEntry(
                version, key, action, change.event_id, publisher, number + 1 == count, now_ns
            )
            metadata = _apply(change, draft, aside.get(number), now_ns / 1e9, version, self._layout)
            committed.append(Committed(journal, metadata, newest))
            newest = change.entry_id
            steps.append(Step(key, journal, None, draft.name, last[key] == number))
        return steps, drafts, committed

    def _prepare(self, step: Step, draft: _Draft, written: list[str]) -> bool:
        """Write the new files of a key's last step; whether its metadata are new."""
        before = draft.before
        obstacle = None if before is None else in_the_way(self._layout, step.name)
        if obstacle is not None:
            # Once it is decided, nobody could write any more until it is gone.
            raise StoreError(
                f"cannot change the files of {step.key!r:.80}: {obstacle} is a directory; move it"
                " away, and call rescan()"
            )
        if draft.version is None:
            return False
        step.source, step.data = draft.source, draft.data
        if draft.source is Source.INLINE:
            path = self._layout.new_data(step)
            written.append(path)
            data_print = write_new(path, draft.data)
        elif draft.source is Source.STAGED:
            found = print_of(self._layout.staged_file(draft.data.decode()))
            if found is None:
                raise StoreError(
                    f"the staged data of {step.key!r:.200} are gone: they wait an hour"
                    " for their commit"
                )
            data_print = found
        else:
            data_print = NO_PRINT if before is None else before.data
        text = draft.text
        renewed = before is None or before.text != text
        metadata_print = NO_PRINT if before is None else before.metadata
        if renewed and text is not None:
            path = self._layout.new_metadata(step)
            written.append(path)
            metadata_print = write_new(path, text.encode())
        if before is None and is_hashed(step.name):
            path = self._layout.key(step.name)
            replace_file(path, step.key.encode(), durable=False)
            written.append(path)
        step.entry = Entry(
            step.name,
            text,
            draft.created,
            step.journal.time_ns / 1e9,
            step.journal.version,
            data_print,
            metadata_print,
        )
        return renewed

    def _place(self, steps: list[Step], renewed: list[bool], written: list[str], what: str) -> None:
        touched = False
        try:
            for step, new_metadata in zip(steps, renewed, strict=True):
                if step.final:
                    place(self._layout, step, new_metadata=new_metadata)
                    touched = True
        except OSError as exc:
            if not touched and self._is_untouched(next(s for s in steps if s.final)):
                with mapping(what):
                    self._medium.retract()
                _remove_all(written)
                raise mapped(exc, what) from exc
            raise _undone(exc, what) from exc

    def _is_untouched(self, step: Step) -> bool:
        """Return whether not even the first thing to be done for *step* was done."""
        if step.entry is None:
            first = self._layout.metadata(step.name)
        elif step.source is Source.STAGED:
            first = self._layout.staged_file(step.data.decode())
        elif step.source is Source.INLINE:
            first = self._layout.new_data(step)
        else:
            first = self._layout.new_metadata(step)
        return os.path.exists(first)

    def _drop_unused(
        self, changes: Sequence[Change], used: set[str], aside: dict[int, Staged]
    ) -> None:
        if len(changes) == 1:
            return
        staged = {change.data.token for change in changes if isinstance(change.data, Staged)}
        staged.update(each.token for each in aside.values())
        for token in staged - used:
            with contextlib.suppress(OSError):
                remove(self._layout.staged_file(token))


def _draft_of(key: str, index: Index, layout: Layout) -> _Draft:
    before = index.entries.get(key)
    if before is not None:
        return _Draft(before.name, before, before.version, before.created, before.text)
    name = file_name(key)
    if index.odd_names and folded(name) in index.odd_names:
        name = hashed_name(key, name)
    elif in_the_way(layout, name):
        # Encore's keys below ``a.data/`` are in a directory of that name.
        name = hashed_name(key, name)
    return _Draft(name, None, None)


def _apply(
    change: Change,
    draft: _Draft,
    aside: Staged | None,
    now: float,
    version: Version,
    layout: Layout,
) -> dict[str, Any]:
    """Change *draft*; return the metadata of the event."""
    if change.delete:
        metadata = _metadata(draft)
        draft.version = None
        return metadata
    if draft.version is None:
        draft.created = now
        draft.text, draft.metadata = None, {}
        draft.source, draft.data = Source.INLINE, b""
    data = change.data if aside is None else aside
    if isinstance(data, Staged):
        draft.source, draft.data = Source.STAGED, data.token.encode()
    elif data is not None:
        draft.source, draft.data = Source.INLINE, data
    if change.metadata is not None:
        if change.merge and draft.version is not None and draft.text is None:
            raise unreadable(change.key, layout.metadata(draft.name))
        before = _metadata(draft) if change.merge else {}
        draft.metadata = {**before, **change.metadata}
        draft.text = encode(draft.metadata)
    elif draft.version is None:
        draft.text = "{}"
    draft.version = version
    return dict(_metadata(draft))


def _metadata(draft: _Draft) -> dict[str, Any]:
    if draft.metadata is None:
        # A file that cannot be read has none; whoever replaces it loses nothing.
        draft.metadata = {} if draft.text is None else decode(draft.text)
    return draft.metadata


def _write_all(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def _undone(exc: OSError, what: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{what}: {exc.strerror or exc}; it is decided, and is finished by whoever writes next"
    )


def _remove_all(paths: list[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            remove(path)
