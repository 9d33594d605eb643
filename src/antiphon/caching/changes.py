"""What is heard of changes, and what came of applying them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import latest


class Heard(NamedTuple):
    """One change that an event told of.

    Attributes:
        key: the key that changed; a digest of it if *redacted*.
        position: where the change stands in its store's journal; None if it has none.
        sent_ns: when the event was emitted, nanoseconds since the Unix epoch.
        redacted: whether only the journal knows the key.
        link: beginning of the id of the journal's entry before the change; b"" if unknown.
    """

    key: str
    position: Position | None
    sent_ns: int | None = None
    redacted: bool = False
    link: bytes = b""


class Applied(NamedTuple):
    """What was done to the cache about one key, or about all that begin with *key*.

    Attributes:
        key: the key, or the prefix.
        version: the newest version; None for a prefix, and where there is none.
        dropped: how many entries were dropped.
        changes: for how many changes this was done at once.
        sent_ns: when the first of them was emitted; None if none was heard of.
        covered: for a prefix, the keys that changed, with the newest version of each.
    """

    key: str
    version: Version | None
    dropped: int
    changes: int = 1
    sent_ns: int | None = None
    covered: Mapping[str, Version | None] | None = None


class Outcome(NamedTuple):
    """What came of applying what was heard.

    Attributes:
        is_consistent: False if an event shows that the journal has to be read
            at once: the store has another history than the one that is followed.
        is_unnamed: whether the journal has to be read because only it knows
            which key changed.
        applied: what was done, key by key.
    """

    is_consistent: bool
    is_unnamed: bool
    applied: list[Applied]


#: Is told what was done.
Tell = Callable[[list[Applied]], None]


def coalesced(changes: Iterable[tuple[str, Version | None, int | None]]) -> dict[str, Applied]:
    """Return for each key the newest version, how many changes it had, and when the first began."""
    found: dict[str, Applied] = {}
    for key, version, sent_ns in changes:
        known = found.get(key)
        if known is None:
            found[key] = Applied(key, version, 0, 1, sent_ns)
        else:
            newest = latest(known.version, version)
            first_ns = known.sent_ns if known.sent_ns is not None else sent_ns
            found[key] = Applied(key, newest, 0, known.changes + 1, first_ns)
    return found


def common_prefix(keys: Iterable[str]) -> str:
    """Return the longest text with which all of *keys* begin."""
    names = list(keys)
    first, last = min(names), max(names)
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    return first[:same]
