"""A store as each of its users may use it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from antiphon.server.calls import Identity
from antiphon.storage.abstract_store import AbstractAuthorizingStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.permissions import User

#: Users whose view of an authorizing store is kept.
_KEPT_VIEWS = 1024


class Views:
    """Hands out a store for one user after the other.

    Args:
        store: what is served.  One that has ``as_user`` is asked for the view
            of each user; any other is the same for all.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        about = store.info()
        self.is_authorizing = isinstance(store, AbstractAuthorizingStore) or bool(
            about.get("authorizing")
        )
        self.is_readonly = bool(about.get("readonly"))
        # Reading a dictionary is quicker than asking a thread to do it.
        self.is_direct = type(store) is DictMemoryStore
        self._as_user = getattr(store, "as_user", None)
        self._kept: OrderedDict[Identity, Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, identity: Identity | None) -> Any:
        """Return the store as the user may use it."""
        if identity is None or self._as_user is None:
            return self._store
        with self._lock:
            view = self._kept.get(identity)
            if view is None:
                view = self._kept[identity] = self._view(identity)
            self._kept.move_to_end(identity)
            if len(self._kept) > _KEPT_VIEWS:
                self._kept.popitem(last=False)
        return view

    def _view(self, identity: Identity) -> Any:
        assert self._as_user is not None  # noqa: S101 - asked before
        return self._as_user(User(identity.tag, identity.tags))
