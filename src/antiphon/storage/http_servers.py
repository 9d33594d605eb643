"""What is asked of a server, whichever of the protocols it knows.

The manual's protocol (``http_plain_server``) is ``<base>/<key>/data``,
``/metadata``, ``/auth`` and a query; our own server (``http_own_server``)
knows more.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from antiphon.errors import (
    AuthorizationError,
    InvalidKey,
    PermissionsUnsupported,
    StoreError,
    VersionConflict,
)
from antiphon.storage.changes import missing
from antiphon.storage.http_answer import HttpAnswer
from antiphon.storage.http_bodies import OpenAt, data_of, open_range, part_of
from antiphon.storage.http_client import HttpClient
from antiphon.storage.http_protocol import (
    Done,
    ServerInfo,
    error_of,
    parse_permissions,
    permissions_body,
    quoted,
    version_of,
)
from antiphon.storage.http_values import Permissions
from antiphon.storage.journal import Version
from antiphon.storage.value import Value

#: The data of a write: all of them, or pieces that are made as they are sent.
Body = bytes | Iterable[bytes]

WANTS_JSON = {"Accept": "application/json"}
SENDS_JSON = {**WANTS_JSON, "Content-Type": "application/json"}
SENDS_DATA = {**WANTS_JSON, "Content-Type": "application/octet-stream"}


#: Characters of a URL that every server takes, and what those answer that take no more.
_SAFE_URL_LENGTH = 8000
_TOO_LONG = (400, 414, 431)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a server keeps what; the arguments of ``DynamicURLStore``."""

    base_url: str
    query_url: str
    url_format: str
    url_format_no_part: str
    parts: Mapping[str, str]


