"""Pages in browsers that send requests: only those of the same site may write.

A browser sends the credentials that its user gave for a site with whatever any
page lets it send there, and asks the site before it only for some requests: a
form, say, can POST any text.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def is_from_elsewhere(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a page of another site sends a request with *headers*.

    Clients that are no browsers send none of the headers that tell it.

    Args:
        headers: by name in small letters.
    """
    told = headers.get(b"sec-fetch-site")
    if told is not None:
        # A browser says so itself, on whatever way the request came.
        return told not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    if origin is None:
        return False
    try:
        host = urlsplit(origin.decode("latin-1")).netloc
    except ValueError:
        return True
    return host.lower() != headers.get(b"host", b"").decode("latin-1").lower()
