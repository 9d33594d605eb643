"""Routing keys: what the broker sees of an event, and how listeners ask for it.

A key has one word for each class from ``BaseEvent`` to the event's own, then
the words of the origin.  The first origin word begins with ``@`` and the others
with ``+``; no class word can begin so.  docs/reference/wire-format.md tells
the format for other languages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from antiphon.errors import CorruptMessage, WireError
from antiphon.events.origin import Prefix

#: Bytes of UTF-8 in an AMQP short string, which a routing key is.
MAX_KEY_BYTES = 255
#: Words of an origin in a key; an overflow word stands for the rest.
MAX_ORIGIN_WORDS = 6
#: Bytes of one origin word after escaping; a hash stands for a longer one.  Six words, their
#: sigils and dots, the overflow word and ``!`` fit into 255 bytes with this.
MAX_WORD_BYTES = 32
#: Classes that one message may name.
MAX_CLASSES = 256
#: Bytes of class names and origin in the headers of one message; AMQP puts all headers into one
#: frame, which RabbitMQ limits to 128 KiB.
MAX_HEADER_BYTES = 64 * 1024
#: Stands for the class words where they do not fit; every listener binds it.
ANY_CLASS = "!"
#: Name of the root of all events; every key that fits begins with it.
ROOT_NAME = "antiphon:BaseEvent"
#: Headers that complete a key which cannot hold everything.
CLASSES_HEADER = "classes"
ORIGIN_HEADER = "origin"

# What has a meaning in a key, what terminals and management pages would swallow,
# and lone surrogates, which UTF-8 cannot write.
_SPECIAL = re.compile(
    "[.*#%@+!~\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    "\ud800-\udfff]"
)
_HASH_BYTES = 8


class RoutingKey(NamedTuple):
    """A routing key, with the headers that complete it where it is not exact."""

    key: str
    headers: dict[str, Any] | None


def _escape_match(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def escape_word(text: str) -> str:
    """Return *text* with every character that is special in a key as ``%XX``."""
    return _SPECIAL.sub(_escape_match, text)


def unescape_word(word: str) -> str:
    """Return the text that ``escape_word`` wrote as *word*; ``ValueError`` if it did not."""
    if "%" not in word:
        return word
    return unquote_to_bytes(word).decode("utf-8", "surrogatepass")


def _digest(word: str) -> str:
    return "~" + hashlib.sha256(word.encode()).hexdigest()[: 2 * _HASH_BYTES]


def _short(word: str) -> str:
    return word if len(word.encode()) <= MAX_WORD_BYTES else _digest(word)


def _origin_words(origin: str) -> list[str]:
    """Return the words of *origin* as they stand in a key, with their sigils."""
    words = [escape_word(word) for word in origin.split(".")]
    kept, rest = words[:MAX_ORIGIN_WORDS], words[MAX_ORIGIN_WORDS:]
    keyed = [("+" if i else "@") + _short(word) for i, word in enumerate(kept)]
    if rest:
        keyed.append("+" + _digest(".".join(rest)))
    return keyed


def _fits(key: str) -> bool:
    return len(key.encode()) <= MAX_KEY_BYTES


def routing_key(names: Sequence[str], origin: str | None) -> RoutingKey:
    """Return the routing key of an event.

    Args:
        names: names of its classes, ``BaseEvent`` first and its own class last.
        origin: its origin, dotted words; None for an event without origin.

    Returns:
        The key, at most 255 bytes of UTF-8, and headers: ``classes`` (list of
        text) if the class words did not fit, ``origin`` (text) if a hash stands
        for part of the origin, both escaped as in a key; None if the key says all.

    Raises:
        WireError: the names are too many, or all too long.
    """
    if len(names) > MAX_CLASSES:
        raise WireError(
            f"{names[-1]} has {len(names)} event classes (at most {MAX_CLASSES} travel)"
        )
    class_words = [escape_word(name) for name in names]
    origin_words = [] if origin is None else _origin_words(origin)
    headers: dict[str, Any] = {}
    key = ".".join([*class_words, *origin_words])
    if not _fits(key):
        headers[CLASSES_HEADER] = class_words
        key = ".".join([ANY_CLASS, *origin_words])
    if origin is not None and any("~" in word for word in origin_words):
        headers[ORIGIN_HEADER] = ".".join(map(escape_word, origin.split(".")))
    if headers:
        _check_headers(names, headers)
    return RoutingKey(key, headers or None)


def _check_headers(names: Sequence[str], headers: Mapping[str, Any]) -> None:
    parts = [*headers.get(CLASSES_HEADER, ()), headers.get(ORIGIN_HEADER, "")]
    size = sum(len(part.encode()) for part in parts)
    if size > MAX_HEADER_BYTES:
        raise WireError(
            f"the class names and the origin of {names[-1][:MAX_KEY_BYTES]} take {size} bytes "
            f"(at most {MAX_HEADER_BYTES} travel)"
        )


def is_exact(key: str) -> bool:
    """Return whether *key* says everything, so that no header completes it."""
    return "~" not in key and not key.startswith(ANY_CLASS)


def binding_keys(name: str, origin: str | Prefix | None = None) -> list[str]:
    """Return the keys to bind a queue with, for events of one class.

    Together they match the key of every event of the class and its subclasses
    that comes from *origin*.  Where a key is not exact they match a few more:
    each arrival is to be matched again.

    Args:
        name: name of the class on the wire.
        origin: None for events of every origin and of none; text for one
            origin; a ``Prefix`` for all origins that begin with its words.
    """
    tail = _binding_tail(origin)
    if name == ROOT_NAME:
        # Not "#", which would also get what is no event: the canaries of all buses.
        return [".".join(["#", *tail])] if tail else [f"{ROOT_NAME}.#", f"{ANY_CLASS}.#"]
    own = ".".join(["#", escape_word(name), "#", *tail])
    catch_all = ".".join([ANY_CLASS, *(tail or ["#"])])
    # Where this does not fit no key with the class word does: a key has the root's word as
    # well, which is longer than the wild-cards here.
    return [own, catch_all] if _fits(own) else [catch_all]


def _binding_tail(origin: str | Prefix | None) -> list[str]:
    if origin is None:
        return []
    words = _origin_words(str(origin))
    if not isinstance(origin, Prefix):
        return words
    if len(words) > MAX_ORIGIN_WORDS:
        # The overflow word hashes the whole rest, which a prefix does not know.
        return [*words[:MAX_ORIGIN_WORDS], "*"]
    return [*words, "#"]


def parse_routing_key(
    key: str, headers: Mapping[str, Any] | None = None
) -> tuple[tuple[str, ...], str | None]:
    """Return the class names and the origin that ``routing_key`` made *key* of.

    Args:
        key: the routing key of a message.
        headers: its headers; only ``classes`` and ``origin`` are looked at, and
            only where the key is not exact.

    Raises:
        CorruptMessage: ``routing_key`` makes no such key and headers.
    """
    words = key.split(".")
    start = next((i for i, word in enumerate(words) if word[:1] in ("@", "+")), len(words))
    class_words, origin_words = words[:start], words[start:]
    if class_words == [ANY_CLASS]:
        class_words = _header(key, headers, CLASSES_HEADER, list)
    if any("~" in word for word in origin_words):
        origin_words = _header(key, headers, ORIGIN_HEADER, str).split(".")
    else:
        origin_words = [word[1:] for word in origin_words]
    if not 0 < len(class_words) <= MAX_CLASSES:
        raise CorruptMessage(f"routing key {_clip(key)} names {len(class_words)} classes")
    try:
        names = tuple(map(unescape_word, class_words))
        "".join(names).encode()  # an origin may be any text, a name is one that UTF-8 can write
        origin = ".".join(map(unescape_word, origin_words)) if start < len(words) else None
        known = routing_key(names, origin).key
    except (ValueError, TypeError, WireError) as exc:
        raise CorruptMessage(f"routing key {_clip(key)} has a malformed word: {exc}") from exc
    # Only the one key that the same classes and origin would get: the broker matched by it.
    if known != key or "" in names:
        raise CorruptMessage(f"routing key {_clip(key)} is not as this format writes it")
    return names, origin


def _header(key: str, headers: Mapping[str, Any] | None, name: str, kind: type) -> Any:
    value = headers.get(name) if headers else None
    if not isinstance(value, kind):
        raise CorruptMessage(f"routing key {_clip(key)} needs the header {name!r}")
    return value


def _clip(text: str) -> str:
    return repr(text if len(text) <= MAX_KEY_BYTES else text[:MAX_KEY_BYTES] + "…")
