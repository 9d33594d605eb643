"""What other programs did to the files of a store, found by looking at them.

A key is there when its metadata file is, as in Encore; data without metadata
are no key.  A file is taken for unchanged by its size and time of change.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from antiphon.errors import IncompatibleStore, InvalidKey, InvalidValue
from antiphon.storage.checks import checked_key
from antiphon.storage.file_index import Index
from antiphon.storage.file_layout import HIDDEN, Layout, content_of, print_of
from antiphon.storage.file_names import DATA, METADATA, is_hashed, key_of
from antiphon.storage.file_record import NO_PRINT, Entry, Print, Source, Step
from antiphon.storage.journal import JournalEntry, Version, new_entry_id
from antiphon.storage.metadata import decode, encode, normalise

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Files:
    """The files of one name."""

    data: Print | None = None
    metadata: Print | None = None


def all_steps(layout: Layout, index: Index, *, encores: bool = False) -> list[Step]:
    """Return the changes that make *index* say what the files say.

    *encores*: they are all Encore's, which encodes neither names nor metadata.
    ``index.entries`` of files that were only copied get their new fingerprints.
    """
    unread: list[str] = []
    found = dict(_walk(layout.root, unread))
    keys = {entry.name: key for key, entry in index.entries.items()}
    changes: list[tuple[str, str, _Files]] = []
    for key, entry in index.entries.items():
        files = found.get(entry.name, _Files())
        if unread and entry.name.startswith(tuple(unread)):
            continue
        if not _unchanged(index, key, entry, files):
            changes.append((key, entry.name, files))
    taken = {key for key, _, files in changes if files.metadata is not None}
    for name, files in found.items():
        if name in keys:
            continue
        new_key = _key_of(layout, name, files, encores=encores)
        if new_key is None:
            continue
        known = index.entries.get(new_key)
        if new_key in taken or (known is not None and found.get(known.name, _Files()).metadata):
            logger.warning("%r in %s: the key has other files already", name, layout.root)
            continue
        taken.add(new_key)
        changes = [change for change in changes if change[0] != new_key] if known else changes
        changes.append((new_key, name, files))
    return _steps(layout, index, changes, encores=encores)


def key_steps(layout: Layout, index: Index, key: str) -> list[Step]:
    """Return what ``all_steps`` would for one key that *index* has."""
    entry = index.entries[key]
    files = _Files(print_of(layout.data(entry.name)), print_of(layout.metadata(entry.name)))
    if _unchanged(index, key, entry, files):
        return []
    return _steps(layout, index, [(key, entry.name, files)])


def read_metadata(path: str, *, encores: bool = False) -> str | None:
    """Return the text of the metadata in a file; None if it has none that can be kept."""
    try:
        content = (content_of(path) or b"").decode()
    except UnicodeDecodeError:
        return None
    if not encores:
        with contextlib.suppress(IncompatibleStore, InvalidValue):
            return encode(normalise(decode(content)))
    try:
        # Encore knows no marks of ours, so a name of its users may look like one.
        return encode(normalise(json.loads(content)))
    except (ValueError, InvalidValue, RecursionError):
        return None


def _unchanged(index: Index, key: str, entry: Entry, files: _Files) -> bool:
    if files.metadata is None:
        return False
    data = files.data or NO_PRINT
    if not (_alike(data, entry.data) and _alike(files.metadata, entry.metadata)):
        return False
    if data != entry.data or files.metadata != entry.metadata:
        # Copied, or on a file system that gives numbers as it pleases.
        index.entries[key] = entry._replace(data=data, metadata=files.metadata)
    return True


def _alike(one: Print, other: Print) -> bool:
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def _steps(
    layout: Layout,
    index: Index,
    changes: list[tuple[str, str, _Files]],
    *,
    encores: bool = False,
) -> list[Step]:
    now_ns = time.time_ns()
    epoch, sequence = index.head.epoch, index.head.sequence
    steps = []
    for number, (key, name, files) in enumerate(changes, start=1):
        before = index.entries.get(key)
        version = Version(epoch, sequence + number, new_entry_id())
        entry = None
        if files.metadata is not None:
            modified = max(files.metadata.mtime_ns, (files.data or NO_PRINT).mtime_ns) / 1e9
            entry = Entry(
                name,
                read_metadata(layout.metadata(name), encores=encores),
                modified if before is None else before.created,
                modified,
                version,
                files.data or NO_PRINT,
                files.metadata,
            )
        action = "delete" if entry is None else "set" if before is None else "update"
        last = number == len(changes)
        journal = JournalEntry(version, key, action, None, b"", last, now_ns)
        steps.append(Step(key, journal, entry, name, source=Source.FOUND))
    return steps


def _key_of(layout: Layout, name: str, files: _Files, *, encores: bool) -> str | None:
    """Return the key of files that are new; None if they are none."""
    path = layout.metadata(name)
    if files.metadata is None:
        logger.warning("%r has no metadata beside it, and is no key", layout.data(name))
        return None
    try:
        if encores:
            return checked_key(name)
        if not is_hashed(name):
            return checked_key(key_of(name))
        key = content_of(layout.key(name))
        return checked_key(name if key is None else key.decode())
    except (InvalidKey, UnicodeDecodeError) as exc:
        logger.warning("%r is no key: %s", path, exc)
        return None


def _walk(root: str, unread: list[str]) -> Iterator[tuple[str, _Files]]:
    """Yield name and files; Encore has a key ``a/b`` in a directory ``a``.

    Directories that cannot be read are added to *unread*, with a slash after them.
    """
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            found, directories = _listed(root, below)
        except OSError as exc:
            if not below:
                raise
            # Such as lost+found, where a whole disk is the store.
            logger.warning("what is in %r stays as it was known: %s", below, exc)
            unread.append(below)
            continue
        yield from found.items()
        waiting += directories


def _listed(root: str, below: str) -> tuple[dict[str, _Files], list[str]]:
    found: dict[str, _Files] = {}
    directories: list[str] = []
    with os.scandir(os.path.join(root, below)) as files:
        for each in files:
            name = below + each.name
            if each.is_dir(follow_symlinks=False):
                if name != HIDDEN:
                    directories.append(name + "/")
                continue
            stem = name.removesuffix(METADATA)
            if stem != name:
                found.setdefault(stem, _Files()).metadata = print_of(each)
                continue
            stem = name.removesuffix(DATA)
            if stem != name:
                found.setdefault(stem, _Files()).data = print_of(each)
    return found, directories
