"""A store that gives each user what that user may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

from antiphon.storage.abstract_store import AbstractAuthorizingStore, AbstractStore
from antiphon.storage.permissions import EVERYONE, OWNED, PERMISSIONS_NAME, User

__all__ = ["EVERYONE", "OWNED", "PERMISSIONS_NAME", "AuthorizingStore", "User"]


class AuthorizingStore(AbstractAuthorizingStore):
    """A store over another one that lets each user do what permissions say."""

    def __init__(
        self,
        store: AbstractStore,
        *,
        user: User | None = None,
        authenticate: Callable[[Any], User] | None = None,
        events: Literal["digest", "clear"] = "digest",
        digest_key: bytes | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.user = user
        self._authenticate = authenticate

    def as_user(self, user: User) -> Self:
        """Return a view of the same store for *user*; cheap."""
        view = type(self).__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.user = user
        view._connected = True
        return view

    @property
    def user_tag(self) -> str:
        return "" if self.user is None else self.user.tag
