"""A store on a web server, read and written through HTTP.

Any server will do that follows the manual's protocol: ``<base>/<key>/data``,
``/metadata``, ``/auth`` and a query.  Antiphon's own server says so when it is
asked, and then the store also has versions, conditional writes, a journal, one
request for data and metadata, and takes any key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from uuid import UUID

from antiphon.errors import InvalidURL, NotConnected, StoreError
from antiphon.events.api import BaseEventManager
from antiphon.schemes import mask_url
from antiphon.storage.checks import checked_key, checked_position, checked_select, checked_timeout
from antiphon.storage.http_client import HttpClient
from antiphon.storage.http_options import OPTION_PARAMETERS, HttpOptions, split_url
from antiphon.storage.http_own_server import OwnServer
from antiphon.storage.http_plain_server import PlainServer
from antiphon.storage.http_protocol import ServerInfo, info_url, parse_info
from antiphon.storage.http_servers import HttpServer, Places
from antiphon.storage.http_writing import HttpWriting
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.metadata import encode_conditions
from antiphon.storage.opening import url_parameters
from antiphon.storage.value import Value, select_from

#: Parts of a key, and the words for them in URLs.
DEFAULT_PARTS: Mapping[str, str] = {"permissions": "auth", "data": "data", "metadata": "metadata"}

_URL_FORMAT = "{base}/{key}/{part}"
_URL_FORMAT_NO_PART = "{base}/{key}"


class DynamicURLStore(HttpWriting):
    """A store on a web server; see the module.

    Args:
        base_url: what the URLs of keys begin with.
        query_url: takes queries; None is ``query`` beside the keys, as in Antiphon's server.
        url_format: URL of a part of a key, made of ``base``, ``key``, ``part``.
        url_format_no_part: URL of a key, which DELETE is sent to.
        parts: words for ``permissions``, ``data`` and ``metadata`` in URLs.
        origin: readable name that events are routed by; None takes what the
            server says, if it is Antiphon's.
        http: time limits and certificates.

    A user and password in the URLs are used by ``connect()``, and shown nowhere.

    Events of its own writes are heard in this process only, with the id that
    the committing server gave them: the server is who publishes them.  With
    a server that follows the manual only, nobody else hears of them.

    Attributes:
        store_id: identity of the data, if the server has a journal; None before
            the store was connected.
    """

    #: For buses: this store tells of what others commit.
    observes = True

    def __init__(
        self,
        base_url: str,
        query_url: str | None,
        url_format: str = _URL_FORMAT,
        url_format_no_part: str = _URL_FORMAT_NO_PART,
        parts: Mapping[str, str] = DEFAULT_PARTS,
        *,
        origin: str | None = None,
        http: HttpOptions | None = None,
    ) -> None:
        self._connected = False
        self._connecting = threading.Lock()
        self._server: HttpServer | None = None
        self.base_url, self._credentials = _without_credentials(base_url)
        if query_url is None:
            query_url = f"{base_url.rstrip('/').removesuffix('/keys')}/query"
        self.query_url, others = _without_credentials(query_url)
        self._credentials = self._credentials or others
        self.url_format = url_format
        self.url_format_no_part = url_format_no_part
        self.parts = parts
        self.origin = origin
        self.store_id: UUID | None = None
        self._http = HttpOptions() if http is None else http
        self._user_tag: str | None = None
        super().__init__()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url.removesuffix('/keys')}>"

    # -- Connecting ----------------------------------------------------------

    _event_manager: BaseEventManager

    @property
    def event_manager(self) -> BaseEventManager:
        """Emits the store's events; the global one unless assigned."""
        return self._event_manager

    @event_manager.setter
    def event_manager(self, manager: BaseEventManager) -> None:
        if self._connected:
            _call_if_any(self._event_manager, "remove_source", self)
            _call_if_any(manager, "add_source", self)
        self._event_manager = manager

    def connect(self, credentials: Any = None) -> None:
        """Make the store ready for use, and ask the server what it is.  Twice is fine.

        Args:
            credentials: ``{"username": …, "password": …}``, ``{"token": …}``,
                Encore's pair (user tag, ``requests.Session``), which is used as
                it is and not closed; None takes what the URL has.

        Raises:
            AuthenticationError: the server does not know the user.
            StoreUnavailable: there is no server.
            InvalidValue: the credentials are nothing of that.
        """
        with self._connecting:
            if self._connected:
                return
            given = self._http.credentials(credentials, self._credentials)
            client = HttpClient(repr(self), given, self._http)
            try:
                self._server = self._find_server(client)
            except BaseException:
                client.close()
                raise
            self._take_info(self._server.info, client.user_tag)
            self._connected = True
        # So that events that arrive from elsewhere have this very object as source.
        _call_if_any(self._event_manager, "add_source", self)

    def disconnect(self) -> None:
        with self._connecting:
            if not self._connected:
                return
            self._connected = False
            _call_if_any(self._event_manager, "remove_source", self)
            server, self._server = self._server, None
            if server is not None:
                server.close()

    def _find_server(self, client: HttpClient) -> HttpServer:
        """Ask the server whether it is ours; any other one follows the manual."""
        places = Places(
            self.base_url, self.query_url, self.url_format, self.url_format_no_part, self.parts
        )
        plain = PlainServer(client, places, self)
        with plain.ask("OPTIONS", self.query_url, also=_NO_OPTIONS) as answer:
            is_ours = answer.header("Antiphon-Protocol") is not None
            told = answer.header("Antiphon-Info")
        is_usual = (self.url_format, self.url_format_no_part) == (_URL_FORMAT, _URL_FORMAT_NO_PART)
        if not is_ours or not is_usual or dict(self.parts) != dict(DEFAULT_PARTS):
            return plain
        where = info_url(self.query_url, told)
        info = parse_info(plain.ask("GET", where).json())
        return OwnServer(client, places, self, info, where.rpartition("/")[0])

    def _take_info(self, info: ServerInfo | None, user_tag: str | None) -> None:
        self._user_tag = user_tag
        if info is None:
            return
        # Without a journal it is not what others take a store with an id for.
        self.store_id = info.store_id if info.journal else None
        self._user_tag = user_tag if user_tag is not None else info.user_tag
        if self.origin is None:
            self.origin = info.origin

    def info(self) -> dict[str, Any]:
        server = self._server
        told = None if server is None else server.info
        return {
            "readonly": told is not None and told.readonly,
            "authorizing": told is None or told.authorizing,
            "store_id": None if self.store_id is None else str(self.store_id),
            "origin": self.origin,
            "versions": told is not None and told.versions,
        }

    @property
    def user_tag(self) -> str:
        """The tag of the user who is connected; ``""`` if neither side named one."""
        return self._user_tag or ""

    @property
    def _here(self) -> HttpServer:
        server = self._server
        if server is None:
            raise NotConnected(f"{self!r} is not connected; call connect() first")
        return server

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> Value:
        """Return the value of *key*.

        From Antiphon's server data and metadata come in one answer, so they are
        of one version.  From others the metadata are read now, and the data
        when they are needed.

        Raises:
            KeyNotFound: there is no such key, or the user may not see it.
            AuthorizationError: the user may see the key, and not read it.
            StoreUnavailable: there is no answer, or only a part of one.
        """
        return self._here.value(checked_key(key))

    def get_data(self, key: str) -> BinaryIO:
        return self._here.open_data(checked_key(key))[1]

    def get_data_range(
        self, key: str, start: int | None = None, end: int | None = None
    ) -> BinaryIO:
        return self._here.open_range(checked_key(key), start, end)

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        return select_from(self._here.metadata(checked_key(key)), select)

    def exists(self, key: str) -> bool:
        return self._here.exists(checked_key(key))

    def get_version(self, key: str) -> Version | None:
        """Return the version of *key*, without its data; None if the server has no versions.

        A cache asks so whether what it holds is still the newest.

        Raises:
            KeyNotFound: there is no such key, or the user may not see it.
        """
        return self._here.size(checked_key(key))[1]

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        server = self._here
        return server.query(checked_select(select), encode_conditions(kwargs))

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        server = self._here
        return server.query_keys(encode_conditions(kwargs))

    # -- The journal ---------------------------------------------------------

    def head(self) -> Position:
        """Return the position of the newest commit.

        Raises:
            StoreError: the server has no journal.
        """
        return self._journal().head()

    def since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*, oldest first, whole commits only.

        Entries of keys that the user may not see have None as key.

        Raises:
            PositionLost: the journal does not go on from there; see ``Journal``.
            StoreError: the server has no journal.
        """
        return self._journal().since(checked_position(position))

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head as soon as it is another than *position*; see ``WaitingJournal``.

        The server holds the answer back until then.  Where something between
        cuts waiting connections, shorter waits follow one another; a server
        that is too old for it, or has too many who wait, is asked now and then.

        Raises:
            StoreError: the server has no journal.
            StoreUnavailable: it cannot be reached.
        """
        return self._journal().wait(checked_position(position), checked_timeout(timeout_s))

    def wake(self) -> None:
        """Have all who wait return what they know, be it new or not."""
        server = self._server
        if isinstance(server, OwnServer):
            server.wake()

    def _journal(self) -> OwnServer:
        server = self._here
        if not isinstance(server, OwnServer) or not server.info.journal:
            raise StoreError(f"the server of {self!r} keeps no journal")
        return server


