"""Permissions over HTTP: what the server adds to the authorizing store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from antiphon.server import Account, Accounts, token_hash
from antiphon.storage.authorizing_store import AuthorizingStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.permissions import PERMISSIONS_NAME
from tests.unit.server.asgi import Asker, asker_of

ACCOUNTS = Accounts(
    [
        Account("ann", token_hashes=(token_hash("ann"),)),
        Account("bob", token_hashes=(token_hash("bob"),), tags=frozenset({"readers"})),
    ]
)


@pytest.fixture
def medium() -> DictMemoryStore:
    """What lies below the permissions."""
    store = DictMemoryStore()
    store.connect()
    return store


@pytest.fixture
def ask(medium: DictMemoryStore) -> Iterator[Asker]:
    """Asks the application that serves an authorizing store."""
    asker = asker_of(AuthorizingStore(medium), authenticator=ACCOUNTS)
    yield asker
    asker.app.close()


def by(ask: Asker, user: str, method: str, path: str, **options: Any) -> httpx.Response:
    """Return the answer to a request of a user."""
    return ask(method, path, headers={"Authorization": f"Bearer {user}"}, **options)


def test_permissions_are_in_no_metadata(ask: Asker, medium: DictMemoryStore) -> None:
    """Where they are kept is nobody's business: not in answers, not in queries."""
    answers = [
        by(ask, "ann", "PUT", "/keys/a/data", content=b"x").json()["metadata"],
        by(ask, "ann", "POST", "/keys/a/auth", json={"get": ["readers"]}).json()["metadata"],
        by(ask, "bob", "GET", "/keys/a/metadata").json(),
        by(ask, "bob", "GET", "/index.json").json()["a"],
        by(ask, "ann", "DELETE", "/keys/a").json()["metadata"],
    ]

    assert [{}] * 5 == answers


def test_permissions_are_set_and_added_to(ask: Asker, medium: DictMemoryStore) -> None:
    """PUT replaces them, POST adds to them, and GET answers sorted lists."""
    by(ask, "ann", "PUT", "/keys/a/data", content=b"x")
    by(ask, "ann", "PUT", "/keys/a/auth", json={"owned": ["ann"], "get": ["z", "b"]})
    by(ask, "ann", "POST", "/keys/a/auth", json={"set": ["bob"]})
    expected = {"owned": ["ann"], "get": ["b", "z"], "set": ["bob"]}

    assert expected == by(ask, "ann", "GET", "/keys/a/auth").json()
    assert expected == medium.get_metadata("a")[PERMISSIONS_NAME]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"owned": "ann"}', b'{"owned": [1]}', b'{"get": []}']
)
def test_bad_permissions_are_told(ask: Asker, body: bytes) -> None:
    """What is no object of lists of tags, or leaves a key without owner, is 400."""
    by(ask, "ann", "PUT", "/keys/a/data", content=b"x")

    assert 400 == by(ask, "ann", "PUT", "/keys/a/auth", content=body).status_code
    assert {"owned": ["ann"]} == by(ask, "ann", "GET", "/keys/a/auth").json()


def test_who_may_not_see_a_key_does_not_see_it(ask: Asker) -> None:
    """It is missing for reading and deleting, and its name is taken for writing."""
    by(ask, "ann", "PUT", "/keys/a/data", content=b"x")

    assert [404, 404, 403, 404] == [
        by(ask, "bob", "GET", "/keys/a/value").status_code,
        by(ask, "bob", "DELETE", "/keys/a").status_code,
        by(ask, "bob", "PUT", "/keys/a/data", content=b"y").status_code,
        by(ask, "bob", "GET", "/keys/a/auth").status_code,
    ]


def test_the_journal_names_no_hidden_key(ask: Asker, medium: DictMemoryStore) -> None:
    """Others learn that something changed, and not what."""
    start = str(medium.head())
    by(ask, "ann", "PUT", "/keys/a/data", content=b"x")
    entries = {
        user: by(ask, user, "GET", "/journal/since", params={"position": start}).text
        for user in ("ann", "bob")
    }

    assert '"a"' in entries["ann"]
    assert '"a"' not in entries["bob"]
    assert "null" in entries["bob"]


def test_users_have_indexes_of_their_own(ask: Asker) -> None:
    """What one user has of the index is not taken for another's."""
    tags = {by(ask, user, "GET", "/index.json").headers["etag"] for user in ("ann", "bob")}

    assert 2 == len(tags)
