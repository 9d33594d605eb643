"""What a file store keeps for outboxes (protocol: ``storage/outbox_ledger.py``).

In ``.antiphon/outbox``: a file for each lease, ``swept``, and ``shielded`` if it
is.  They are replaced in one step, so a reader needs no lock.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Sequence

from antiphon.storage.file_errors import mapping
from antiphon.storage.file_layout import content_of, remove, replace_file
from antiphon.storage.file_medium import Medium
from antiphon.storage.journal import Position
from antiphon.storage.outbox_ledger import Lease

logger = logging.getLogger(__name__)

_LEASE = "lease-"


class FileOutboxLedger:
    """The outbox ledger of one file store.

    Args:
        medium: its directory.
    """

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._directory = os.path.join(medium.layout.hidden, "outbox")
        self._swept = os.path.join(self._directory, "swept")
        self._shielded = os.path.join(self._directory, "shielded")

    def renew(self, lease: Lease) -> None:
        fields = [lease.until_ns, lease.confirmed, lease.epoch]
        with self._writing():
            replace_file(self._lease(lease.owner), json.dumps(fields).encode(), durable=False)

    def leases(self) -> Sequence[Lease]:
        with mapping(f"cannot read {self._directory}"):
            try:
                names = os.listdir(self._directory)
            except FileNotFoundError:
                return []
            owners = [
                bytes.fromhex(name.removeprefix(_LEASE))
                for name in names
                if name.startswith(_LEASE) and not name.endswith(".new")
            ]
            found = [self._read(owner) for owner in owners]
        return [lease for lease in found if lease is not None]

    def release(self, lease: Lease) -> None:
        # Its owner may renew it just now, and does so again in a moment.
        with self._writing():
            if self._read(lease.owner) == lease:
                remove(self._lease(lease.owner))

    def swept(self) -> Position | None:
        with mapping(f"cannot read {self._swept}"):
            content = content_of(self._swept)
        if content is None:
            return None
        try:
            return Position.parse(content.decode())
        except ValueError:
            logger.warning("%s is damaged: what was not swept by now is not published", self._swept)
            return None

    def sweep_to(self, expected: Position | None, position: Position) -> bool:
        with self._writing(), self._medium.locked():
            if self.swept() != expected:
                return False
            replace_file(self._swept, str(position).encode(), durable=self._medium.durable)
            return True

    def shield(self) -> None:
        with self._writing():
            replace_file(self._shielded, b"Only who redacts its events may publish them.\n")

    def is_shielded(self) -> bool:
        return os.path.exists(self._shielded)

    def _lease(self, owner: bytes) -> str:
        return os.path.join(self._directory, _LEASE + owner.hex())

    def _read(self, owner: bytes) -> Lease | None:
        content = content_of(self._lease(owner))
        try:
            until_ns, confirmed, epoch = json.loads(content or b"null")
        except (ValueError, TypeError):  # a power cut came between: as if it were not there
            return None
        return Lease(owner, until_ns, confirmed, epoch)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with mapping(f"cannot write {self._directory}"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._directory)
            yield
