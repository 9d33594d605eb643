"""Copying keys from one store to another, so that it can be broken off and begun again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from antiphon.cli.store_folder import Folder
from antiphon.cli.store_opening import transaction_of
from antiphon.cli.store_output import Counted, gives_same
from antiphon.cli.store_words import READ_AT_ONCE, metadata_text, portions, values_of
from antiphon.errors import (
    AntiphonError,
    AuthenticationError,
    AuthorizationError,
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    TransactionTooLarge,
    VersionConflict,
)
from antiphon.storage.abstract_store import AbstractReadOnlyStore, AbstractStore
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.journal import ABSENT
from antiphon.storage.utils import DummyTransactionContext, Readable
from antiphon.terminal.transfer_bars import Batch

#: Bytes up to which a value is held in memory, and shares a transaction.
SMALL_BYTES = 1 << 20

#: What a transaction has at most: keys, and bytes of data.
_PORTION = 200
_PORTION_BYTES = 8 << 20

#: Keys that are copied at a time where a store is at the other end of a network.
JOBS = 8

#: What is wrong with one key, and not with the others.
_OF_ONE_KEY = (
    AuthorizationError,
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    PermissionError,
    VersionConflict,
)


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How it is copied.

    Attributes:
        prefix: what the keys begin with in the source.
        to_prefix: what they begin with in the target instead.
        if_absent: keys that are in the target are left as they are.
        is_quick: values of one size and metadata are taken for the same if that in
            the target is the younger one.
        is_dry: nothing is written.
    """

    prefix: str = ""
    to_prefix: str = ""
    if_absent: bool = False
    is_quick: bool = False
    is_dry: bool = False


@dataclass(slots=True)
class Tally:
    """What became of the keys.

    Attributes:
        copied, copied_bytes: keys that were written, and their data.
        same: keys whose values were the same already.
        present: keys that were there, where such are left as they are.
        gone: keys that were deleted in the source meanwhile.
        failed: keys that could not be copied.
    """

    copied: int = 0
    copied_bytes: int = 0
    same: int = 0
    present: int = 0
    gone: int = 0
    failed: int = 0


_UNREAD = object()


@dataclass(frozen=True, slots=True)
class _Item:
    """A value that is to be written; its data are at hand, or None if they are long."""

    key: str
    new_key: str
    metadata: dict[str, Any] | None
    data: bytes | None
    size: int | None


@dataclass(slots=True)
class _Held:
    items: list[_Item] = field(default_factory=list)
    size: int = 0


