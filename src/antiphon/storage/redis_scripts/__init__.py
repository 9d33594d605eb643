"""The Lua scripts of the Redis store: one file a script, each with its contract on top."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which Redis knows it.

    Attributes:
        name: name of its file, without the suffix.
        source: the text that runs.
        sha1: 40 hex digits, what ``EVALSHA`` takes.
    """

    name: str
    source: bytes
    sha1: str


def load_script(name: str, *before: str) -> Script:
    """Return the script in ``<name>.lua``, after what it shares with others.

    Args:
        name: of the file, without the suffix.
        before: names of files of shared functions, besides ``common``.
    """
    folder = resources.files(__name__)
    parts = [(folder / f"{part}.lua").read_bytes() for part in ("common", *before, name)]
    source = b"".join(parts)
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())
