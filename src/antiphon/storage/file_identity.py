"""Who a file store is: ``identity.json`` in its hidden directory."""

from __future__ import annotations

import json
import uuid

from antiphon.errors import IncompatibleStore
from antiphon.storage.changes import StoreIdentity
from antiphon.storage.file_layout import Layout, replace_file

#: What Encore writes into the magic file, and what is added to it: without the
#: line, files are called by their keys as they are.
MAGIC = b"__version__ = 0\n"
_OURS = b"# Antiphon: files are called by their keys, percent-encoded.\n"

#: Number of the layout of the directory; a store with a higher one is refused.
FORMAT = 1


def read_identity(layout: Layout) -> StoreIdentity | None:
    """Return who the store is; None if nobody has connected to it yet.

    The epoch in it is that of the first history; the log knows the present one.

    Raises:
        IncompatibleStore: a newer version made it, or it is damaged.
    """
    try:
        with open(layout.identity, "rb") as stream:
            content = stream.read()
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(content)
        found = fields["format"]
        if found == FORMAT:
            return StoreIdentity(uuid.UUID(fields["store_id"]), 1, fields["system"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise IncompatibleStore(
            f"{layout.identity} cannot be read ({exc}): restore it from a backup"
        ) from exc
    raise IncompatibleStore(
        f"{layout.identity} says format {found!r}, and this version of Antiphon knows {FORMAT}:"
        " upgrade Antiphon"
    )


def write_identity(layout: Layout, identity: StoreIdentity) -> StoreIdentity:
    """Record *identity*, and return it."""
    fields = {
        "format": FORMAT,
        "store_id": str(identity.store_id),
        "system": identity.system,
    }
    replace_file(layout.identity, json.dumps(fields, indent=1).encode() + b"\n")
    return identity


def is_marked(layout: Layout) -> bool:
    """Return whether this package has had the directory, so that names may be encoded."""
    with open(layout.magic, "rb") as stream:
        return _OURS in stream.read()


def mark_as_ours(layout: Layout) -> None:
    """Note in the magic file that names may be encoded from now on."""
    if not is_marked(layout):
        replace_file(layout.magic, MAGIC + _OURS)