class Copier:
    """Copies from *source* to *target*.

    Args:
        source, target: the stores; a folder says ``keeps_metadata = False``.
        options: how.
        tally: counts what becomes of the keys.
        progress: told how far it is.
        tell_failure: called with a key that cannot be copied, and why.
        tell_copied: called with each key that was written, or would be.
    """

    def __init__(
        self,
        source: AbstractReadOnlyStore,
        target: AbstractStore,
        options: CopyOptions,
        tally: Tally,
        *,
        progress: Batch,
        tell_failure: Callable[[str, Exception], None],
        tell_copied: Callable[[str], None],
    ) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._progress = progress
        self._tell_failure = tell_failure
        self._tell_copied = tell_copied
        self._has_metadata = getattr(source, "keeps_metadata", True)
        self._compares_metadata = self._has_metadata and getattr(target, "keeps_metadata", True)
        self._is_transacting = not options.is_dry and _has_transactions(target)
        self._held = _Held()
        self._counting = threading.Lock()
        self.tally = tally

    def copy(self, keys: Sequence[str]) -> None:
        """Copy *keys*; what goes wrong with one of them does not stop the others.

        Raises whatever else goes wrong: a store is away, or full.  What was
        copied until then is in the tally, and in the target.
        """
        with self._threads() as run:
            for some in portions(keys, READ_AT_ONCE):
                for item in run(self._begin, self._values(some)):
                    if item is not None:
                        self._finish(item)
            self._flush()

    @contextlib.contextmanager
    def _threads(self) -> Iterator[Callable[..., Iterator[_Item | None]]]:
        """Give what applies a function to several arguments, and yields the results in order."""
        if _is_near(self._source) and _is_near(self._target):
            yield map  # threads would wait for one another
            return
        pool = ThreadPoolExecutor(JOBS, "antiphon-copy")
        try:
            yield pool.map
        finally:
            pool.shutdown(cancel_futures=True)

    def _values(self, keys: Sequence[str]) -> Iterable[tuple[str, Any]]:
        """Return *keys* with their values, or with ``_UNREAD``, which leaves it to the threads."""
        if _is_near(self._source):
            return values_of(self._source, keys)
        return ((key, _UNREAD) for key in keys)

    # -- One key -------------------------------------------------------------

    def _begin(self, pair: tuple[str, Any]) -> _Item | None:
        """Decide about a key, and write it if it is small; return what is left to be done.

        Threads do that for several keys at once where stores are far away.
        """
        key, value = pair
        try:
            if value is _UNREAD:
                value = self._value_at(self._source, key)
            item = self._look(key, value)
        except _OF_ONE_KEY as exc:
            self._fail(key, exc)
            return None
        if item is None or item.data is None or self._is_transacting:
            return item
        self._write_one_by_one([item])
        return None

    def _finish(self, item: _Item) -> None:
        """Do what is left: a long value, or one that shares a transaction."""
        if item.data is None or not self._is_transacting:
            self._write_one_by_one([item])
            return
        self._held.items.append(item)
        self._held.size += len(item.data)
        if len(self._held.items) >= _PORTION or self._held.size >= _PORTION_BYTES:
            self._flush()

    def _look(self, key: str, value: Any) -> _Item | None:
        """Return what is to be written for *key*; None if nothing is."""
        if value is None:
            self._note("gone")
            return None
        new_key = self._options.to_prefix + key.removeprefix(self._options.prefix)
        if self._options.if_absent and self._target.exists(new_key):
            self._note("present")
            return None
        metadata = value.metadata if self._has_metadata else None
        found = self._value_at(self._target, new_key)
        try:
            if found is not None and self._options.is_quick and self._looks_same(value, found):
                self._note("same")
                return None
            data = _all_if_small(value)
            if found is not None and self._is_same(key, value, data, metadata, found):
                self._note("same")
                return None
        finally:
            _let_go(found)
        return _Item(key, new_key, metadata, data, value.size)

    @staticmethod
    def _value_at(store: AbstractReadOnlyStore, key: str) -> Any:
        try:
            return store.get(key)
        except KeyNotFound:
            return None

    def _looks_same(self, value: Any, found: Any) -> bool:
        return (
            value.size is not None
            and value.size == found.size
            and None not in (value.modified, found.modified)
            and value.modified <= found.modified
            and self._has_same_metadata(value.metadata, found)
        )

    def _is_same(
        self, key: str, value: Any, data: bytes | None, metadata: dict[str, Any] | None, found: Any
    ) -> bool:
        """Return whether *found* has all that *value* has; reads both only as far as needed."""
        sizes = {value.size if data is None else len(data), found.size} - {None}
        if len(sizes) > 1 or not self._has_same_metadata(metadata, found):
            return False
        try:
            if data is not None:
                with found.data as there:
                    return gives_same(BytesIO(data), there)
            # The stream of a long value may have been begun; a second look has one of its own.
            again = self._source.get(key)
            if self._has_metadata and not self._has_same_metadata(again.metadata, found):
                return False
            with again.data as here, found.data as there:
                return gives_same(here, there)
        except (KeyNotFound, VersionConflict):
            return False  # one of them has changed meanwhile: writing it tells which

    def _has_same_metadata(self, metadata: dict[str, Any] | None, found: Any) -> bool:
        if not self._compares_metadata or metadata is None:
            return True
        return metadata_text(metadata) == metadata_text(found.metadata)

    # -- Writing -------------------------------------------------------------

    def _flush(self) -> None:
        """Write what is held, in one transaction if that can be."""
        held, self._held = self._held.items, _Held()
        if len(held) < 2:
            self._write_one_by_one(held)
            return
        try:
            with transaction_of(self._target, f"Copying {len(held)} keys"):
                for item in held:
                    self._put(item, BytesIO(item.data or b""))
        except (*_OF_ONE_KEY, TransactionTooLarge):
            # Nothing of it was written: one by one it shows whose fault it is.
            self._write_one_by_one(held)
            return
        for item in held:
            self._note_copied(item, len(item.data or b""))

    def _write_one_by_one(self, items: Sequence[_Item]) -> None:
        for item in items:
            try:
                self._write_alone(item)
            except _OF_ONE_KEY as exc:
                self._fail(item.key, exc)

    def _write_alone(self, item: _Item) -> None:
        if self._options.is_dry:
            self._note_copied(item, item.size or 0)
            return
        try:
            count = self._write(item)
        except VersionConflict:
            if not (self._options.if_absent and self._target.exists(item.new_key)):
                raise  # of the source: the value was changed while it was read
            self._note("present")  # another one was quicker
            return
        self._note_copied(item, count)

    def _write(self, item: _Item) -> int:
        if item.data is not None:
            self._put(item, BytesIO(item.data))
            return len(item.data)
        value = self._source.get(item.key)
        with value.data as stream, self._progress.large(item.key, value.size) as step:
            counted = Counted(stream, step)
            # Data and metadata of this look, which belong together.
            metadata = value.metadata if self._has_metadata else None
            self._put(_Item(item.key, item.new_key, metadata, None, value.size), counted)
            return counted.count

    def _put(self, item: _Item, data: Readable) -> None:
        condition: dict[str, Any] = {"expect": ABSENT} if self._options.if_absent else {}
        if item.metadata is None and self._compares_nothing_but_data():
            self._target.set_data(item.new_key, data, **condition)
        else:
            self._target.set(item.new_key, (data, item.metadata or {}), **condition)

    def _compares_nothing_but_data(self) -> bool:
        """Whether the source has no metadata, and the target may have some to be left alone."""
        return not self._has_metadata and getattr(self._target, "keeps_metadata", True)

    # -- The tally -----------------------------------------------------------

    def _note_copied(self, item: _Item, size: int) -> None:
        with self._counting:
            self.tally.copied_bytes += size
            self._tell_copied(item.new_key)
        self._note("copied")

    def _note(self, what: str) -> None:
        with self._counting:
            setattr(self.tally, what, getattr(self.tally, what) + 1)
            self._progress.step(1)

    def _fail(self, key: str, error: Exception) -> None:
        if isinstance(error, AuthenticationError):
            raise error  # of no key: nobody is let in
        if isinstance(error, KeyNotFound):
            self._note("gone")
            return
        with self._counting:
            self._tell_failure(key, error)
        self._note("failed")


def _is_near(store: AbstractReadOnlyStore) -> bool:
    """Whether an answer comes so quickly that it is not worth asking several at once."""
    return isinstance(store, BackendStore | Folder)


def _let_go(value: Any) -> None:
    """Close what *value* holds open, which may be a connection."""
    if value is not None:
        with contextlib.suppress(AntiphonError, OSError):
            value.data.close()


def _all_if_small(value: Any) -> bytes | None:
    """Return the data of *value*; None if they are long."""
    if value.size is not None and value.size > SMALL_BYTES:
        _let_go(value)
        return None
    with contextlib.closing(value.data) as stream:
        pieces: list[bytes] = []
        held = 0
        while held <= SMALL_BYTES and (piece := stream.read(SMALL_BYTES + 1 - held)):
            pieces.append(piece)
            held += len(piece)
    return b"".join(pieces) if held <= SMALL_BYTES else None


def _has_transactions(store: AbstractStore) -> bool:
    opened = transaction_of(store, "Copying")
    return not isinstance(opened, contextlib.nullcontext | DummyTransactionContext)
