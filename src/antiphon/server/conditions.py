"""Conditions and ranges of RFC 9110: what the headers of a request ask for."""

from __future__ import annotations

import email.utils
import functools
import re

from antiphon.storage.journal import Version

_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE)


class Unsatisfiable(ValueError):
    """The range begins after the end of the data."""


def etag_of(version: Version) -> str:
    """Return the entity tag of what has *version*."""
    return f'"{version}"'


def strong_tags(header: str) -> list[str]:
    """Return the opaque parts of the strong entity tags in ``If-Match``."""
    return [tag for weak, tag in _ENTITY_TAG.findall(header) if not weak]


def matches_any(header: str, etag: str) -> bool:
    """Return whether ``If-None-Match`` names *etag*; strong or weak is the same here."""
    return header.strip() == "*" or etag[1:-1] in (tag for _, tag in _ENTITY_TAG.findall(header))


def version_of(tag: str) -> Version | None:
    """Return the version that an entity tag of ours stands for; None for any other."""
    try:
        return Version.parse(tag)
    except ValueError:
        return None


def is_unmodified(header: str, modified: float) -> bool:
    """Return whether what changed at *modified* has not changed since ``If-Modified-Since``."""
    try:
        since = email.utils.parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return False
    return int(modified) <= since


def http_date(seconds: float) -> bytes:
    """Return *seconds* since the Unix epoch as HTTP writes dates."""
    return _http_date(int(seconds))


@functools.lru_cache(1024)
def _http_date(seconds: int) -> bytes:
    return email.utils.formatdate(seconds, usegmt=True).encode()


def range_of(header: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that ``Range`` asks for.

    None if all of the data are to be sent: several ranges, or what is no range
    of bytes, may be ignored.

    Raises:
        Unsatisfiable: the range has none of the *size* bytes.
    """
    found = _RANGE.fullmatch(header.strip())
    if found is None or found.group(1) == found.group(2) == "":
        return None
    first, last = found.groups()
    if len(first) > 30 or len(last) > 30:
        return None
    if not first:
        count = min(int(last), size)
        if count == 0:
            raise Unsatisfiable
        return size - count, size
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return int(first), min(int(last) + 1, size) if last else size
