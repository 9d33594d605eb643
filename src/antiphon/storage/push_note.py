"""What is noted of a push before anything is sent, so that it is known for one's own later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from antiphon.storage.journal import Position, Version

_FORMAT = 1


#: Tries that are remembered: more than that cannot be on their way at once.
_TRIES = 8


class Try(NamedTuple):
    """One sending of the user's value.

    Attributes:
        entry_id: that the entry has in the source's journal, if it arrives.
        own: version, in the mount store, of what is sent.
    """

    entry_id: bytes
    own: Version | None


@dataclass(frozen=True, slots=True)
class PushNote:
    """A push that has begun.

    Attributes:
        base: version that the source is to have still; None: whatever it has.
        tries: what was sent, or will be; the newest last.
        heads: where the journals of the source were before the first of them.
        begun_ns: wall clock of the last one, in nanoseconds since the Unix epoch.
    """

    base: Version | None
    tries: tuple[Try, ...]
    heads: tuple[Position, ...]
    begun_ns: int

    @property
    def own(self) -> Version | None:
        """The version of what was sent last."""
        return self.tries[-1].own

    def tried(self, entry_id: bytes) -> Try | None:
        """Return the try whose entry has *entry_id*; None if there is none."""
        return next((each for each in self.tries if each.entry_id == entry_id), None)

    def after(self, earlier: PushNote | None) -> PushNote:
        """Return this note with what was sent *earlier*, and may arrive yet."""
        if earlier is None:
            return self
        heads = {each.store_id: each for each in (*self.heads, *earlier.heads)}
        tries = (*earlier.tries, *self.tries)[-_TRIES:]
        return PushNote(self.base, tries, tuple(heads.values()), self.begun_ns)

    def encode(self) -> bytes:
        """Return the note as the ledger keeps it."""
        return json.dumps(
            {
                "format": _FORMAT,
                "base": _text(self.base),
                "tries": [[each.entry_id.hex(), _text(each.own)] for each in self.tries],
                "heads": [str(each) for each in self.heads],
                "begun_ns": self.begun_ns,
            }
        ).encode()

    @classmethod
    def decode(cls, raw: bytes) -> PushNote | None:
        """Return the note that ``encode`` wrote; None if *raw* is nothing that we know."""
        try:
            told = json.loads(raw)
            if told["format"] != _FORMAT or not told["tries"]:
                return None
            return cls(
                base=_version(told["base"]),
                tries=tuple(Try(bytes.fromhex(i), _version(own)) for i, own in told["tries"]),
                heads=tuple(Position.parse(each) for each in told["heads"]),
                begun_ns=int(told["begun_ns"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


def _text(version: Version | None) -> str | None:
    return None if version is None else str(version)


def _version(text: str | None) -> Version | None:
    return None if text is None else Version.parse(text)