#: What servers answer to ``OPTIONS`` that know no such thing.
_NO_OPTIONS = (400, 403, 404, 405, 501)

_PARAMETERS: dict[str, Callable[[str], Any]] = {"origin": str, **OPTION_PARAMETERS}


def from_url(url: str, **options: Any) -> DynamicURLStore:
    """Return the store that *url* names; see ``open_store``.

    Args:
        url: ``dynamic+https://[user:password@]host[:port]/path``: the keys are
            below ``/path/keys``, and ``/path/query`` takes queries.
            ``dynamic+http:`` likewise.  Parameters: ``origin``, ``timeout_s``,
            ``connect_timeout_s``, ``ca_file``, ``cert_file``, ``key_file``,
            ``token_file``.
        options: the same, which win over those in the URL.

    Raises:
        InvalidURL: a part of the URL makes no sense.
    """
    found = url_parameters(url, _PARAMETERS, options)
    origin = found.pop("origin", None)
    base = url.removeprefix("dynamic+").partition("?")[0].rstrip("/")
    if "#" in base or not urlsplit(split_url(base)[0]).hostname:
        raise InvalidURL(f"'{mask_url(url)}' names no host; write dynamic+https://host/path")
    return DynamicURLStore(
        f"{base}/keys", f"{base}/query", origin=origin, http=HttpOptions(**found)
    )


def _without_credentials(url: str) -> tuple[str, dict[str, str] | None]:
    clean, credentials = split_url(url)
    if urlsplit(clean).scheme not in ("http", "https"):
        raise InvalidURL(
            f"the URL of a server begins with http:// or https://, not as '{mask_url(url)}'"
        )
    return clean, credentials


def _call_if_any(obj: object, method: str, argument: object) -> None:
    # An event manager written for Encore need not derive from ours.
    bound = getattr(obj, method, None)
    if bound is not None:
        bound(argument)
