"""Errors of the operating system, as errors of stores."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from antiphon.errors import (
    IncompatibleStore,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def mapped(exc: OSError, what: str) -> StoreError:
    """Return the error to raise from *exc*.

    Args:
        exc: what the operating system said.
        what: what was being done, on which file.
    """
    reason = exc.strerror or str(exc)
    if exc.filename is not None and str(exc.filename) not in what:
        reason += f": {exc.filename}"
    if exc.errno in _FULL:
        return StoreFull(
            f"{what}: {reason}; nothing was written, the old data are as they were:"
            " make room and try again"
        )
    if exc.errno in _READ_ONLY:
        return ReadOnlyStore(
            f"{what}: {reason}; this process (user id {_user()}) must be able to read and write"
            " the directory and all in it"
        )
    return StoreUnavailable(f"{what}: {reason}")


@contextlib.contextmanager
def mapping(what: str) -> Iterator[None]:
    """Turn errors of the operating system in the block into ours; see ``mapped``."""
    try:
        yield
    except OSError as exc:
        # Some of ours are OSError too.
        if isinstance(exc, StoreError):
            raise
        raise mapped(exc, what) from exc


def unreadable(key: str, path: str) -> IncompatibleStore:
    """Return the error of a key whose metadata another program spoiled."""
    return IncompatibleStore(
        f"the metadata of {key!r:.200} cannot be read: {path} is cut short, or is no JSON object"
        " of what metadata may have; mend the file, or set the key anew"
    )


def _user() -> object:
    return os.geteuid() if hasattr(os, "geteuid") else "unknown"
