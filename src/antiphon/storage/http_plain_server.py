"""A server that knows the manual's protocol, and nothing else.

It has no versions and tells nothing of its writes, so what a write did is found
out by asking for the metadata before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from antiphon.errors import InvalidKey, StoreError
from antiphon.storage import metadata as codec
from antiphon.storage.changes import missing
from antiphon.storage.http_protocol import Done, has_dots, metadata_of, version_of
from antiphon.storage.http_servers import (
    SENDS_DATA,
    SENDS_JSON,
    WANTS_JSON,
    Body,
    HttpServer,
)
from antiphon.storage.http_values import LazyValue, Permissions
from antiphon.storage.journal import Version
from antiphon.storage.value import Value, select_from


class PlainServer(HttpServer):
    """See the module."""

    def url(self, key: str, part: str | None = None) -> str:
        if has_dots(key):
            raise InvalidKey(
                f"the key {key!r:.80} cannot be named to {self._store!r}: its URL would lead"
                " elsewhere (Antiphon's own server takes any key)"
            )
        return super().url(key, part)

    # -- Reading -------------------------------------------------------------

    def value(self, key: str) -> Value:
        return LazyValue(
            self.metadata(key),
            lambda: self.open_data(key),
            lambda start, end: self.open_range(key, start, end),
            lambda: self.permissions_of_value(key),
        )

    def metadata(self, key: str) -> dict[str, Any]:
        answer = self.ask("GET", self.url(key, "metadata"), key=key, headers=WANTS_JSON)
        return metadata_of(answer.json())

    def exists(self, key: str) -> bool:
        return not has_dots(key) and self._metadata_if_any(key) is not None

    def size(self, key: str) -> tuple[int | None, Version | None]:
        # The manual has no HEAD.  The data that are under way are dropped.
        with self.ask("GET", self.url(key, "data"), key=key) as answer:
            return answer.length, version_of(answer)

    def query(
        self, select: list[str] | None, conditions: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for key in self.query_keys(conditions):
            metadata = self._metadata_if_any(key)
            # It may be gone by now, or changed; and the server may compare less exactly.
            if metadata is not None and codec.matches(codec.normalise(metadata), conditions):
                yield key, select_from(metadata, select)

    def query_keys(self, conditions: Mapping[str, str]) -> Iterator[str]:
        # Names as they are in the JSON that the server holds, where a ! is doubled.
        params = {f"!{n}" if n.startswith("!") else n: text for n, text in conditions.items()}
        answer = self.ask("GET", self._places.query_url, params=params)
        for line in answer.lines():
            try:
                key = line.removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                answer.close()
                raise StoreError(f"{self._store!r} answered a key that is no UTF-8") from None
            if key:
                yield key

    def _metadata_if_any(self, key: str) -> dict[str, Any] | None:
        try:
            return self.metadata(key)
        except KeyError:
            return None

    # -- Writing -------------------------------------------------------------

    def put_value(
        self, key: str, body: Body, metadata: dict[str, Any], expect: Version | None
    ) -> Done:
        before = self._metadata_if_any(key)
        self._send("PUT", key, "data", SENDS_DATA, body)
        self._send("PUT", key, "metadata", SENDS_JSON, codec.encode(metadata).encode())
        return _done(key, before, metadata)

    def put_data(self, key: str, body: Body, expect: Version | None) -> Done:
        before = self._metadata_if_any(key)
        self._send("PUT", key, "data", SENDS_DATA, body)
        return _done(key, before, before or {})

    def put_metadata(self, key: str, metadata: dict[str, Any], expect: Version | None) -> Done:
        before = self._metadata_if_any(key)
        self._send("PUT", key, "metadata", SENDS_JSON, codec.encode(metadata).encode())
        return _done(key, before, metadata)

    def post_metadata(self, key: str, metadata: dict[str, Any], expect: Version | None) -> Done:
        before = self._metadata_if_any(key)
        if before is None:
            raise missing(key, self._store)
        self._send("POST", key, "metadata", SENDS_JSON, codec.encode(metadata).encode())
        return _done(key, before, {**before, **metadata})

    def delete(self, key: str, expect: Version | None) -> Done:
        before = self.metadata(key)
        self.ask("DELETE", self.url(key), key=key).close()
        return Done("delete", key, before)

    def send_permissions(self, method: str, key: str, permissions: Permissions) -> Done | None:
        self._send_permissions(method, key, permissions).close()
        return None

    def _send(
        self, method: str, key: str, part: str, headers: Mapping[str, str], body: Body
    ) -> None:
        self.ask(method, self.url(key, part), key=key, headers=headers, body=body).close()


def _done(key: str, before: dict[str, Any] | None, after: dict[str, Any]) -> Done:
    return Done("set" if before is None else "update", key, codec.copied(after))
