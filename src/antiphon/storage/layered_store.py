"""Writing to one store what shows in front of others.

A joined store and a mounted one write into their first store only.  The first
write of a key that only a store below has must not lose what it leaves alone:
setting the data keeps the metadata, and the other way round.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from antiphon.errors import AuthorizationError, ReadOnlyStore, VersionConflict
from antiphon.storage.abstract_store import AbstractReadOnlyStore, AbstractStore
from antiphon.storage.changes import conflict
from antiphon.storage.checks import checked_expect, checked_key
from antiphon.storage.conditions import check_honours, condition, honours_expect
from antiphon.storage.journal import ABSENT, Version, pledged_as, version_of
from antiphon.storage.metadata import normalise
from antiphon.storage.portions import Bulk, bulk_of
from antiphon.storage.replaying import Replayable
from antiphon.storage.utils import BUFFER_BYTES, Readable
from antiphon.storage.value import metadata_of, split_value

#: How often a write is tried while others change the same key.  Each conflict
#: means that one of them got through.
_TRIES = 1000


class LayeredStore(AbstractStore):
    """A store whose writes go to one store that lies over others."""

    # -- What a subclass says ------------------------------------------------

    def _top(self) -> AbstractStore:
        """Return the store that takes the writes."""
        raise NotImplementedError

    def _name_on_top(self, key: str) -> str:
        """Return the key of *key* in the store that takes the writes; raise if it has none."""
        return key

    def _get_below(self, key: str) -> Any:
        """Return the value that the stores below have under *key*; raise ``KeyError``."""
        raise NotImplementedError

    def _begin_write(self, key: str) -> None:
        """Do what has to be done just before *key* is written."""

    def _end_write(self, key: str) -> None:
        """Do what has to be done just after *key* was written."""

    # -- Writing -------------------------------------------------------------

    def _bulk(self, notes: str) -> Bulk:
        return bulk_of(self._top(), notes)

    @property
    def honours_expect(self) -> bool:
        """Whether writes may be conditional: where they may in the store that takes them."""
        return honours_expect(self._top())

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a transaction of the store that takes the writes."""
        return bool(getattr(self._top(), "in_transaction", False))

    def set(
        self,
        key: str,
        value: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        name, wanted = self._prepare(key, expect)
        self._begin_write(key)
        version = self._top().set(name, value, buffer_size, **condition(wanted))
        self._end_write(key)
        return version

    def set_data(
        self,
        key: str,
        data: Readable,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        with Replayable(data) as source:
            return self._change(
                key,
                expect,
                lambda top, name, wanted: top.set_data(name, source.again(), buffer_size, **wanted),
                lambda below: (source.again(), metadata_of(below)),
                reads_data=False,
            )

    def set_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        plain = normalise(metadata)
        return self._change(
            key,
            expect,
            lambda top, name, wanted: top.set_metadata(name, plain, **wanted),
            lambda below: (split_value(below)[0], plain),
        )

    def update_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        plain = normalise(metadata)
        return self._change(
            key,
            expect,
            lambda top, name, wanted: top.update_metadata(name, plain, **wanted),
            lambda below: (split_value(below)[0], {**metadata_of(below), **plain}),
        )

    def _change(
        self,
        key: str,
        expect: Version | None,
        write: Callable[[AbstractStore, str, dict[str, Any]], Version | None],
        copy_up: Callable[[Any], tuple[Readable, Mapping[str, Any]]],
        *,
        reads_data: bool = True,
    ) -> Version | None:
        """Change *key* on top, or make it there of what is below and what is new.

        Args:
            key: the key.
            expect: what the caller expects.
            write: changes a key that is on top, or on neither.
            copy_up: returns what the value of a key that is only below becomes.
            reads_data: whether it takes the data of that value.
        """
        top = self._top()
        for tries_left in reversed(range(_TRIES)):
            name, wanted = self._prepare(key, expect)
            self._begin_write(key)
            is_on_top, version = _look(top, name)
            below = None if is_on_top else self._below_if_any(key)
            try:
                if below is None:
                    done = write(top, name, condition(wanted or version))
                else:
                    with closing_value(below) if reads_data else contextlib.nullcontext():
                        made = copy_up(below)
                        done = top.set(name, made, **condition(self._for_copy(top, wanted)))
            except VersionConflict:
                # Somebody made the key on top meanwhile, or deleted it there: then
                # what is below shows again, and must not be hidden by half a value.
                if expect is not None or not tries_left:
                    raise
            else:
                self._end_write(key)
                return done
        raise AssertionError("unreachable: the last try raises")

    def _for_copy(self, top: AbstractStore, wanted: Version | None) -> Version | None:
        if wanted is not None or not honours_expect(top):
            return wanted
        # A transaction that deleted the key before has its condition already.
        return None if getattr(top, "in_transaction", False) else ABSENT

    def _prepare(self, key: str, expect: Version | None) -> tuple[str, Version | None]:
        """Return the key on top, and what to expect there for *expect* to hold of the whole."""
        name = self._name_on_top(checked_key(key))
        wanted = checked_expect(expect)
        if wanted is None:
            return name, None
        top = self._top()
        check_honours(top, wanted)
        if top.exists(name):
            return name, wanted
        below = self._below_if_any(key)
        present = None if below is None else getattr(below, "version", None)
        if wanted != (ABSENT if below is None else present):
            raise conflict(key, wanted, present, self)
        return name, pledged_as(ABSENT, wanted)

    def _below_if_any(self, key: str) -> Any:
        try:
            return self._get_below(key)
        except KeyError:
            return None


def _look(top: AbstractStore, name: str) -> tuple[bool, Version | None]:
    """Return whether *top* has the key, and the version to expect of it, where that can be told."""
    if getattr(top, "in_transaction", False) or not honours_expect(top):
        return top.exists(name), None
    try:
        version = getattr(top.get(name), "version", None)
    except KeyError:
        return False, None
    except AuthorizationError:  # the user may write it perhaps, and not read it
        return top.exists(name), None
    return True, version


@contextlib.contextmanager
def closing_value(value: Any) -> Iterator[None]:
    """Close the stream of *value* at the end of the block, if it can be closed."""
    try:
        yield
    finally:
        close = getattr(split_value(value)[0], "close", None)
        if close is not None:
            close()


def writable(store: AbstractReadOnlyStore) -> AbstractStore:
    """Return *store* if it is one that can be written.

    Raises:
        ReadOnlyStore: it is not.
    """
    if not hasattr(store, "set_data"):
        raise ReadOnlyStore(f"{store!r} can only be read")
    return store  # type: ignore[return-value]


def version_in(store: Any, key: str) -> Version | None:
    """Return the version of *key* in *store*; None if it is not there, or has none."""
    ask = getattr(store, "get_version", None)
    try:
        if ask is not None:
            version: Version | None = ask(key)
            return version
        value = store.get(key)
        with closing_value(value):
            return version_of(value)
    except KeyError:
        return None
