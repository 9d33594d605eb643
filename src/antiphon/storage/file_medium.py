"""The directory of a file store: its lock, its log, and the index kept up with it."""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from antiphon.errors import StoreError, StoreUnavailable
from antiphon.storage.changes import StoreIdentity
from antiphon.storage.directory_lock import mend_in_children
from antiphon.storage.file_durability import boot_id, is_on_network, recorded_boot, sync_all
from antiphon.storage.file_errors import mapped
from antiphon.storage.file_identity import is_marked, mark_as_ours, read_identity, write_identity
from antiphon.storage.file_index import Index
from antiphon.storage.file_layout import Layout, collect, remove, replace_file, sync
from antiphon.storage.file_log import LOG_START, Found, Log, Mark, MarkFile, parse_mark
from antiphon.storage.file_record import Kind, Step, pack, unpack
from antiphon.storage.file_repair import Repairs
from antiphon.storage.file_rescan import all_steps
from antiphon.storage.file_snapshot import read_snapshot, write_snapshot

logger = logging.getLogger(__name__)

#: Bytes that the log grows by before a new generation begins: 64 MiB.  Until
#: then it holds all that a power cut may have kept from the files.
CHECKPOINT_BYTES = 64 << 20

#: Attempts at reading what other processes are replacing just now.
_ATTEMPTS = 20

_EPOCH = struct.Struct("<Q")

#: Takes the lock of the directory; gives whether it was taken from another by force.
TakeLock = Callable[[], AbstractContextManager[bool]]


