"""A store that is read from URLs of plain files: an index, and one file a key.

An HTTP server may serve them, or they lie in a directory::

    index.json      {"key1": {"title": "…"}, "key2": {}}
    data/key1
    data/key2
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import urllib.request
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from antiphon.errors import (
    IncompatibleStore,
    InvalidKey,
    InvalidURL,
    InvalidValue,
    KeyNotFound,
    NotConnected,
    StoreError,
)
from antiphon.schemes import mask_url
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.storage.changes import missing
from antiphon.storage.checks import checked_key, checked_select
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreSetEvent,
    StoreUpdateEvent,
)
from antiphon.storage.http_client import HttpClient
from antiphon.storage.http_options import OPTION_PARAMETERS, HttpOptions, split_url
from antiphon.storage.http_protocol import error_of, metadata_of
from antiphon.storage.metadata import copied, encode_conditions, matches, normalise
from antiphon.storage.observing import emit_observed
from antiphon.storage.opening import url_parameters
from antiphon.storage.url_openers import opener_for
from antiphon.storage.url_value import Fetch, URLValue, fetcher
from antiphon.storage.value import select_from

logger = logging.getLogger(__name__)

#: Seconds between two looks at the index.
POLL_S = 300.0

#: Bytes that an index may have: it is held in memory.
MAX_INDEX_BYTES = 1 << 30

#: Seconds that ``disconnect`` waits for a look at the index that is under way.
_STOP_TIMEOUT_S = 2.0

_Index = Mapping[str, dict[str, Any]]


class StaticURLStore(AbstractReadOnlyStore):
    """A read-only store of what lies behind URLs; see the module.

    Args:
        root_url: what all URLs begin with; ``http:``, ``https:``, ``file:``, or
            whatever ``urllib`` opens.
        data_path: follows it in the URLs of data, before the key.
        query_path: follows it in the URL of the index.
        poll: seconds between two looks at the index; 0 looks only when
            ``update_index`` is called.
        origin: readable name that events are routed by.
        http: time limits and certificates.

    What is read is what the index said when it was last looked at: metadata,
    queries and which keys there are.  Data are read when they are asked for, so
    they may be newer.  Keys that a URL cannot name (``""``, and those with a
    part ``.`` or ``..``, which would lead out of *data_path*) have no data here.

    Attributes:
        failed_polls: how often the poller has not got an index.
        last_error: why it did not the last time; None if it did.
    """

    def __init__(
        self,
        root_url: str,
        data_path: str,
        query_path: str,
        poll: float = POLL_S,
        *,
        origin: str | None = None,
        http: HttpOptions | None = None,
    ) -> None:
        super().__init__()
        self.root_url, self._credentials = split_url(root_url)
        if not urlsplit(self.root_url).scheme:
            raise InvalidURL(
                f"'{mask_url(root_url)}' is no URL: it begins with http://, https:// or file://"
            )
        if not poll >= 0:
            raise InvalidValue(f"poll must be 0 or more seconds, not {poll!r}")
        self.data_path = data_path
        self.query_path = query_path
        self.poll = poll
        self.origin = origin
        self.failed_polls = 0
        self.last_error: Exception | None = None
        self._http = HttpOptions() if http is None else http
        self._connecting = threading.RLock()
        self._updating = threading.Lock()
        self._swapping = threading.Lock()
        self._client: HttpClient | None = None
        self._fetch: Fetch | None = None
        self._index: _Index | None = None
        self._etag: str | None = None
        self._poller: _Poller | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.root_url}>"

    # -- Connecting ----------------------------------------------------------

    def connect(
        self,
        credentials: Any = None,
        proxy_handler: urllib.request.BaseHandler | None = None,
        auth_handler_factory: Callable[[], Any] | None = None,
    ) -> None:
        """Read the index, and look at it now and then from here on.  Twice is fine.

        Args:
            credentials: a dictionary with ``username`` and ``password``, sent
                with each request (Basic), or with ``token``; None takes what
                the URL has.
            proxy_handler: of ``urllib``; None takes proxies from the environment.
            auth_handler_factory: makes what authenticates, with a method
                ``add_password`` that is called with the credentials, ``uri``
                (*root_url* unless given) and ``realm`` (``encore.storage``).

        With one of the last two, and for other schemes than ``http`` and
        ``https``, requests are sent by ``urllib``, each over its own connection.

        Raises:
            AuthenticationError: the server does not know the user.
            StoreUnavailable: there is no server.
            StoreError: there is no index, or it makes no sense.
        """
        with self._connecting:
            if self._connected:
                return
            given = self._http.credentials(credentials, self._credentials)
            is_http = urlsplit(self.root_url).scheme in ("http", "https")
            if is_http and proxy_handler is None and auth_handler_factory is None:
                self._client = HttpClient(repr(self), given, self._http)
                self._fetch = functools.partial(self._client.request, "GET")
            else:
                opener = opener_for(
                    self.root_url, given, self._http, proxy_handler, auth_handler_factory
                )
                self._fetch = fetcher(opener, self._http.timeout_s)
            try:
                self.update_index()
            except BaseException:
                self._release()
                raise
            self._connected = True
            if self.poll > 0:
                self._poller = _Poller(self, self.poll)

    def disconnect(self) -> None:
        """Stop looking at the index.  Twice is fine."""
        with self._connecting:
            self._connected = False
            poller, self._poller = self._poller, None
            self._release()
        if poller is not None:
            poller.stop()

    def _release(self) -> None:
        with self._swapping:
            client, self._client = self._client, None
            self._fetch = self._index = self._etag = None
        if client is not None:
            client.close()

    def info(self) -> dict[str, Any]:
        return {"readonly": True, "authorizing": False, "origin": self.origin}

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> URLValue:
        metadata = self._found(key)
        fetch = self._here()[1]
        return URLValue.fetched(self._data_url(key), copied(metadata), fetch)

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        return select_from(copied(self._found(key)), select)

    def exists(self, key: str) -> bool:
        return checked_key(key) in self._here()[0]

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ``(key, metadata)`` of the keys whose metadata match all of *kwargs*.

        The whole result is of one index, also if a new one comes meanwhile.
        """
        index, names = self._here()[0], checked_select(select)
        encoded = encode_conditions(kwargs)
        return (
            (key, select_from(copied(metadata), names))
            for key, metadata in index.items()
            if matches(metadata, encoded)
        )

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        """Yield the keys whose metadata match all of *kwargs*; see ``query``."""
        index = self._here()[0]
        encoded = encode_conditions(kwargs)
        return (key for key, metadata in index.items() if matches(metadata, encoded))

    def _here(self) -> tuple[_Index, Fetch]:
        index, fetch = self._index, self._fetch
        if index is None or fetch is None or not self._connected:
            raise NotConnected(f"{self!r} is not connected; call connect() first")
        return index, fetch

    def _found(self, key: str) -> dict[str, Any]:
        index, key = self._here()[0], checked_key(key)
        if key not in index:
            raise missing(key, self)
        return index[key]

    def _data_url(self, key: str) -> str:
        # Backslashes part names on some systems, and the server may run there.
        parts = key.replace("\\", "/").split("/")
        if not key or "." in parts or ".." in parts or "\0" in key:
            raise InvalidKey(
                f"the data of key {key!r:.80} in {self!r} cannot be read:"
                " its URL would lead elsewhere"
            )
        return self.root_url + quote(self.data_path + key)

    # -- The index -----------------------------------------------------------

    def update_index(self) -> None:
        """Read the index, and tell listeners of this process what is new in it.

        Emits ``StoreDeleteEvent``, ``StoreSetEvent`` and ``StoreUpdateEvent``
        for the keys that went, came, or have other metadata than before; what
        changed in the data alone cannot be seen.

        Raises:
            StoreUnavailable: the index cannot be read; the old one stays.
            StoreError: it makes no sense, and the old one stays.
        """
        with self._updating:
            fetch, before = self._fetch, self._index
            if fetch is None:
                raise NotConnected(f"{self!r} is not connected; call connect() first")
            found = self._read_index(fetch)
            if found is None:
                return
            index, etag = found
            with self._swapping:
                if self._fetch is not fetch:
                    return  # It was disconnected meanwhile.
                self._index, self._etag = index, etag
        if before is not None:
            for event in _differences(self, before, index):
                emit_observed(self.event_manager, event)

    def _read_index(self, fetch: Fetch) -> tuple[_Index, str | None] | None:
        """Return the index and its ETag; None if it is still the same."""
        url = self.root_url + self.query_path
        known = {"If-None-Match": self._etag} if self._etag and self._index is not None else {}
        try:
            answer = fetch(url, {"Accept": "application/json", **known})
        except KeyNotFound as exc:
            raise StoreError(f"{self!r} has no index: {exc}") from None
        if answer.status == 304:
            answer.close()
            return None
        if answer.status != 200:
            raise error_of(answer, f"the index of {self!r}", has_key=False)
        etag = answer.header("ETag")
        raw = answer.json(MAX_INDEX_BYTES)
        if not isinstance(raw, dict) or not all(isinstance(each, dict) for each in raw.values()):
            raise IncompatibleStore(
                f"the index of {self!r} must be a JSON object of keys and their metadata"
            )
        return {key: normalise(metadata_of(metadata)) for key, metadata in raw.items()}, etag

    def _poll_index(self) -> None:
        """Look at the index for the poller, which goes on whatever happens."""
        try:
            self.update_index()
        except Exception as exc:  # whatever it is, the next look may succeed
            if not self._connected:
                return
            self.failed_polls += 1
            self.last_error = exc
            logger.warning(
                "%r keeps its old index (failure %d): %s", self, self.failed_polls, str(exc)
            )
        else:
            self.last_error = None


