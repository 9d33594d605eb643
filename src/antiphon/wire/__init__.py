"""Events on the wire: their bytes, the names of their classes, and routing keys.

Pure functions, no input or output.  docs/reference/wire-format.md is the format.
"""

from antiphon.wire.codec import Codec, Encoded
from antiphon.wire.registry import ClassRegistry, default_registry, is_kind_of
from antiphon.wire.routing import binding_keys, parse_routing_key, routing_key
from antiphon.wire.source import RemoteSource

__all__ = [
    "ClassRegistry",
    "Codec",
    "Encoded",
    "RemoteSource",
    "binding_keys",
    "default_registry",
    "is_kind_of",
    "parse_routing_key",
    "routing_key",
]
