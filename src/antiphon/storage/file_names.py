"""Names of files for keys: any key text, safe on any file system.

A name is the key with everything percent-encoded that some file system or
shell takes amiss, so ``urllib.parse.unquote`` gives the key back: capitals
(disks that ignore case), all beyond ASCII (disks that normalise), separators,
control characters, what Windows refuses, a dot or dash in front.  A long name
is cut and ends with a hash of the key, which then lies beside it in
``<name>.key``.  No name reaches 143 bytes, which is what encrypted home
folders allow.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote_to_bytes

#: Ends of the files of one key.
DATA, METADATA, KEY = ".data", ".metadata", ".key"

#: Characters that a name may have without being cut, and how many of a longer
#: one are kept before the hash.
_MAX_NAME, _KEPT = 112, 70

#: What stands between the kept characters and the hash; no percent-encoding has it.
_CUT = "%~"

_PLAIN = re.compile(r"[a-z0-9_(@=+,][a-z0-9_()@=+, .-]*")
_HARMLESS = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_()@=+, .-")
_NOT_FIRST = frozenset(b" .-")
_HALF_ESCAPE = re.compile(r"%[0-9A-F]?\Z")

#: Names that are devices on Windows, whatever follows the first dot.
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{kind}{n}" for kind in ("com", "lpt") for n in range(10)]
)


def file_name(key: str) -> str:
    """Return the name, without its end, of the files of *key*."""
    if _PLAIN.fullmatch(key) and len(key) <= _MAX_NAME and _stem(key) not in _DEVICES:
        return key
    if not key:
        return "%"
    name = "".join(
        chr(byte) if byte in _HARMLESS and (at or byte not in _NOT_FIRST) else f"%{byte:02X}"
        for at, byte in enumerate(key.encode())
    )
    if _stem(name) in _DEVICES:
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name if len(name) <= _MAX_NAME else hashed_name(key, name)


def hashed_name(key: str, name: str) -> str:
    """Return the name of *key* that no other key has, whatever other programs wrote.

    Args:
        key: the key.
        name: its percent-encoded form, which the name begins with.
    """
    kept = _HALF_ESCAPE.sub("", name[:_KEPT])
    return f"{kept}{_CUT}{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def is_hashed(name: str) -> bool:
    """Return whether *name* is cut, so that a file beside it has the key."""
    return _CUT in name


def key_of(name: str) -> str:
    """Return the key whose files are called *name*, by whomever.

    A name that this module did not make is taken as the key itself: so other
    programs, Encore first, and people call their files.
    """
    if name == "%":
        return ""
    try:
        key = unquote_to_bytes(name).decode()
    except UnicodeError:  # of the key's bytes, or of a name that is no UTF-8
        return name
    return key if key and file_name(key) == name else name


def folded(name: str) -> str:
    """Return what *name* may be on a disk that ignores case."""
    return name.casefold()


def _stem(name: str) -> str:
    return name.partition(".")[0].rstrip(" ")
