"""Events to bytes and back."""

from __future__ import annotations

from antiphon.wire import packing
from antiphon.wire.decoding import Decoder, ResolveSource
from antiphon.wire.encoding import Encoded, Encoder
from antiphon.wire.envelope import MAX_BODY_BYTES
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


__all__ = ["Codec", "Encoded", "ResolveSource"]
