"""No frame of a message ends the connection, or takes more memory than a message may.

pika raises on headers that it cannot read (a timestamp beyond the year 9999, a NaN, tables
inside each other a thousand deep), and the connection is lost; the broker then delivers
the message again, for ever.  And it collects a body of any length.  Here such a message
arrives without headers and body, and says in a header of its own why, so that whoever
takes it can count it, or put it aside.
"""

from __future__ import annotations

import struct
from typing import Any

from pika import frame, spec
from pika.adapters.select_connection import SelectConnection

from antiphon.messaging.amqp_rights import name_right
from antiphon.wire.envelope import MAX_BODY_BYTES, UNREADABLE_HEADER

#: Tables and arrays inside each other in headers; more have no use here.
MAX_HEADER_DEPTH = 16

#: Bytes of properties that cannot be nested deeper: a table in a table takes six at least.
_FLAT_BYTES = 6 * MAX_HEADER_DEPTH

_head = struct.Struct(">BHI")
_header = struct.Struct(">HHQ")


def read_properties(raw: bytes) -> spec.BasicProperties:
    """Return the properties in *raw*.

    Raises:
        ValueError: they cannot be read, or have headers nested too deeply.
    """
    properties = spec.BasicProperties()
    try:
        properties.decode(raw)
    except Exception as exc:  # pika raises all that the bytes make it raise
        raise ValueError(f"its properties cannot be read: {type(exc).__name__}") from exc
    if len(raw) > _FLAT_BYTES and _is_deep(properties.headers, MAX_HEADER_DEPTH):
        raise ValueError(f"its headers are nested deeper than {MAX_HEADER_DEPTH} levels")
    if type(properties.app_id) is bytes:  # no UTF-8; ours are
        properties.app_id = None
    return properties


def _is_deep(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deep(item, levels - 1) for item in items)


class BoundedConnection(SelectConnection):  # type: ignore[misc]
    """pika's connection, which refuses messages one by one, and not the whole stream.

    Attributes:
        max_body_bytes: of the longest body that is collected.
    """

    max_body_bytes = MAX_BODY_BYTES
    _dropping: dict[int, int]  # channel -> bytes of a body that are still to come

    def _read_frame(self) -> tuple[int, Any]:
        data = self._frame_buffer
        if data[:1] != bytes((spec.FRAME_HEADER,)) or len(data) < _head.size:
            count, found = super()._read_frame()
            return count, _completed(found)
        _, channel, size = _head.unpack_from(data)
        end = _head.size + size + 1
        if end > len(data):
            return 0, None
        if data[end - 1] != spec.FRAME_END or size < _header.size:
            return super()._read_frame()  # type: ignore[no-any-return]
        class_id, _, body_bytes = _header.unpack_from(data, _head.size)
        if class_id != spec.Basic.INDEX:
            return super()._read_frame()  # type: ignore[no-any-return]
        return end, self._header_frame(
            channel, body_bytes, data[_head.size + _header.size : end - 1]
        )

    def _header_frame(self, channel: int, body_bytes: int, raw: bytes) -> frame.Header:
        if dropping := getattr(self, "_dropping", None):
            dropping.pop(channel, None)  # another message begins: the one before is over
        try:
            properties = read_properties(raw)
            if body_bytes <= self.max_body_bytes:
                return frame.Header(channel, body_bytes, properties)
            reason = f"its body has {body_bytes} bytes (at most {self.max_body_bytes} are read)"
        except ValueError as exc:
            reason = str(exc)
        if body_bytes:
            self._dropping = {**getattr(self, "_dropping", {}), channel: body_bytes}
        properties = spec.BasicProperties(headers={UNREADABLE_HEADER: reason})
        return frame.Header(channel, 0, properties)

    def _deliver_frame_to_channel(self, value: Any) -> None:
        dropping: dict[int, int] = getattr(self, "_dropping", {})
        if not dropping or type(value) is not frame.Body or value.channel_number not in dropping:
            super()._deliver_frame_to_channel(value)
            return
        dropping[value.channel_number] -= len(value.fragment)
        if dropping[value.channel_number] <= 0:
            del dropping[value.channel_number]


def _completed(found: Any) -> Any:
    """Return *found*, with what pika leaves out of a delivery, or of a refusal."""
    method: Any = getattr(found, "method", None)
    if isinstance(method, spec.Basic.Deliver | spec.Basic.GetOk):
        if isinstance(method.routing_key, bytes):  # no UTF-8
            method.routing_key = method.routing_key.decode("utf-8", "replace")
    elif isinstance(method, spec.Channel.Close):
        method.reply_text = name_right(method.reply_text, method.class_id, method.method_id)
    return found