class Medium:
    """What one store object holds of a directory.

    Args:
        layout: where things are.
        take_lock: takes the lock of the directory for a ``with`` block.
        durable: whether a commit is on the disk before it counts.
        journal_length: journal entries to keep.
    """

    def __init__(
        self, layout: Layout, take_lock: TakeLock, *, durable: bool, journal_length: int
    ) -> None:
        self.layout = layout
        self._take_lock = take_lock
        self._journal_length = journal_length
        self._mutex = threading.RLock()
        self.index = Index(journal_length, layout.root)
        self._on_network = is_on_network(layout.hidden)
        # Other machines must not see a mark before what it is about.
        self.durable = durable or self._on_network
        self._marks = MarkFile(layout.mark, on_network=self._on_network)
        self._repairs = Repairs(layout, self._marks, durable=self.durable)
        self._log: Log | None = None
        self._offset = 0
        self._seen: bytes | None = None
        self._distrusted = False
        self._snapshot_bytes = 0

        mend_in_children(self)

    def mend_after_fork(self) -> None:
        """Read anew in a child what a thread of its parent was changing just then."""
        if self._mutex.acquire(blocking=False):
            self._mutex.release()
            return
        self._mutex = threading.RLock()
        # Its descriptor is not closed: that thread may have done so already.
        self.index, self._log, self._seen = (
            Index(self._journal_length, self.layout.root),
            None,
            None,
        )

    def open(self) -> StoreIdentity:
        """Settle what others left, read the index, and return who the store is."""
        with self._take_lock():
            identity = read_identity(self.layout)
            if identity is None:
                identity = self._create()
            elif boot_id() != recorded_boot(self.layout):
                self._verify()
            else:
                try:
                    self._repair()
                except StoreUnavailable:
                    self._salvage()
            mark_as_ours(self.layout)
            collect(self.layout)
        epoch = self.refresh().head.epoch
        return StoreIdentity(identity.store_id, epoch, identity.system)

    def _create(self) -> StoreIdentity:
        """Make the log of a new store, and take up the keys that another program left."""
        layout = self.layout
        for number in layout.generations():
            remove(layout.log(number))
            remove(layout.snapshot(number))
        Log.create(layout.log(1), 1).close()
        self._marks.write(Mark(1, LOG_START))
        replace_file(layout.boot, boot_id(), durable=False)
        steps = all_steps(layout, self.refresh(), encores=not is_marked(layout))
        if steps:
            self.advance(steps, self.append(steps))
        # Last: until it is there, whoever comes begins anew.
        return write_identity(layout, StoreIdentity(uuid.uuid4(), 1, None))

    def claim(self, system: str) -> str:
        """Record *system* unless one is recorded; return the recorded one."""
        with self._take_lock():
            identity = read_identity(self.layout)
            if identity is None:
                raise StoreUnavailable(f"{self.layout.identity} was removed")
            if identity.system is None:
                identity = StoreIdentity(identity.store_id, identity.epoch, system)
                write_identity(self.layout, identity)
            return identity.system or system

    def close(self) -> None:
        with self._mutex:
            log, self._log = self._log, None
            if log is not None:
                log.close()
            self._marks.close()

    def distrust(self) -> None:
        """Read everything anew, and check it, at the next lock: it was lost to another by force."""
        with self._mutex:
            log, self._log = self._log, None
            if log is not None:
                log.close()
            self._seen = None
            self._distrusted = True

    # -- Reading -------------------------------------------------------------

    def refresh(self) -> Index:
        """Return the index, with every commit that was finished before the call."""
        if self._marks.raw() != self._seen:
            with self._mutex:
                self._catch_up()
        return self.index

    @contextlib.contextmanager
    def reading(self) -> Iterator[Index]:
        """Keep the index as it is for the time of the block."""
        self.refresh()
        with self._mutex:
            yield self.index

    def _catch_up(self) -> None:
        for _ in range(_ATTEMPTS):
            raw = self._marks.raw()
            mark = parse_mark(raw)
            if raw == self._seen:
                return
            if mark is None:
                continue
            for lead in (self._follow, self._load):
                with contextlib.suppress(FileNotFoundError):
                    if lead(mark):
                        self._seen = raw
                        return
        raise self._damaged()

    def _damaged(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the log in {self.layout.hidden} is not what its mark says; disconnect and connect"
            " again, which repairs it"
        )

    def _follow(self, mark: Mark) -> bool:
        """Read on from where the index is; whether that leads to *mark*.

        Raises:
            FileNotFoundError: it leads to a generation that is gone.
        """
        while self._log is not None:
            if self._log.generation == mark.generation:
                if self._on_network:
                    self._log.reopen()
                self._apply(self._log.records(self._offset, mark.offset))
                return self._offset == mark.offset
            if self._log.generation > mark.generation:
                return False
            if not self._apply(self._log.records(self._offset)):
                return False
            try:
                following = Log(self.layout.log(self._log.generation + 1), self._log.generation + 1)
            except FileNotFoundError:
                return False
            self._log.close()
            self._log, self._offset = following, LOG_START
        return False

    def _load(self, mark: Mark) -> bool:
        """Read the index anew; ``FileNotFoundError`` if the generation went meanwhile."""
        index = Index(self._journal_length, self.layout.root)
        path = self.layout.snapshot(mark.generation)
        if mark.generation > 1:
            read_snapshot(index, path)
        log = Log(self.layout.log(mark.generation), mark.generation)
        if self._log is not None:
            self._log.close()
        self.index, self._log, self._offset = index, log, LOG_START
        self._snapshot_bytes = os.path.getsize(path) if mark.generation > 1 else 0
        self._apply(log.records(LOG_START, mark.offset))
        return self._offset == mark.offset

    def _apply(self, records: Iterator[Found]) -> bool:
        """Take records up; whether the last one ends the generation."""
        for found in records:
            if found.kind == Kind.COMMIT:
                self.index.apply(unpack(found.body))
            elif found.kind == Kind.EPOCH:
                self.index.begin_epoch(_EPOCH.unpack(found.body)[0])
            self._offset = found.end
            if found.kind == Kind.END:
                return True
        return False

    # -- Writing -------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[Index]:
        """Hold the directory's lock, with everything settled and the index up to date."""
        with self._take_lock() as forced:
            try:
                with self._mutex:
                    if not self._on_network:
                        self._marks.check_place()
                    else:
                        self._marks.reopen()
                        with contextlib.suppress(FileNotFoundError):
                            self._open_log.reopen()
                    if self._distrusted:
                        self._verify()
                        self._distrusted = False
                    elif (
                        self._log is None
                        or self._seen != self._marks.raw()
                        or self._log.size() != self._offset
                    ):
                        self._repair()
                if forced:
                    self._begin_epoch()
            except OSError as exc:
                if isinstance(exc, StoreError):
                    raise
                raise mapped(exc, f"cannot settle what is half done in {self.layout.root}") from exc
            yield self.index

    @property
    def _open_log(self) -> Log:
        if self._log is None:
            raise StoreUnavailable(f"the store in {self.layout.root} was closed meanwhile")
        return self._log

    def append(self, steps: list[Step]) -> int:
        """Decide on *steps*; return the end to be given to ``advance``.  Under the lock.

        Raises:
            OSError: it failed, and nothing is decided.
            StoreUnavailable: the lock was taken away by force.
        """
        end = self._open_log.append(Kind.COMMIT, pack(steps), self._offset, durable=self.durable)
        if self._marks.raw() != self._seen:
            raise StoreUnavailable(
                f"another process took the lock of {self.layout.root} by force while this one was"
                " writing; whether the write happened, reading tells"
            )
        return end

    def retract(self) -> None:
        """Take back what ``append`` decided, while no file was touched."""
        self._open_log.truncate(self._offset)
        if self.durable:
            sync(self._open_log.path)

    def advance(self, steps: list[Step], end: int) -> None:
        """Let everybody see *steps*, whose files are in place."""
        with self._mutex:
            self._seen = self._marks.write(Mark(self._open_log.generation, end))
            self._offset = end
            self.index.apply(steps)
        if end - LOG_START > max(CHECKPOINT_BYTES, self._snapshot_bytes // 2):
            try:
                self.checkpoint()
            except OSError as exc:
                where = self.layout.hidden
                logger.warning("cannot begin a new log in %s, the old one grows on: %s", where, exc)

    def checkpoint(self) -> None:
        """Begin a new generation of the log; under the lock.

        Raises:
            OSError: the old generation goes on.
        """
        layout, old = self.layout, self._open_log
        generation = old.generation + 1
        path = layout.snapshot(generation)
        # Synced even if commits are not: a power cut may take the last of them,
        # but is not to spoil what was written long ago.
        sync_all(layout, old, self._offset)
        with self._mutex:
            write_snapshot(self.index, path)
        log = Log.create(layout.log(generation), generation)
        try:
            sync(layout.hidden)
            old.append(Kind.END, b"", self._offset, durable=True)
            with self._mutex:
                self._seen = self._marks.write(Mark(generation, LOG_START))
                self._log, self._offset = log, LOG_START
                self._snapshot_bytes = os.path.getsize(path)
        except BaseException:
            if self._log is not log:
                log.close()
            raise
        old.close()
        remove(layout.log(old.generation))
        remove(layout.snapshot(old.generation))

    def _begin_epoch(self) -> None:
        """Begin a new history: the former holder of the lock may still be writing."""
        epoch = self.index.head.epoch + 1
        with self._mutex:
            end = self._open_log.append(
                Kind.EPOCH, _EPOCH.pack(epoch), self._offset, durable=self.durable
            )
            self._seen = self._marks.write(Mark(self._open_log.generation, end))
            self._offset = end
            self.index.begin_epoch(epoch)
        # In a new file, where the other does not write.
        self.checkpoint()

    # -- Repairing -----------------------------------------------------------

    def _repair(self) -> None:
        """Settle what others left, and bring the index up to date."""
        if not self._repairs.finish():
            raise self._damaged()
        self._catch_up()

    def _salvage(self) -> None:
        """Settle where the log is damaged, and no power cut has harmed the files.

        At ``open`` only: a holder that lost the lock unawares must not take what the
        next one is writing for damage.
        """
        self._repairs.give_up_rest()
        self._catch_up()
        self._take_up_all()

    def _verify(self) -> None:
        """Settle as ``_repair`` does, where a power cut may have damaged files."""
        self._repairs.verify()
        self._catch_up()
        # A power cut may have taken the end of the log and left the files that it
        # was about.  On a network disk that end was synced, and a look at all files takes long.
        if not self._on_network:
            self._take_up_all()

    def _take_up_all(self) -> None:
        steps = all_steps(self.layout, self.index)
        if steps:
            logger.warning("%d keys in %s are not what its log says", len(steps), self.layout.root)
            self.advance(steps, self.append(steps))
