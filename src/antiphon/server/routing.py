"""Which part of which key a request asks for: pure functions over the raw path.

The path is taken as it came, and percent-decoded once, since a decoded path no
longer tells a slash of the key from one that separates.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from antiphon.errors import InvalidKey
from antiphon.server.answers import Refused

#: Parts of a key, which are the last word of their paths.
KEY_PARTS = frozenset({"data", "metadata", "auth", "value"})

#: The path that anybody may ask by OPTIONS which protocol this is.
PROBED = b"/query"

#: Paths that have no key, and the part that they ask for.
_PLAIN_PATHS = {
    PROBED: "query",
    b"/info": "info",
    b"/index.json": "index",
    b"/journal/head": "head",
    b"/journal/since": "since",
}

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_MISSING = "there is nothing at this path; see the protocol in docs/reference/http-protocol.md"


class Target(NamedTuple):
    """What a request is about.

    Attributes:
        part: ``data``, ``metadata``, ``auth``, ``value``, ``key`` (all of it),
            ``file`` (data in the static layout), ``query``, ``info``,
            ``index``, ``head`` or ``since``.
        key: the key; None where the part has none.
    """

    part: str
    key: str | None = None


def target_of(raw_path: bytes, query_string: bytes, method: str) -> Target:
    """Return what is asked for.

    Args:
        raw_path: path below the store's base, not decoded.
        query_string: what follows the question mark, not decoded.
        method: DELETE takes all of the path as the key, the others take its
            last word as the part.

    Raises:
        Refused: there is nothing at the path.
        InvalidKey: the key is not percent-encoded UTF-8.
    """
    if raw_path.startswith(b"/keys/"):
        rest = raw_path[6:]
        if method == "DELETE":
            return Target("key", decoded(rest))
        raw_key, slash, last = rest.rpartition(b"/")
        # Of an empty key nothing is left before the part but its slash.
        part = last.decode("latin-1")
        if slash and part in KEY_PARTS:
            return Target(part, decoded(raw_key))
        if part in KEY_PARTS:
            raise Refused(404, f"{_MISSING} (a key comes before /{part})")
        return Target("key", decoded(rest))
    if (plain := _PLAIN_PATHS.get(raw_path)) is not None:
        return Target(plain)
    if raw_path.startswith(b"/data/"):
        return Target("file", decoded(raw_path[6:]))
    if raw_path == b"/key":
        return Target("key", key_parameter(query_string))
    if raw_path.startswith(b"/key/") and (part := raw_path[5:].decode("latin-1")) in KEY_PARTS:
        return Target(part, key_parameter(query_string))
    raise Refused(404, _MISSING)


def decoded(raw: bytes, *, form: bool = False) -> str:
    """Return the text that *raw* stands for.

    Args:
        raw: percent-encoded UTF-8.
        form: whether ``+`` stands for a space, as in queries.

    Raises:
        InvalidKey: an escape is broken, or the bytes are no UTF-8.
    """
    if form:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise InvalidKey("a % in a URL is followed by two hexadecimal digits; write it as %25")
        raw = unquote_to_bytes(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidKey("a key in a URL is UTF-8 before it is percent-encoded") from None


def parameters(query_string: bytes) -> list[tuple[str, str]]:
    """Return names and values of a query; raises as ``decoded`` does."""
    found = []
    for pair in query_string.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            found.append((decoded(name, form=True), decoded(value, form=True)))
    return found


def key_parameter(query_string: bytes) -> str:
    """Return the key that the parameter ``k`` names; raises as ``decoded`` does."""
    keys = [value for name, value in parameters(query_string) if name == "k"]
    if len(keys) != 1:
        raise InvalidKey(f"name one key, percent-encoded: ?k=…; this request names {len(keys)}")
    return keys[0]
