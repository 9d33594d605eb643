"""Antiphon's own server: any key, one request a value, versions, a journal."""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from antiphon.errors import IncompatibleStore, StoreError
from antiphon.storage import metadata as codec
from antiphon.storage.changes import conflict
from antiphon.storage.http_answer import HttpAnswer
from antiphon.storage.http_client import HttpClient
from antiphon.storage.http_protocol import (
    MAX_HEADER_METADATA,
    Done,
    ServerInfo,
    condition,
    counted_lines,
    is_odd,
    parse_done,
    parse_entry,
    parse_key,
    parse_row,
    position_in,
    query_body,
    version_of,
)
from antiphon.storage.http_servers import (
    SENDS_DATA,
    SENDS_JSON,
    WANTS_JSON,
    Body,
    HttpServer,
    Places,
)
from antiphon.storage.http_values import Permissions, WholeValue
from antiphon.storage.http_waiting import HttpWaiting
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.value import Value

#: Journal entries to ask for at a time.
_ENTRIES = 1000


class OwnServer(HttpServer):
    """See the module.

    Args:
        root_url: URL that the store is served under.
    """

    info: ServerInfo

    def __init__(
        self, client: HttpClient, places: Places, store: object, info: ServerInfo, root_url: str
    ) -> None:
        super().__init__(client, places, store, info)
        self._root_url = root_url
        self._waiting = HttpWaiting(
            client, f"{root_url}/journal/head", self.head, wait_s=info.wait_s, store=store
        )

    def url(self, key: str, part: str | None = None) -> str:
        if not is_odd(key):
            return super().url(key, part)
        below = "" if part is None else f"/{self._places.parts.get(part, part)}"
        return f"{self._root_url}/key{below}?k={quote(key, safe='')}"

    # -- Reading -------------------------------------------------------------

    def value(self, key: str) -> Value:
        answer = self.ask("GET", self.url(key, "value"), key=key)
        try:
            metadata, before = self._metadata_in(answer)
            if answer.length is None:
                raise IncompatibleStore(f"{self._store!r} answered a value of unknown length")
            return WholeValue(
                answer,
                answer.length - before,
                metadata,
                self.opener(key, version_of(answer)),
                lambda: self.permissions_of_value(key),
            )
        except BaseException:
            answer.close()
            raise

    def _metadata_in(self, answer: HttpAnswer) -> tuple[dict[str, Any], int]:
        """Return the metadata of a combined answer, and how many bytes of its body they took."""
        encoded, length = (
            answer.header("Antiphon-Metadata"),
            answer.header("Antiphon-Metadata-Length"),
        )
        try:
            if encoded is not None:
                text, before = base64.b64decode(encoded, validate=True), 0
            else:
                before = int(length or "")
                if not 0 < before <= codec.MAX_TEXT:
                    raise ValueError(before)
                text = answer.exactly(before)
        except (ValueError, binascii.Error):
            raise IncompatibleStore(f"{self._store!r} answered a value without metadata") from None
        return codec.decode(text.decode(errors="replace")), before

    def metadata(self, key: str) -> dict[str, Any]:
        answer = self.ask("GET", self.url(key, "metadata"), key=key, headers=WANTS_JSON)
        return codec.decode(answer.whole().decode(errors="replace"))

    def exists(self, key: str) -> bool:
        # 403: the user may know that it is there, and not read it.
        with self.ask("HEAD", self.url(key, "data"), key=key, also=(404, 410, 403)) as answer:
            return answer.status not in (404, 410)

    def size(self, key: str) -> tuple[int | None, Version | None]:
        with self.ask("HEAD", self.url(key, "data"), key=key) as answer:
            return answer.told_length, version_of(answer)

    def query(
        self, select: list[str] | None, conditions: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for line in self._found(query_body(conditions, select, keys_only=False)):
            yield parse_row(line)

    def query_keys(self, conditions: Mapping[str, str]) -> Iterator[str]:
        for line in self._found(query_body(conditions, None, keys_only=True)):
            yield parse_key(line)

    def _found(self, body: bytes) -> Iterator[Any]:
        headers = {**SENDS_JSON, "Accept": "application/x-ndjson"}
        answer = self.ask("POST", self._places.query_url, headers=headers, body=body)
        with answer:
            yield from _without_last(counted_lines(answer))

    # -- The journal ---------------------------------------------------------

    def head(self) -> Position:
        """Return the position of the newest commit."""
        answer = self.ask("GET", f"{self._root_url}/journal/head", headers=WANTS_JSON)
        return position_in(answer.json(), self._store)

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head once it is another than *position*; see ``WaitingJournal``."""
        return self._waiting.wait(position, timeout_s)

    def wake(self) -> None:
        """Have all who wait return what they know."""
        self._waiting.wake()

    def close(self) -> None:
        self._waiting.close()
        super().close()

    def since(self, position: Position) -> Iterator[JournalEntry]:
        """Return the entries after *position*; raises at once if they are lost."""
        return itertools.chain.from_iterable(self._pages(position))

    def _pages(self, position: Position) -> Iterator[Iterator[JournalEntry]]:
        first = self._page(position)

        def pages() -> Iterator[Iterator[JournalEntry]]:
            reader, after = _PageReader(first), position
            while True:
                yield iter(reader)
                if not reader.has_more or reader.last is None:
                    return
                before, after = after, Position(position.store_id, *reader.last.version)
                if after == before:
                    raise StoreError(f"{self._store!r} answered the same entries again")
                reader = _PageReader(self._page(after))

        return pages()

    def _page(self, position: Position) -> HttpAnswer:
        params = {"position": str(position), "limit": str(_ENTRIES)}
        return self.ask("GET", f"{self._root_url}/journal/since", params=params)

    # -- Writing -------------------------------------------------------------

    def put_value(
        self, key: str, body: Body, metadata: dict[str, Any], expect: Version | None
    ) -> Done:
        text = codec.encode(metadata).encode()
        headers = dict(SENDS_DATA)
        if (len(text) + 2) // 3 * 4 <= MAX_HEADER_METADATA:
            headers["Antiphon-Metadata"] = base64.b64encode(text).decode()
        else:
            headers["Antiphon-Metadata-Length"] = str(len(text))
            body = text + body if isinstance(body, bytes) else itertools.chain([text], body)
        return self._write("PUT", key, "value", expect, headers, body)

    def put_data(self, key: str, body: Body, expect: Version | None) -> Done:
        return self._write("PUT", key, "data", expect, SENDS_DATA, body)

    def put_metadata(self, key: str, metadata: dict[str, Any], expect: Version | None) -> Done:
        body = codec.encode(metadata).encode()
        return self._write("PUT", key, "metadata", expect, SENDS_JSON, body)

    def post_metadata(self, key: str, metadata: dict[str, Any], expect: Version | None) -> Done:
        body = codec.encode(metadata).encode()
        return self._write("POST", key, "metadata", expect, SENDS_JSON, body)

    def delete(self, key: str, expect: Version | None) -> Done:
        return self._write("DELETE", key, None, expect, WANTS_JSON, None)

    def send_permissions(self, method: str, key: str, permissions: Permissions) -> Done | None:
        return parse_done(self._send_permissions(method, key, permissions).json(), key)

    def _write(
        self,
        method: str,
        key: str,
        part: str | None,
        expect: Version | None,
        headers: Mapping[str, str],
        body: Body | None,
    ) -> Done:
        if expect is not None and body is not None and not isinstance(body, bytes):
            self._check_first(key, expect)
        answer = self.ask(
            method,
            self.url(key, part),
            key=key,
            headers={**headers, **condition(expect)},
            body=body,
        )
        done = parse_done(answer.json(), key)
        self._waiting.tell()
        return done

    def _check_first(self, key: str, expect: Version) -> None:
        """Find out before much is sent what the server would refuse after it was sent."""
        answer = self.client.request("HEAD", self.url(key, "data"))
        answer.close()
        found = version_of(answer) if answer.status == 200 else None
        if answer.status in (200, 404) and found != (expect if expect.sequence else None):
            raise conflict(key, expect, found, self._store)


class _PageReader:
    """Reads the entries of one answer, and then knows whether there are more."""

    def __init__(self, answer: HttpAnswer) -> None:
        self._answer = answer
        self.last: JournalEntry | None = None
        self.has_more = False

    def __iter__(self) -> Iterator[JournalEntry]:
        with self._answer:
            for raw in counted_lines(self._answer):
                if isinstance(raw, dict):
                    self.has_more = bool(raw.get("more"))
                    return
                self.last = parse_entry(raw)
                yield self.last


def _without_last(lines: Iterator[Any]) -> Iterator[Any]:
    return (line for line in lines if not isinstance(line, dict))
