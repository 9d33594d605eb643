"""Events to bytes and back."""

from __future__ import annotations

from antiphon.errors import CorruptMessage
from antiphon.wire import packing
from antiphon.wire.decoding import Decoder, ResolveSource
from antiphon.wire.encoding import Encoded, Encoder
from antiphon.wire.envelope import FORMAT_VERSION, MAX_BODY_BYTES
from antiphon.wire.registry import ClassRegistry, default_registry


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


__all__ = ["Codec", "Encoded", "ResolveSource"]
