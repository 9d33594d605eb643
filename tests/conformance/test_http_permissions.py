"""An authorizing store behind HTTP passes the suite of permissions: each client is a user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import AuthenticationError
from antiphon.server.calls import Identity
from antiphon.storage.authorizing_store import AuthorizingStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.testing.permission_suite import (
    JournallingPermissions,
    MakeStores,
    PermissionSuite,
)
from http_media import Web, client, running_web


class NameTags:
    """Believes what a bearer token says: the user's tag, and the others after it."""

    challenges = ('Bearer realm="antiphon"',)

    def recall(self, header: str | None) -> Identity | None:
        return self.authenticate(header)

    def authenticate(self, header: str | None) -> Identity:
        if header is None or not header.startswith("Bearer "):
            raise AuthenticationError("no token")
        tag, *tags = header.removeprefix("Bearer ").split("/")
        return Identity(tag, frozenset(tags), True)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """One server for all tests; each has a store of its own on it."""
    with running_web() as web:
        yield web


class TestOverHttp(JournallingPermissions, PermissionSuite):
    """A sqlite store, served to Alice and the others."""

    @pytest.fixture
    def make_stores(self, web: Web, tmp_path: Path) -> Iterator[MakeStores]:
        """All are clients of one server."""
        clients: list[Any] = []

        def make(tag: str, tags: Iterable[str] = ()) -> Any:
            clients.append(client(url))
            clients[-1].connect({"token": "/".join((tag, *tags))})
            return clients[-1]

        with SqliteStore(tmp_path / "store.db", durable=False) as medium:
            served = AuthorizingStore(medium)
            with web.serving(served, authenticator=NameTags()) as url:
                yield make
                for each in clients:
                    each.disconnect()
