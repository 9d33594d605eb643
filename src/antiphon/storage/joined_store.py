"""A store that joins several: the first that has a key is the one that counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

from antiphon.errors import (
    InvalidValue,
    KeyNotFound,
    PermissionsUnsupported,
    ReadOnlyStore,
    TransactionError,
)
from antiphon.storage.abstract_store import (
    AbstractAuthorizingStore,
    AbstractReadOnlyStore,
    AbstractStore,
)
from antiphon.storage.changes import conflict, missing
from antiphon.storage.checks import checked_expect, checked_key, checked_select
from antiphon.storage.conditions import check_honours, condition
from antiphon.storage.journal import ABSENT, Journal, Version
from antiphon.storage.journals import journals_of, united
from antiphon.storage.layered_store import LayeredStore, writable
from antiphon.storage.utils import BUFFER_BYTES
from antiphon.storage.value import Value

_T = TypeVar("_T")


class JoinedStore(LayeredStore, AbstractAuthorizingStore):
    """All keys of several stores; where more than one has a key, the first one's counts.

    What is written goes into the first store.  The first write of a key that
    only a later one has keeps what it leaves alone: setting the metadata copies
    the data, and the other way round.  Deleting a key deletes it from the first
    store that has it; what a later store has under it shows again then.

    A store that fails is not passed over: its error is raised, for what a later
    store has under the key may be something else.

    It emits nothing itself: the events are those of the stores within.

    Args:
        stores: the stores, the most important one first.  They are connected
            with this store, and stay so after it.
    """

    def __init__(self, stores: Iterable[AbstractReadOnlyStore]) -> None:
        super().__init__()
        self.stores: list[Any] = list(stores)
        for store in self.stores:
            if not hasattr(store, "get"):
                raise InvalidValue(f"JoinedStore takes a list of stores; {store!r:.80} is none")

    def __repr__(self) -> str:
        return f"<JoinedStore of {', '.join(map(repr, self.stores))}>"

    # -- Connecting ----------------------------------------------------------

    def connect(self, credentials: Any = None) -> None:
        """Connect those of the stores that are not connected yet."""
        for store in self.stores:
            if not store.is_connected():
                store.connect(credentials)
        super().connect(credentials)

    def disconnect(self) -> None:
        """Stop using the stores; they were given, and stay connected."""
        super().disconnect()

    def info(self) -> dict[str, Any]:
        """Return ``readonly`` and ``authorizing`` of the first store, which takes the writes."""
        first = self.stores[0].info() if self.stores else {"readonly": True}
        return {
            "readonly": bool(first.get("readonly", False)),
            "authorizing": bool(first.get("authorizing", False)),
        }

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> Value:
        found: Value = self._read(key, lambda store: store.get(key))
        return found

    def get_data(self, key: str) -> BinaryIO:
        stream: BinaryIO = self._read(key, lambda store: store.get_data(key))
        return stream

    def get_data_range(
        self, key: str, start: int | None = None, end: int | None = None
    ) -> BinaryIO:
        stream: BinaryIO = self._read(key, lambda store: store.get_data_range(key, start, end))
        return stream

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        names = checked_select(select)
        found: dict[str, Any] = self._read(key, lambda store: store.get_metadata(key, names))
        return found

    def exists(self, key: str) -> bool:
        key = checked_key(key)
        return any(store.exists(key) for store in self.stores)

    def _read(self, key: str, read: Callable[[Any], _T], *, skip: int = 0) -> _T:
        checked_key(key)
        for store in self.stores[skip:]:
            # Read at once, not after a look: it may be deleted in between.
            with contextlib.suppress(KeyError):
                return read(store)
        raise missing(key, self)

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ``(key, metadata)`` of the keys whose metadata match all of *kwargs*.

        Each key is asked of the store that counts for it: one that matches in a
        later store only, and not in an earlier one that has it, does not match.
        Nothing is collected; each key of a later store is looked for in those
        before it.  So a key that comes into one of these while the result is
        read, or goes from it, may be in the result twice, or not at all.
        """
        names = checked_select(select)
        for number, store in enumerate(self.stores):
            for key, metadata in store.query(names, **kwargs):
                if not self._is_hidden(key, number):
                    yield key, metadata

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        for number, store in enumerate(self.stores):
            for key in store.query_keys(**kwargs):
                if not self._is_hidden(key, number):
                    yield key

    def glob(self, pattern: str) -> Iterator[str]:
        for number, store in enumerate(self.stores):
            for key in store.glob(pattern):
                if not self._is_hidden(key, number):
                    yield key

    def _is_hidden(self, key: str, number: int) -> bool:
        return any(store.exists(key) for store in self.stores[:number])

    # -- Writing -------------------------------------------------------------

    def _top(self) -> AbstractStore:
        if not self.stores:
            raise ReadOnlyStore(f"{self!r} has no store that could be written to")
        return writable(self.stores[0])

    def _get_below(self, key: str) -> Any:
        return self._read(key, lambda store: store.get(key), skip=1)

    def multiset(
        self, keys: Iterable[str], values: Iterable[Any], buffer_size: int = BUFFER_BYTES
    ) -> None:
        self._top().multiset(keys, values, buffer_size)

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        """Delete *key* from the first store that has it.

        Raises:
            KeyNotFound: no store has it.
            VersionConflict: it has another version there.
            ReadOnlyStore: that store can only be read.
            TransactionError: a transaction is open, and that store is not the
                first, so a rollback would not bring the key back.
        """
        expect = checked_expect(expect)
        while True:
            store = self._holder_to_delete_from(key, expect)
            try:
                return store.delete(key, **condition(expect))
            except KeyNotFound:
                # If somebody else deleted it there meanwhile, a later store's shows.
                if store.exists(key):
                    raise

    def _holder_to_delete_from(self, key: str, expect: Version | None) -> AbstractStore:
        try:
            number, store = self._holder(key)
        except KeyNotFound:
            if expect in (None, ABSENT):
                raise
            raise conflict(key, expect, None, self) from None
        if number and getattr(self._top(), "in_transaction", False):
            raise TransactionError(
                f"cannot delete {key!r:.200} from {store!r} inside a transaction of"
                f" {self.stores[0]!r}: a rollback would not bring it back; delete it after it"
            )
        check_honours(store, expect)
        return writable(store)

    def transaction(self, notes: str = "") -> contextlib.AbstractContextManager[Any]:
        """Return a transaction of the first store, which takes the writes."""
        return self._top().transaction(notes)

    def _holder(self, key: str) -> tuple[int, Any]:
        """Return number and store of the first store that has *key*."""
        checked_key(key)
        for number, store in enumerate(self.stores):
            if store.exists(key):
                return number, store
        raise missing(key, self)

    # -- The journals --------------------------------------------------------

    def journals(self) -> tuple[Journal, ...] | None:
        """Return those of all stores within, once each; None if one of them has none."""
        return united(*map(journals_of, self.stores))

    # -- Permissions ---------------------------------------------------------

    @property
    def user_tag(self) -> str:
        """The tag of the user who is connected to the first store."""
        if not self.stores or not hasattr(self.stores[0], "user_tag"):
            raise PermissionsUnsupported(f"the first store of {self!r} knows no users")
        tag = self.stores[0].user_tag
        # A method in stores that were written for Encore's joined store.
        return str(tag() if callable(tag) else tag)

    def get_permissions(self, key: str) -> dict[str, set[str]]:
        """Return the permissions of *key* in the first store that has it.

        Raises:
            PermissionsUnsupported: that store has none; and as in
                ``AbstractAuthorizingStore``.
        """
        return self._authorizing(key).get_permissions(key)

    def set_permissions(self, key: str, permissions: Mapping[str, Any]) -> None:
        """Replace the permissions of *key* in the first store that has it."""
        self._authorizing(key).set_permissions(key, permissions)

    def update_permissions(self, key: str, permissions: Mapping[str, Any]) -> None:
        """Add to the permissions of *key* in the first store that has it."""
        self._authorizing(key).update_permissions(key, permissions)

    def _authorizing(self, key: str) -> AbstractAuthorizingStore:
        _, store = self._holder(key)
        if not hasattr(store, "get_permissions"):
            raise PermissionsUnsupported(f"{store!r} keeps no permissions of {key!r:.200}")
        return store  # type: ignore[no-any-return]
