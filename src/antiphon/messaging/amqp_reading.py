"""Deliveries and confirms, read from the stream without an object for each frame.

A message comes as three frames, for which pika builds some ten objects in 40
us.  Here runs of the two common kinds are cut out of the bytes and handed to
the callbacks that pika has, in about 3 us a message.  Everything else, and
whatever is not exactly as expected, is given to pika byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from pika import spec
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from antiphon.messaging.amqp_limits import BoundedConnection, read_properties

#: Bytes of the longest body that is waited for here; of a longer one pika keeps the pieces.
MAX_BODY_BYTES = 256 * 1024

#: Routing keys, properties and consumer tags that are remembered, each.
MAX_REMEMBERED = 1024

#: Bytes of the longest properties that are remembered.
MAX_PROPERTIES_BYTES = 256

#: Called with (delivery tag, multiple) of confirms that came together, in their order.
OnConfirms = Callable[[list[tuple[int, bool]]], None]

#: Whether pika still has what is used of it here; all of that is its own business.
CAN_READ = all(
    hasattr(owner, name)
    for owner, name in (
        (SelectConnection, "_on_data_available"),
        (SelectConnection, "_trim_frame_buffer"),
        (SelectConnection, "_deliver_frame_to_channel"),
        (Channel, "_handle_content_frame"),
        (Channel, "_on_deliver"),
    )
)

_head = struct.Struct(">BHI")  # kind, channel, size of the payload
_header = struct.Struct(">HHQ")  # class, weight, size of the body
_tag = struct.Struct(">Q")
_confirm = struct.Struct(">QB")

_HEAD_BYTES = _head.size
_FRAME_BYTES = _HEAD_BYTES + 1
_LEAST_HEADER_BYTES = _header.size + 2
_CONFIRM_BYTES = 4 + _confirm.size
_DELIVER = struct.pack(">I", spec.Basic.Deliver.INDEX)
_ACK = struct.pack(">I", spec.Basic.Ack.INDEX)
_KINDS = (spec.FRAME_METHOD, spec.FRAME_HEADER, spec.FRAME_BODY, spec.FRAME_HEARTBEAT)
_HAS_HEADERS = spec.BasicProperties.FLAG_HEADERS >> 8

#: What ``_deliver`` says in place of an end: more bytes must come; pika is to see to it.
_LATER, _PIKAS = -1, -2


@dataclass(slots=True)
class Delivered:
    """What a consumer needs of ``basic.deliver``."""

    consumer_tag: str
    delivery_tag: int
    redelivered: bool
    exchange: str
    routing_key: str


class ReadingConnection(BoundedConnection):
    """pika's connection, which reads the common frames itself.

    Consumers are called as pika calls them, with a ``Delivered`` for the
    method, and with properties that several messages may share.
    """

    _frame_buffer: bytes  # pika's: what is not read yet
    _on_confirms: dict[int, OnConfirms]
    _keys: dict[bytes, tuple[bool, str, str]]
    _tags: dict[bytes, str]
    _properties: dict[bytes, spec.BasicProperties]
    _reads_quickly = False

    def read_quickly(self, channel: Channel) -> None:
        """Begin, when *channel*, the first, is open; does nothing with a pika that differs."""
        assembler = getattr(channel, "_content_assembler", None)
        self._on_confirms, self._keys, self._tags, self._properties = {}, {}, {}, {}
        self._reads_quickly = (
            CAN_READ
            and hasattr(assembler, "_method_frame")
            and isinstance(getattr(channel, "_consumers", None), dict)
            and isinstance(getattr(channel, "_cancelled", None), set)
            and isinstance(getattr(self, "_frame_buffer", None), bytes)
            and isinstance(getattr(self, "_channels", None), dict)
        )

    def confirm_together(self, channel: Channel, on_confirms: OnConfirms) -> None:
        """Have confirms of *channel* handed over in runs, not one by one; nacks come pika's way."""
        if self._reads_quickly:
            self._on_confirms[channel.channel_number] = on_confirms

    def _on_data_available(self, data_in: bytes) -> None:
        if not self._reads_quickly:
            super()._on_data_available(data_in)
            return
        data = self._frame_buffer + data_in if self._frame_buffer else data_in
        self._frame_buffer = b""
        at, length = 0, len(data)
        confirms: list[tuple[int, bool]] = []
        confirmed = 0  # channel of these
        while length - at >= _FRAME_BYTES:
            kind, number, size = _head.unpack_from(data, at)
            end = at + _FRAME_BYTES + size
            if kind not in _KINDS or (end <= length and data[end - 1] != spec.FRAME_END):
                self._reads_quickly = False  # no AMQP: pika has the words for it
                end = length
            elif end > length:
                break
            elif kind == spec.FRAME_METHOD:
                method = data[at + _HEAD_BYTES : at + _HEAD_BYTES + 4]
                if method == _ACK and size == _CONFIRM_BYTES and number in self._on_confirms:
                    if confirms and confirmed != number:
                        self._hand_over(confirmed, confirms)
                    tag, flags = _confirm.unpack_from(data, at + _HEAD_BYTES + 4)
                    confirms.append((tag, bool(flags & 1)))
                    confirmed, at = number, end
                    continue
                if method == _DELIVER:
                    self._hand_over(confirmed, confirms)
                    done = self._deliver(data, at, end, number)
                    if done == _LATER:
                        break
                    if done != _PIKAS:
                        at = done
                        continue
            self._hand_over(confirmed, confirms)  # what was before the frame comes before it
            super()._on_data_available(data[at:end])
            if not self._reads_quickly:
                return
            at = end
        # Before confirms are told of, which may end the connection.
        self._frame_buffer = data[at:] if at else data
        self._hand_over(confirmed, confirms)

    def _hand_over(self, number: int, confirms: list[tuple[int, bool]]) -> None:
        if confirms:
            count = len(confirms)
            self.frames_received += count
            self.bytes_received += count * (_FRAME_BYTES + _CONFIRM_BYTES)
            self._on_confirms[number](confirms.copy())
            confirms.clear()

    def _deliver(self, data: bytes, at: int, end: int, number: int) -> int:
        """Deliver the message whose first frame is from *at* to *end*; return where it ends."""
        channel = self._channels.get(number)
        if channel is None or channel._content_assembler._method_frame is not None:
            return _PIKAS
        tag_at = at + _HEAD_BYTES + 5
        tag_end = tag_at + data[tag_at - 1]
        if tag_end + _tag.size + 4 > end:
            return _PIKAS
        header_at, length = end + _HEAD_BYTES, len(data)
        if length < header_at:
            return _LATER
        kind, its_channel, size = _head.unpack_from(data, end)
        header_end = header_at + size + 1
        if kind != spec.FRAME_HEADER or its_channel != number or size < _LEAST_HEADER_BYTES:
            return _PIKAS
        if length < header_end:
            return _LATER
        class_id, _, body_bytes = _header.unpack_from(data, header_at)
        if (
            class_id != spec.Basic.INDEX
            or body_bytes > MAX_BODY_BYTES
            or data[header_end - 1] != spec.FRAME_END
        ):
            return _PIKAS
        properties = self._properties_of(data[header_at + _header.size : header_end - 1])
        key = self._key_of(data[tag_end + _tag.size : end - 1])
        consumer_tag = self._tag_of(data[tag_at:tag_end])
        consumer = channel._consumers.get(consumer_tag)
        if (
            properties is None
            or key is None
            or consumer_tag is None
            or consumer is None
            or consumer_tag in channel._cancelled
        ):
            return _PIKAS
        body, frames, body_end = _body_at(data, header_end, number, body_bytes)
        if body is None:
            return body_end
        self.frames_received += 2 + frames
        self.bytes_received += body_end - at
        (delivery_tag,) = _tag.unpack_from(data, tag_end)
        consumer(channel, Delivered(consumer_tag, delivery_tag, *key), properties, body)
        return body_end

    def _key_of(self, raw: bytes) -> tuple[bool, str, str] | None:
        """Return redelivered, exchange and routing key; None if they are odd."""
        found = self._keys.get(raw)
        if found is None:
            key_at = 2 + raw[1]
            if key_at >= len(raw) or key_at + 1 + raw[key_at] != len(raw):
                return None
            try:
                exchange, key = raw[2:key_at].decode(), raw[key_at + 1 :].decode()
            except UnicodeDecodeError:
                return None
            if len(self._keys) >= MAX_REMEMBERED:
                self._keys.clear()
            found = self._keys[raw] = (bool(raw[0] & 1), exchange, key)
        return found

    def _tag_of(self, raw: bytes) -> str | None:
        found = self._tags.get(raw)
        if found is None:
            try:
                found = raw.decode()
            except UnicodeDecodeError:
                return None
            if len(self._tags) >= MAX_REMEMBERED:
                self._tags.clear()
            self._tags[raw] = found
        return found

    def _properties_of(self, raw: bytes) -> spec.BasicProperties | None:
        """Return the properties; None if pika cannot read them."""
        found = self._properties.get(raw)
        if found is None:
            try:
                found = read_properties(raw)
            except ValueError:  # the message is refused where frames are read one by one
                return None
            # Headers are dicts, which each message must have for itself.
            if len(raw) <= MAX_PROPERTIES_BYTES and not raw[0] & _HAS_HEADERS:
                if len(self._properties) >= MAX_REMEMBERED:
                    self._properties.clear()
                self._properties[raw] = found
        return found


def _body_at(data: bytes, at: int, number: int, size: int) -> tuple[bytes | None, int, int]:
    """Return a body of *size* bytes, its frames and its end; for None the end says why."""
    parts: list[bytes] = []
    left, length = size, len(data)
    while left:
        if length < at + _HEAD_BYTES:
            return None, 0, _LATER
        kind, its_channel, part = _head.unpack_from(data, at)
        if kind != spec.FRAME_BODY or its_channel != number or part > left:
            return None, 0, _PIKAS
        end = at + _FRAME_BYTES + part
        if length < end:
            return None, 0, _LATER
        if data[end - 1] != spec.FRAME_END:
            return None, 0, _PIKAS
        parts.append(data[at + _HEAD_BYTES : end - 1])
        left -= part
        at = end
    return (parts[0] if len(parts) == 1 else b"".join(parts)), len(parts), at
