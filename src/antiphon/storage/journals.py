"""Which journals tell of the changes of a store, whatever it wraps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from antiphon.storage.journal import Journal, JournalEntry, Position, WaitingJournal
from antiphon.storage.journal_watch import JournalWatch, Pauses

#: Between looks at the head of a journal that cannot wait itself, most likely
#: another machine's.
_LOOK_PAUSES = Pauses(0.02, 0.5)

#: Says which key of a wrapper an entry of a wrapped store's journal is about;
#: None: it may be any key.
Named = Callable[[JournalEntry], str | None]


def journals_of(store: object) -> tuple[Journal, ...] | None:
    """Return the journals that together tell of every change of *store*.

    Usually that is the store itself.  A store that wraps others says it with a
    method ``journals()``: a joined store has those of all its stores.  There is
    one journal for each ``store_id``, whose entries have the keys of *store*.

    Args:
        store: a store, connected.

    Returns:
        The journals, of different ``store_id``; None if some change of *store*
        is in no journal, so that nobody can ask what was missed.
    """
    if isinstance(store, Journal) and store.store_id is not None:
        return (store,)
    tell = getattr(store, "journals", None)
    if tell is None:
        return None
    found: tuple[Journal, ...] | None = tell()
    return found


def tells_of_changes(store: Any) -> bool:
    """Whether somebody may hear of the changes of *store*, which has no journal now.

    Wrappers never emit, and stores that could have a journal and have none tell
    of what goes through them only.
    """
    wraps = getattr(store, "stores", None) or hasattr(getattr(store, "store", None), "query")
    return not (wraps or hasattr(store, "since"))


def wait_for_change(journal: Journal, position: Position, timeout_s: float) -> Position:
    """Do what ``WaitingJournal.wait`` does, also with a journal that cannot wait.

    That one is asked for its head now and then.
    """
    if isinstance(journal, WaitingJournal):
        return journal.wait(position, timeout_s)
    return JournalWatch().wait(journal.head, position, timeout_s, _LOOK_PAUSES)


def wake(journal: object) -> None:
    """Have whoever waits for *journal* in this process return now; nothing if it cannot be woken.

    They get the head, be it new or not.
    """
    call = getattr(journal, "wake", None)
    if call is not None:
        call()


def key_in(journal: Journal, key: str) -> str | None:
    """Return the key that an event of the store of *journal* is about, given the event's key.

    That is another one where the journal is that of a store mounted at a
    prefix.  None: any key may have changed.
    """
    return journal.key_of(key) if isinstance(journal, NamedJournal) else key


class NamedJournal:
    """The journal of a wrapped store, with the keys that it has in the wrapper.

    Args:
        journal: of the wrapped store.
        named: says which key an entry is about; called with entries that have one.
        key_of: says it of a key alone, as events have it.
    """

    def __init__(self, journal: Journal, named: Named, key_of: Callable[[str], str | None]) -> None:
        self._journal = journal
        self._named = named
        self._key_of = key_of

    def __repr__(self) -> str:
        return f"<journal of {self._journal!r}>"

    @property
    def store_id(self) -> UUID | None:
        """Identity of the wrapped store's data."""
        return self._journal.store_id

    def head(self) -> Position:
        """Return the position of the newest commit."""
        return self._journal.head()

    def since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*; see ``Journal``."""
        # Asked for now, so that a position that is lost is told at once.
        entries = self._journal.since(position)
        return (self._renamed(entry) for entry in entries)

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head as soon as it is not *position*; see ``WaitingJournal``."""
        return wait_for_change(self._journal, position, timeout_s)

    def wake(self) -> None:
        """Have whoever waits return now; see ``wake``."""
        wake(self._journal)

    def key_of(self, key: str) -> str | None:
        """Return what ``key_in`` does."""
        inner = key_in(self._journal, key)
        return None if inner is None else self._key_of(inner)

    def _renamed(self, entry: JournalEntry) -> JournalEntry:
        if entry.key is None:
            return entry
        name = self._named(entry)
        return entry if name == entry.key else entry._replace(key=name)


def prefixed(journals: Iterable[Journal], prefix: str) -> tuple[Journal, ...]:
    """Return *journals* with *prefix* before each key."""
    if not prefix:
        return tuple(journals)
    return tuple(
        NamedJournal(
            journal,
            lambda entry: None if entry.key is None else prefix + entry.key,
            lambda key: prefix + key,
        )
        for journal in journals
    )


def visible(
    journals: Iterable[Journal] | None, may_name: Callable[[JournalEntry], bool]
) -> tuple[Journal, ...] | None:
    """Return *journals* without the key of an entry where *may_name* does not allow it."""
    if journals is None:
        return None

    def named(entry: JournalEntry) -> str | None:
        return entry.key if may_name(entry) else None

    # Whoever hears of a key by an event may know it.
    return tuple(NamedJournal(journal, named, _same_key) for journal in journals)


def united(*several: tuple[Journal, ...] | None) -> tuple[Journal, ...] | None:
    """Return the journals of stores that are used as one; None if one has none.

    Of a store that is among them twice under different names of its keys there
    is one journal, whose entries may be about any key.
    """
    found: dict[UUID | None, Journal] = {}
    for journals in several:
        if journals is None:
            return None
        for journal in journals:
            known = found.setdefault(journal.store_id, journal)
            if known is not journal and (
                isinstance(known, NamedJournal) or isinstance(journal, NamedJournal)
            ):
                found[journal.store_id] = NamedJournal(known, _any_key, _any_key)
    return tuple(found.values())


def _same_key(key: str) -> str:
    return key


def _any_key(_: object) -> None:
    return None