class HttpServer:
    """What both kinds of servers have in common; subclasses fill what raises NotImplementedError.

    Args:
        client: talks to it.
        places: its URLs.
        store: named in errors.
        info: what it says about itself; None if it says nothing.
    """

    def __init__(
        self, client: HttpClient, places: Places, store: object, info: ServerInfo | None = None
    ) -> None:
        self.client = client
        self.info = info
        self._places = places
        self._store = store

    def close(self) -> None:
        """Close the connections.  Twice is fine."""
        self.client.close()

    # -- Asking --------------------------------------------------------------

    def ask(
        self,
        method: str,
        url: str,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: Body | None = None,
        also: tuple[int, ...] = (),
        unsupported: type[StoreError] = StoreError,
    ) -> HttpAnswer:
        """Return the answer to a request.

        Args:
            key: the key that the request is about.
            also: statuses from 300 on that are no errors here.
            unsupported: what a status 501 stands for.

        Raises:
            StoreError: the leaf that the status, or the answer itself, names.
        """
        answer = self.client.request(method, url, params=params, headers=headers, body=body)
        if answer.status < 300 or answer.status in also:
            return answer
        if answer.status in (404, 410) and key is not None:
            answer.close()
            raise missing(key, self._store)
        if answer.status in _TOO_LONG and key is not None and len(url) > _SAFE_URL_LENGTH:
            answer.close()
            raise InvalidKey(
                f"the key {key[:80]!r}… makes a URL of {len(url)} characters, which is more than"
                f" the server of {self._store!r} takes"
            )
        what = f"{self._store!r}" if key is None else f"key {key!r:.200} in {self._store!r}"
        if answer.status < 400:
            there = answer.header("Location")
            answer.close()
            raise StoreError(f"{what}: the server sends us on to {there!r:.200}; use that URL")
        raise error_of(answer, what, has_key=key is not None, unsupported=unsupported)

    def url(self, key: str, part: str | None = None) -> str:
        """Return the URL of a part of *key* (``data``, …); of the whole key if *part* is None."""
        places = self._places
        if part is None:
            return places.url_format_no_part.format(base=places.base_url, key=quoted(key))
        return places.url_format.format(
            base=places.base_url, key=quoted(key), part=places.parts.get(part, part)
        )

    # -- Reading -------------------------------------------------------------

    def value(self, key: str) -> Value:
        """Return the value of *key*."""
        raise NotImplementedError

    def metadata(self, key: str) -> dict[str, Any]:
        """Return the metadata of *key*."""
        raise NotImplementedError

    def exists(self, key: str) -> bool:
        """Return whether there is *key*."""
        raise NotImplementedError

    def size(self, key: str) -> tuple[int | None, Version | None]:
        """Return how long the data of *key* are, and their version, as far as is told."""
        raise NotImplementedError

    def open_data(self, key: str) -> tuple[HttpAnswer, BinaryIO]:
        """Return an answer with the data of *key*, and a stream over them."""
        answer = self.ask("GET", self.url(key, "data"), key=key)
        return answer, data_of(answer, self.opener(key, version_of(answer)))

    def open_range(self, key: str, start: int | None, end: int | None) -> BinaryIO:
        """Return a stream of a part of the data of *key*, counted as in Python slices."""
        first = start or 0
        if first >= 0 and (end is None or end > first):
            return part_of(_Asker(self, key, None), first, end)
        if first < 0 or (end is not None and end < 0):
            size, version = self.size(key)
            if size is None:
                raise StoreError(
                    f"key {key!r:.200} in {self._store!r}: the server does not say how long the"
                    " data are, so nothing can be counted from their end"
                )
            first, after, _ = slice(start, end).indices(size)
            if first < after:
                return part_of(_Asker(self, key, version), first, after)
        if not self.exists(key):
            raise missing(key, self._store)
        return io.BytesIO()

    def opener(self, key: str, version: Version | None) -> OpenAt:
        """Return what opens the data of one version of *key* at an offset."""
        asker = _Asker(self, key, version)

        def open_at(offset: int) -> HttpAnswer:
            found = open_range(asker, offset, None)
            if found is None:
                raise StoreError(f"key {key!r:.200} in {self._store!r} became shorter meanwhile")
            return found[0]

        return open_at

    def changed(self, key: str, version: Version | None) -> VersionConflict:
        """Return the error of data that changed between two requests for them."""
        return VersionConflict(
            f"key {key!r:.200} in {self._store!r} was changed while it was read"
            f" (it had version {version}); read it again"
        )

    def query(
        self, select: list[str] | None, conditions: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield keys and metadata that match *conditions*, which are encoded."""
        raise NotImplementedError

    def query_keys(self, conditions: Mapping[str, str]) -> Iterator[str]:
        """Yield keys whose metadata match *conditions*, which are encoded."""
        raise NotImplementedError

    # -- Writing -------------------------------------------------------------

    def put_value(
        self, key: str, body: Body, metadata: dict[str, Any], expect: Version | None
    ) -> Done:
        """Set data and metadata."""
        raise NotImplementedError

    def put_data(self, key: str, body: Body, expect: Version | None) -> Done:
        """Set the data."""
        raise NotImplementedError

    def put_metadata(self, key: str, metadata: dict[str, Any], expect: Version | None) -> Done:
        """Replace the metadata."""
        raise NotImplementedError

    def post_metadata(self, key: str, metadata: dict[str, Any], expect: Version | None) -> Done:
        """Update the metadata."""
        raise NotImplementedError

    def delete(self, key: str, expect: Version | None) -> Done:
        """Delete the key."""
        raise NotImplementedError

    # -- Permissions ---------------------------------------------------------

    def permissions(self, key: str) -> Permissions:
        """Return the permissions of *key*."""
        answer = self._ask_permissions("GET", key, WANTS_JSON, None)
        return parse_permissions(answer.json())

    def permissions_of_value(self, key: str) -> Permissions:
        """Return what ``Value.permissions`` does: where there are none nobody owns them."""
        try:
            return self.permissions(key)
        except PermissionsUnsupported as exc:
            raise AuthorizationError(str(exc)) from None

    def send_permissions(self, method: str, key: str, permissions: Permissions) -> Done | None:
        """Replace (PUT) or add to (POST) the permissions of *key*."""
        raise NotImplementedError

    def _send_permissions(self, method: str, key: str, permissions: Permissions) -> HttpAnswer:
        return self._ask_permissions(method, key, SENDS_JSON, permissions_body(permissions))

    def _ask_permissions(
        self, method: str, key: str, headers: Mapping[str, str], body: bytes | None
    ) -> HttpAnswer:
        return self.ask(
            method,
            self.url(key, "permissions"),
            key=key,
            headers=headers,
            body=body,
            unsupported=PermissionsUnsupported,
        )


class _Asker:
    """Asks for parts of the data of one version: that of the first answer, if none is given."""

    def __init__(self, server: HttpServer, key: str, version: Version | None) -> None:
        self._server = server
        self._key = key
        self._version = version

    def __call__(self, headers: Mapping[str, str]) -> HttpAnswer:
        version = self._version
        tag = {} if version is None else {"If-Match": f'"{version}"', "If-Range": f'"{version}"'}
        url = self._server.url(self._key, "data")
        answer = self._server.ask(
            "GET", url, key=self._key, headers={**headers, **tag}, also=(412, 416)
        )
        found = version_of(answer)
        if answer.status == 412 or (version is not None and found not in (version, None)):
            answer.close()
            raise self._server.changed(self._key, version)
        self._version = version or found
        return answer