class _Poller:
    """A thread that has a store look at its index; ends with the store."""

    def __init__(self, store: StaticURLStore, interval_s: float) -> None:
        self._store = weakref.ref(store)
        self._interval_s = interval_s
        self._stopped = threading.Event()
        weakref.finalize(store, self._stopped.set)
        self._thread = threading.Thread(target=self._run, name="antiphon index", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            store = self._store()
            if store is None:
                return
            store._poll_index()
            del store

    def stop(self) -> None:
        """End the thread; a request that is under way ends by itself."""
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)


def _differences(
    store: StaticURLStore, before: _Index, after: _Index
) -> Iterator[StoreModificationEvent]:
    for key in before.keys() - after.keys():
        yield StoreDeleteEvent(store, key=key, metadata=copied(before[key]))
    for key, metadata in after.items():
        if key not in before:
            yield StoreSetEvent(store, key=key, metadata=copied(metadata))
        elif not _are_same(before[key], metadata):
            yield StoreUpdateEvent(store, key=key, metadata=copied(metadata))


def _are_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    # Equal is not enough: 1, 1.0 and True are; and what is no number is not equal to itself.
    return encode_conditions(one) == encode_conditions(other)


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "data_path": str,
    "query_path": str,
    "poll": float,
    "origin": str,
    **OPTION_PARAMETERS,
}


