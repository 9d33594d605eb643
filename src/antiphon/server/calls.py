"""A request as handlers see it: no asyncio, no sockets, only the store and what is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from antiphon.errors import IncompatibleStore, InvalidValue
from antiphon.server.answers import Refused
from antiphon.server.conditions import etag_of, matches_any, strong_tags, version_of
from antiphon.storage import metadata as codec
from antiphon.storage.conditions import honours_expect
from antiphon.storage.journal import ABSENT, ENTRY_ID_BYTES, Journal, PledgedVersion, Version
from antiphon.storage.journals import journals_of
from antiphon.storage.permissions import PERMISSIONS_NAME
from antiphon.storage.utils import Readable

_ENTRY_ID = re.compile(f"[0-9a-f]{{{2 * ENTRY_ID_BYTES}}}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request.

    Attributes:
        tag: names the user.
        tags: more tags that the user has: groups, roles.
        may_write: whether the user may write at all.
    """

    tag: str
    tags: frozenset[str] = frozenset()
    may_write: bool = True


@dataclass(slots=True)
class Call:
    """One request.

    Attributes:
        store: as the user may use it.
        is_authorizing: whether the store keeps permissions.
        key: the key; ``""`` where there is none.
        headers: by name in small letters; what came more than once joined by commas.
        query_string: not decoded.
        body: the body, where the request has one.
        user: who asks; None if nobody has to say.
        max_value_bytes: largest value that is taken.
    """

    store: Any
    is_authorizing: bool
    key: str
    headers: Mapping[bytes, bytes]
    query_string: bytes
    body: Readable
    user: Identity | None
    max_value_bytes: int

    def header(self, name: bytes) -> str | None:
        """Return a header, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def json_object(self) -> dict[str, Any]:
        """Return the object in the body; raises ``InvalidValue`` if it is none."""
        return json_object(self.body.read(-1))

    def visible(self, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return *metadata* without what only the authorizing store may see."""
        if not self.is_authorizing or PERMISSIONS_NAME not in metadata:
            return metadata
        return {name: value for name, value in metadata.items() if name != PERMISSIONS_NAME}

    # -- Conditions of writes --------------------------------------------------

    def expectation(self) -> dict[str, Version]:
        """Return ``expect`` for the store as a keyword, or nothing if there is no condition.

        Raises:
            Refused: the condition does not hold, or cannot be checked; 412.
            InvalidValue: the id that the entry is to have is none.
        """
        expected = self._expectation()
        pledged = self.header(b"antiphon-entry-id")
        if pledged is None or not expected:
            return expected
        if not _ENTRY_ID.fullmatch(pledged):
            raise InvalidValue(f"Antiphon-Entry-Id must be 16 hex digits, not {pledged!r:.80}")
        return {"expect": PledgedVersion.of(expected["expect"], bytes.fromhex(pledged))}

    def _expectation(self) -> dict[str, Version]:
        wanted, unwanted = self.header(b"if-match"), self.header(b"if-none-match")
        if wanted is None and unwanted is None:
            return {}
        if not honours_expect(self.store):
            raise _conflict("the store has no versions that a condition could name")
        if wanted is None and unwanted is not None and unwanted.strip() == "*":
            return {"expect": ABSENT}
        if wanted is not None and unwanted is None:
            versions = [version_of(tag) for tag in strong_tags(wanted)]
            if len(versions) == 1 and versions[0] is not None:
                return {"expect": versions[0]}
        current = self._current()
        if wanted is not None:
            self._check_wanted(wanted, current)
        if unwanted is not None and current is not None and matches_any(unwanted, etag_of(current)):
            raise _conflict("the key has a version that it must not have")
        return {"expect": current or ABSENT}

    def _check_wanted(self, wanted: str, current: Version | None) -> None:
        if current is None:
            raise _conflict("there is no such key")
        if wanted.strip() != "*" and str(current) not in strong_tags(wanted):
            raise _conflict("the key has none of the versions that If-Match names")

    def _current(self) -> Version | None:
        """Return the version that the key has; None if it is not there."""
        try:
            version: Version | None = getattr(self.store.get(self.key), "version", None)
        except KeyError:
            return None
        return version


def is_backend(store: Any) -> bool:
    """Return whether *store* has a journal of its own, and so tells what it commits."""
    return isinstance(store, Journal) and store.store_id is not None


def journal_in(store: Any) -> Journal | None:
    """Return the journal in which all of the past of *store* is; None if there is no such one."""
    journals = journals_of(store)
    return journals[0] if journals is not None and len(journals) == 1 else None


def _conflict(why: str) -> Refused:
    return Refused(412, f"{why}; nothing was written", error="VersionConflict")


# -- JSON ----------------------------------------------------------------------


def json_object(text: bytes) -> dict[str, Any]:
    """Return the JSON object that *text* is; raises ``InvalidValue`` if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidValue(f"the body is no JSON: {text[:80]!r}") from None
    if not isinstance(found, dict):
        raise InvalidValue(f"the body must be a JSON object, and {text[:80]!r} is none")
    return found


def metadata_from(text: bytes) -> dict[str, Any]:
    """Return the metadata that *text* is in JSON; raises ``InvalidValue`` if it is none."""
    try:
        return codec.decode(text.decode())
    except (IncompatibleStore, UnicodeDecodeError, OverflowError):
        raise InvalidValue(
            f"metadata are a JSON object, and {text[:80]!r} is none that this server understands"
        ) from None


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """Return *metadata* as JSON."""
    return codec.encode(codec.normalise(metadata))


def conditions_from(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the conditions of a query whose values are JSON; raises ``InvalidValue``."""
    found: dict[str, Any] = {}
    for name, text in pairs:
        if name in found:
            raise InvalidValue(f"the query names {name!r:.80} twice")
        try:
            found[name] = codec.decode(json.dumps({"value": json.loads(text)}))["value"]
        except (IncompatibleStore, ValueError, OverflowError, RecursionError):
            raise InvalidValue(
                f"the value of {name!r:.80} must be JSON, as {json.dumps(text[:80])} would be"
            ) from None
    return found
