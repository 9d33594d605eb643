"""A value behind one URL."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any, BinaryIO

from antiphon.errors import AuthorizationError, KeyNotFound, StoreError, StoreUnavailable
from antiphon.schemes import mask_url
from antiphon.storage.http_answer import HttpAnswer, chain_of, length_in, reason_of
from antiphon.storage.http_bodies import data_of, open_range, part_of
from antiphon.storage.http_options import TIMEOUT_S
from antiphon.storage.http_protocol import error_of
from antiphon.storage.http_values import LazyValue, Permissions

#: ``fetch(url, headers)``: sends a GET request; returns whatever was answered.
Fetch = Callable[[str, Mapping[str, str]], HttpAnswer]

_FAILURES = (OSError, HTTPException)


class URLValue(LazyValue):
    """The data at a URL, read when they are asked for, and metadata that are known.

    Args:
        url: ``http:``, ``https:``, ``file:``, or what *opener* knows besides.
        metadata: its metadata; a copy is handed out.
        opener: of ``urllib``; None is its default one.  Each read waits for
            30 seconds at most.

    ``size`` and ``modified`` open the data, too; ``created`` is never known.
    """

    def __init__(
        self, url: str, metadata: Mapping[str, Any] | None = None, opener: Any = None
    ) -> None:
        self._take(url, metadata, fetcher(opener, TIMEOUT_S))

    @classmethod
    def fetched(cls, url: str, metadata: Mapping[str, Any], fetch: Fetch) -> URLValue:
        """Return a value whose requests are sent by *fetch*."""
        value = cls.__new__(cls)
        value._take(url, metadata, fetch)
        return value

    def _take(self, url: str, metadata: Mapping[str, Any] | None, fetch: Fetch) -> None:
        self._url = url
        self._fetch = fetch
        super().__init__(
            dict(metadata or {}), self._data_answer, self._range_of, self._no_permissions
        )

    def open(self) -> BinaryIO:
        """Return the stream of the bytes, as ``data`` does."""
        return self.data

    def _ask(self, headers: Mapping[str, str]) -> HttpAnswer:
        answer = self._fetch(self._url, headers)
        if answer.status in (200, 206, 416):
            return answer
        if answer.status in (404, 410):
            answer.close()
            raise KeyNotFound(f"there is nothing at {mask_url(self._url)}")
        raise error_of(answer, mask_url(self._url), has_key=False)

    def _data_answer(self) -> tuple[HttpAnswer, BinaryIO]:
        answer = self._ask({})
        return answer, data_of(answer, self._open_at)

    def _open_at(self, offset: int) -> HttpAnswer:
        found = open_range(self._ask, offset, None)
        if found is None:
            raise StoreError(f"{mask_url(self._url)} became shorter while it was read")
        return found[0]

    def _range_of(self, start: int | None, end: int | None) -> BinaryIO:
        first = start or 0
        if first >= 0 and (end is None or end > first):
            return part_of(self._ask, first, end)
        with self._ask({}) as answer:  # nothing of it is read: it says how long it is
            size = answer.length
        if first < 0 or (end is not None and end < 0):
            if size is None:
                raise StoreError(
                    f"{mask_url(self._url)}: the server does not say how long the data are, so"
                    " nothing can be counted from their end"
                )
            first, after, _ = slice(start, end).indices(size)
            if first < after:
                return part_of(self._ask, first, after)
        return io.BytesIO()

    def _no_permissions(self) -> Permissions:
        raise AuthorizationError("the data at a URL have no permissions")


def fetcher(opener: Any, timeout_s: float) -> Fetch:
    """Return what sends requests through *opener*, of ``urllib``; None is its default one."""
    opener = urllib.request.build_opener() if opener is None else opener

    def fetch(url: str, headers: Mapping[str, str]) -> HttpAnswer:
        wanted = {"Accept-Encoding": "identity", **headers}
        place = mask_url(url)
        try:
            # What schemes are allowed is the opener's business.
            request = urllib.request.Request(url, headers=wanted)  # noqa: S310
            response = opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            # An answer, too; 304 is one.
            response = error
        except (OSError, HTTPException, ValueError) as exc:
            raise _failure(place, exc) from exc
        return _answer(response, url, place)

    return fetch


def _answer(response: Any, url: str, place: str) -> HttpAnswer:
    status = getattr(response, "status", None) or getattr(response, "code", None) or 200

    def read(size: int) -> bytes:
        piece: bytes = response.read() if size < 0 else response.read(size)
        return piece

    return HttpAnswer(
        status=status,
        url=url,
        headers=response.headers,
        length=0 if status in (204, 304) else length_in(response.headers),
        read=read,
        close=response.close,
        place=place,
        failures=_FAILURES,
    )


def _failure(place: str, exc: Exception) -> StoreError:
    *_, root = chain_of(exc)
    if isinstance(root, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return KeyNotFound(f"there is no file at {place}")
    if isinstance(exc, ValueError):
        return StoreError(f"{place} cannot be opened: {exc}")
    return StoreUnavailable(f"{place} cannot be reached: {reason_of(exc)}")
