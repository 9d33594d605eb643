"""Which journals tell of the changes of a store that wraps others."""

from collections.abc import Callable
from typing import Any

import pytest

from antiphon.errors import NotConnected
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import Journal, JournalEntry, Position, WaitingJournal
from antiphon.storage.journals import journals_of, key_in, wait_for_change
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.passwords import make_encoder
from antiphon.storage.simple_auth_store import SimpleAuthStore
from antiphon.storage.string_value import StringValue
from tests.unit.storage.encore_store import EncoreStore


def entries_of(journal: Journal) -> list[JournalEntry]:
    """Return the whole journal."""
    head = journal.head()
    return list(journal.since(head._replace(sequence=0, entry_id=b"")))


def keys_in(journal: Journal) -> list[str | None]:
    """Return the key of each entry."""
    return [entry.key for entry in entries_of(journal)]


def only(store: object) -> Journal:
    """Return the one journal of *store*."""
    journals = journals_of(store)
    assert journals is not None
    assert 1 == len(journals)
    return journals[0]


def passwords(store: AbstractStore, cls: type[SimpleAuthStore] = SimpleAuthStore) -> Any:
    """Return *store* for a user with a password."""
    auth = cls(store, make_encoder(b"salt", lambda given: given))
    auth.set_password("alice", "secret")
    auth.connect({"username": "alice", "password": "secret"})
    return auth


def test_a_store_with_a_journal_is_its_own() -> None:
    """Nothing is between."""
    store = DictMemoryStore()

    assert (store,) == journals_of(store)


def test_a_store_without_one_has_none() -> None:
    """Nobody can be asked what was missed."""
    assert journals_of(EncoreStore()) is None


def test_a_joined_store_has_those_of_all_its_stores() -> None:
    """Each once, also a store that comes twice."""
    one, other = DictMemoryStore(), DictMemoryStore()
    inner = JoinedStore([other, one])

    assert (one, other) == journals_of(JoinedStore([one, inner]))


def test_one_store_without_a_journal_leaves_the_joined_one_without() -> None:
    """Its changes would be missed, and nobody could tell."""
    assert journals_of(JoinedStore([DictMemoryStore(), EncoreStore()])) is None


def test_a_mounted_store_names_its_own_keys() -> None:
    """What is mounted at a prefix changes keys with that prefix."""
    mount, backing = DictMemoryStore(), DictMemoryStore()
    mounted = MountedStore("p/", mount, backing)
    backing.set("x", StringValue(b""))
    mounted.set("p/a", StringValue(b""))
    journals = journals_of(mounted) or ()

    assert [["p/a"], ["x"]] == [keys_in(journal) for journal in journals]
    assert [mount.store_id, backing.store_id] == [each.store_id for each in journals]
    assert ["p/k", "k"] == [key_in(each, "k") for each in journals]


def test_one_mounted_in_another_has_both_prefixes() -> None:
    """Names are made anew at each level."""
    inner = MountedStore("q/", DictMemoryStore(), DictMemoryStore())
    mounted = MountedStore("p/", inner, DictMemoryStore())
    mounted.set("p/q/a", StringValue(b""))
    first = (journals_of(mounted) or ())[0]

    assert ["p/q/a"] == keys_in(first)
    assert "p/q/k" == key_in(first, "k")


def test_one_store_under_two_names_may_change_any_key() -> None:
    """An entry has one key, so it tells none."""
    store = DictMemoryStore()
    journal = only(MountedStore("p/", store, store))
    store.set("a", StringValue(b""))

    assert [None] == keys_in(journal)
    assert key_in(journal, "a") is None


def test_a_cache_has_no_journal() -> None:
    """What it serves may be older than what its source tells."""
    mounted = MountedStore("p/", DictMemoryStore(), DictMemoryStore(), fill=True)
    mounted.connect()

    assert journals_of(mounted) is None
    assert journals_of(JoinedStore([mounted])) is None


def test_a_store_with_passwords_names_no_user() -> None:
    """That a password was changed is an entry, and not of whom."""
    journal = only(passwords(DictMemoryStore()))

    assert [None] == keys_in(journal)


def test_a_store_with_passwords_names_what_the_user_may_see() -> None:
    """A subclass that hides keys hides them in the journal, too."""

    class Hiding(SimpleAuthStore):
        def check_permissions(self, key: str | None = None) -> set[str]:
            return set() if key == "secret" else {"connect", "exists", "get"}

    store = DictMemoryStore()
    auth = passwords(store, Hiding)
    for key in ("a", "secret"):
        store.set(key, StringValue(b""))

    assert [None, "a", None] == keys_in(only(auth))


def test_a_store_with_passwords_tells_nothing_to_who_is_not_connected() -> None:
    """A journal that was asked for before names no key any more."""
    auth = passwords(DictMemoryStore())
    auth.set("a", StringValue(b""))
    journal = only(auth)
    assert [None, "a"] == keys_in(journal)
    auth.disconnect()

    assert [None, None] == keys_in(journal)
    with pytest.raises(NotConnected):
        journals_of(auth)


def test_permissions_hold_in_the_journals_of_what_is_wrapped() -> None:
    """An authorizing store over a joined one has its journals, filtered."""
    one, other = DictMemoryStore(), DictMemoryStore()
    store = AuthorizingStore(JoinedStore([one, other]))
    store.as_user(User("bob")).set("bobs", StringValue(b""))
    alice = store.as_user(User("alice"))
    alice.set("hers", StringValue(b""))
    journals = journals_of(alice) or ()

    assert [[None, "hers"], []] == [keys_in(journal) for journal in journals]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda store: JoinedStore([store]),
        lambda store: MountedStore("p/", store, DictMemoryStore()),
        passwords,
        lambda store: AuthorizingStore(store, user=User("alice")),
    ],
)
def test_wrapped_journals_can_be_waited_for(wrap: Callable[[Any], Any]) -> None:
    """They return at once when they are behind, and in the end when they are not."""
    store = DictMemoryStore()
    wrapper = wrap(store)
    wrapper.is_connected() or wrapper.connect()
    journal = (journals_of(wrapper) or ())[0]
    assert isinstance(journal, WaitingJournal)
    before = journal.head()
    store.set("a", StringValue(b""))

    assert store.head() == journal.wait(before, 30)
    assert store.head() == journal.wait(store.head(), 0.01)


def test_a_journal_that_cannot_wait_is_asked_again() -> None:
    """Somebody else's need only have ``head``."""

    class Plain:
        def __init__(self) -> None:
            self.store = DictMemoryStore()
            self.store_id = self.store.store_id
            self.asked = 0

        def head(self) -> Position:
            self.asked += 1
            if self.asked == 3:
                self.store.set("a", StringValue(b""))
            return self.store.head()

        def since(self, position: Position) -> list[JournalEntry]:
            return list(self.store.since(position))

    journal = Plain()
    before = journal.store.head()

    assert 1 == wait_for_change(journal, before, 30).sequence
    assert 3 == journal.asked