def from_url(url: str, **options: Any) -> StaticURLStore:
    """Return the store that *url* names; see ``open_store``.

    Args:
        url: ``static+https://[user:password@]host[:port]/path``,
            ``static+http:…`` or ``static+file:///directory``, where there are
            ``index.json`` and ``data/``.  Parameters: ``data_path``,
            ``query_path``, ``poll``, ``origin``, ``timeout_s``,
            ``connect_timeout_s``, ``ca_file``, ``cert_file``, ``key_file``,
            ``token_file``.
        options: the same, which win over those in the URL.

    Raises:
        InvalidURL: a part of the URL makes no sense.
    """
    found = url_parameters(url, _PARAMETERS, options)
    root = url.removeprefix("static+").partition("?")[0]
    parts = urlsplit(split_url(root)[0])
    if "#" in root or (parts.scheme != "file" and not parts.hostname):
        raise InvalidURL(f"'{mask_url(url)}' names no host; write static+https://host/path")
    if parts.scheme == "file" and (parts.netloc or not os.path.isabs(parts.path)):
        raise InvalidURL(f"'{mask_url(url)}': a directory has three slashes: static+file:///path")
    return StaticURLStore(
        root if root.endswith("/") else f"{root}/",
        found.pop("data_path", "data/"),
        found.pop("query_path", "index.json"),
        found.pop("poll", POLL_S),
        origin=found.pop("origin", None),
        http=HttpOptions(**found),
    )
