"""The API of all stores: what may be called, what it promises, what it emits.

Written as Encore's: the base classes can be instantiated, each method may be
overridden, and what a subclass leaves out is derived from what it has where
that is possible.  Whoever writes a new backend derives from ``BackendStore``
instead, which asks for a handful of short hooks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

from antiphon.errors import AuthorizationError, InvalidValue, StoreError
from antiphon.storage.journal import Version
from antiphon.storage.portions import Bulk, InOne
from antiphon.storage.read_only_store import AbstractReadOnlyStore
from antiphon.storage.utils import BUFFER_BYTES, Readable
from antiphon.storage.value import Value, split_value

__all__ = [
    "AbstractAuthorizingStore",
    "AbstractReadOnlyStore",
    "AbstractStore",
    "AuthorizationError",
    "StoreError",
    "Value",
]


class AbstractStore(AbstractReadOnlyStore):
    """Stores that can be written.

    A subclass has at least ``set_data`` and ``set_metadata``, or ``set``.
    ``delete`` and ``transaction`` may be missing.
    """

    def info(self) -> dict[str, Any]:
        """Return what the store says about itself: ``readonly``, ``authorizing`` and more."""
        return {"readonly": False, "authorizing": False}

    def set(
        self,
        key: str,
        value: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        """Store data and metadata under *key*, replacing what is there.

        Args:
            key: any text of at most 1 MiB as UTF-8, ``""`` included.
            value: a ``Value``, or the tuple ``(stream, metadata)``.  The stream
                is read to its end and not closed.
            buffer_size: bytes to read at a time.
            expect: write only if the key has this version now (``ABSENT``:
                only if there is no such key); None does not check.

        Returns:
            The new version of the key; None where the store has no versions,
            or if a transaction is open, whose commit gives it.

        Raises:
            InvalidKey, InvalidValue: nothing was written.
            VersionConflict: the key has another version; nothing was written.
            StoreFull: the medium has no room; nothing was written.
            StoreUnavailable: the write may or may not have happened; reading tells.

        Emits ``StoreSetEvent`` if the key is new and ``StoreUpdateEvent`` if it
        is not, after the commit and outside every lock, so that a listener may
        read the key back; before it progress events if the data is longer than
        *buffer_size* bytes.  If the stream fails nothing was written, nothing
        is emitted, and its error is raised.
        """
        self._refuse_condition(expect)
        data, metadata = split_value(value)
        with self._transaction_if_any(f"Setting key {key!r}"):
            self.set_metadata(key, metadata)
            self.set_data(key, data, buffer_size)
        return None

    def set_data(
        self,
        key: str,
        data: Readable,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        """Store *data* under *key* and leave its metadata; a new key gets none.

        Arguments, result, errors and events are those of ``set``.
        """
        raise NotImplementedError

    def set_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        """Replace the metadata of *key* and leave its data; a new key gets no data.

        Args:
            key: the key.
            metadata: text to None, bool, int (64 bits), float, text, bytes,
                datetime, date, UUID, or lists, tuples, sets and dictionaries
                (with text as keys) of these; at most 4 MiB as text.
            expect: as in ``set``.

        Result, errors and events are those of ``set``.
        """
        raise NotImplementedError

    def update_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        """Add *metadata* to that of *key*, as ``dict.update`` does.

        Arguments, result, events and errors are those of ``set_metadata``, and:

        Raises:
            KeyNotFound: there is no such key; nothing was written.
        """
        raise NotImplementedError

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        """Delete *key*.

        Args:
            key: the key.
            expect: delete only if the key has this version now.

        Returns:
            The version of the deletion; None as in ``set``.

        Raises:
            KeyNotFound: there is no such key.
            VersionConflict: the key has another version, and was not deleted.

        Emits ``StoreDeleteEvent`` with the metadata that the key had.
        """
        raise NotImplementedError

    def transaction(self, notes: str) -> contextlib.AbstractContextManager[Any]:
        """Return a context manager that makes the changes in its block one.

        Args:
            notes: says in words what is done; for people.

        The block's changes are committed at its end, or dropped if it raises.
        Blocks nest; only the outermost counts.  Reads in the block see its
        changes, no one else does.  At the start ``StoreTransactionStartEvent``
        is emitted, after the commit ``StoreTransactionEndEvent`` with state
        ``done`` and the events of the changes in order, after a rollback only
        ``StoreTransactionEndEvent`` with state ``failed``.
        """
        raise NotImplementedError

    # -- Many keys at once ---------------------------------------------------

    def multiset(
        self, keys: Iterable[str], values: Iterable[Any], buffer_size: int = BUFFER_BYTES
    ) -> None:
        """Set each of *keys* to the value beside it; one transaction, where there are any.

        A Redis would keep all others waiting for a large one, so there many keys
        are several commits, each of them whole: after an error those before it
        stay.  Inside of a transaction they are part of that.

        What the longer of the two has too many is ignored.  Errors and events
        are those of ``set`` and ``transaction``.
        """
        with self._bulk("Setting several keys") as bulk:
            for key, value in zip(keys, values, strict=False):
                self.set(key, value, buffer_size)
                bulk.step()

    def multiset_data(
        self, keys: Iterable[str], datas: Iterable[Readable], buffer_size: int = BUFFER_BYTES
    ) -> None:
        """Set the data of each of *keys* to the stream beside it; see ``multiset``."""
        with self._bulk("Setting the data of several keys") as bulk:
            for key, data in zip(keys, datas, strict=False):
                self.set_data(key, data, buffer_size)
                bulk.step()

    def multiset_metadata(
        self, keys: Iterable[str], metadatas: Iterable[Mapping[str, Any]]
    ) -> None:
        """Set the metadata of each of *keys* to those beside it; see ``multiset``."""
        with self._bulk("Setting the metadata of several keys") as bulk:
            for key, metadata in zip(keys, metadatas, strict=False):
                self.set_metadata(key, metadata)
                bulk.step()

    def multiupdate_metadata(
        self, keys: Iterable[str], metadatas: Iterable[Mapping[str, Any]]
    ) -> None:
        """Update the metadata of each of *keys* with those beside it; see ``multiset``."""
        with self._bulk("Updating the metadata of several keys") as bulk:
            for key, metadata in zip(keys, metadatas, strict=False):
                self.update_metadata(key, metadata)
                bulk.step()

    # -- Copying in ----------------------------------------------------------

    def from_file(
        self,
        key: str,
        path: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        """Store the bytes of the file at *path* as the data of *key*; see ``set_data``."""
        with open(path, "rb") as file:
            return self._set_data_from(key, file, buffer_size, expect)

    def from_bytes(
        self,
        key: str,
        data: bytes,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        """Store *data* as the data of *key*; see ``set_data``."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidValue(f"the data of {key!r:.80} must be bytes, not {type(data).__name__}")
        return self._set_data_from(key, BytesIO(data), buffer_size, expect)

    def _set_data_from(
        self, key: str, data: Readable, buffer_size: int, expect: Version | None
    ) -> Version | None:
        if expect is None:
            # A subclass written for Encore knows no expect.
            return self.set_data(key, data, buffer_size)
        return self.set_data(key, data, buffer_size, expect=expect)

    # -- Helpers -------------------------------------------------------------

    def _bulk(self, notes: str) -> Bulk:
        """Return the block in which the methods for many keys write."""
        return InOne(self._transaction_if_any(notes))

    def _transaction_if_any(self, notes: str) -> contextlib.AbstractContextManager[Any]:
        try:
            return self.transaction(notes)
        except NotImplementedError:
            return contextlib.nullcontext()

    def _refuse_condition(self, expect: Version | None) -> None:
        if expect is not None:
            raise StoreError(
                f"a {type(self).__name__} has no versions, so no write can be conditional;"
                " leave out expect="
            )


class AbstractAuthorizingStore(AbstractStore):
    """Stores that know who may do what.

    A permission is a name, such as ``owned``, which every key has; tags of
    users, groups or roles have it.  What tags there are is up to the store.
    """

    def info(self) -> dict[str, Any]:
        """Return what the store says about itself: ``readonly``, ``authorizing`` and more."""
        return {"readonly": False, "authorizing": True}

    @property
    def user_tag(self) -> str:
        """The tag of the user who is connected."""
        return "user"

    def get_permissions(self, key: str) -> dict[str, set[str]]:
        """Return the permissions of *key* and the tags that have them.

        Raises:
            KeyNotFound: there is no such key, or the user may not see it.
            AuthorizationError: the user sees the key, and does not own it.
        """
        return self.get(key).permissions

    def set_permissions(self, key: str, permissions: Mapping[str, set[str]]) -> None:
        """Replace the permissions of *key*; ``owned`` must have at least one tag.

        Raises as ``get_permissions`` does.
        """
        raise NotImplementedError

    def update_permissions(self, key: str, permissions: Mapping[str, set[str]]) -> None:
        """Add tags to the permissions of *key*.

        Raises as ``get_permissions`` does.
        """
        raise NotImplementedError
