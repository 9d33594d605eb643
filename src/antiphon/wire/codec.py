"""Events to bytes and back."""

from __future__ import annotations

from antiphon.errors import CorruptMessage
from antiphon.wire import packing
from antiphon.wire.decoding import Decoder, ResolveSource
from antiphon.wire.encoding import Encoded, Encoder
from antiphon.wire.envelope import (
    FORMAT_VERSION,
    MAX_BODY_BYTES,
    REPLAYED_FIELD,
    REQUIRED_FIELDS,
)
from antiphon.wire.registry import ClassRegistry, default_registry
from antiphon.wire.values import array_header

# As msgpack writes them.
_NIL, _TRUE = b"\xc0", b"\xc3"


class Codec(Encoder, Decoder):
    """Turns events into bytes, and bytes from anywhere into events.

    Thread-safe; one for a process is enough.

    Args:
        registry: knows the names of classes.
        max_body_bytes: longest body that is read, and longest envelope (less a
            few bytes) that is written.
        library: what writes msgpack; the quickest of this machine.
    """

    def __init__(
        self,
        registry: ClassRegistry = default_registry,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        library: packing.Library = packing.library,
    ) -> None:
        Encoder.__init__(self, registry, max_body_bytes=max_body_bytes, library=library)
        Decoder.__init__(self, registry, max_body_bytes=max_body_bytes, library=library)

    @staticmethod
    def split(body: bytes) -> list[bytes]:
        """Return the envelopes that ``join`` made *body* of, without reading them.

        Raises:
            CorruptMessage: it is no such body.
        """
        try:
            version, *envelopes = packing.split_array(body)
        except ValueError as exc:
            raise CorruptMessage(f"body of {len(body)} bytes is no message: {exc}") from exc
        if version != bytes((FORMAT_VERSION,)) or not envelopes:
            raise CorruptMessage(f"body is no sequence of envelopes of format {FORMAT_VERSION}")
        return envelopes

    @staticmethod
    def replayed(envelope: bytes) -> bytes:
        """Return *envelope* with the mark that an archive sends it again; nothing else is read.

        It is at most six bytes longer.

        Raises:
            CorruptMessage: it is no envelope.
        """
        try:
            fields = packing.split_array(envelope)
        except ValueError as exc:
            raise CorruptMessage(f"envelope of {len(envelope)} bytes is none: {exc}") from exc
        if len(fields) < REQUIRED_FIELDS:
            raise CorruptMessage("envelope is no array, or lacks a field")
        fields += [_NIL] * (REPLAYED_FIELD + 1 - len(fields))
        fields[REPLAYED_FIELD] = _TRUE
        return b"".join((array_header(len(fields)), *fields))


__all__ = ["Codec", "Encoded", "ResolveSource"]
