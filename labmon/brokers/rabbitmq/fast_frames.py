"""pika's connection with a short way for the common case, and the only module that uses pika's private parts.

* A delivery in three whole frames is handed over without pika's frame objects and callback look-ups:
  pika makes some twenty objects for each message. Measured with bodies of 300 bytes, received and acked 500
  at a time: 47,000 messages for a second of this process's time, 31,000 by pika's own way. Everything else
  goes that way.
* The properties of a message are read by `Properties`, which never raises: an exception here would end the
  connection, and the message would come back with the next one, for ever.
* `abort` drops a connection whose other end no longer reads; pika has no public way to do that.

A pika that lacks one of these parts fails in tests/unit/brokers/rabbitmq/test_fast_frames.py, which names it.
"""

import struct
from typing import Any

from pika import frame, spec
from pika.adapters.select_connection import SelectConnection

LARGEST_HEADERS = 2**16
"""Bytes of a message's properties. With more, its headers are not read."""

_FRAME = struct.Struct(">BHL")  # type, channel, size; then the payload, then an end mark
_TAG = struct.Struct(">QB")  # delivery tag, redelivered
_CONTENT = struct.Struct(">HHQ")  # class, weight, size of the body
_DELIVER = struct.pack(">HH", *divmod(spec.Basic.Deliver.INDEX, 1 << 16))
_AROUND = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE

OTHER, INCOMPLETE = -1, 0
"""Instead of a number of bytes: it is no delivery in three frames; or not all of it has come."""


class Properties(spec.BasicProperties):  # type: ignore[misc]
    """A message's properties, without its headers where these cannot be read.

    Such are a date in the year 50000, a NaN, tables nested 600 deep, more than `LARGEST_HEADERS`.
    """

    size = 0  #: bytes, as they were sent

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        self.size = len(encoded) - offset
        try:
            if self.size <= LARGEST_HEADERS:
                return super().decode(encoded, offset)
        except Exception:  # of whatever kind: RecursionError, struct.error, OverflowError ...
            self.__init__()  # type: ignore[misc]
        try:
            return super().decode(_without_headers(encoded, offset))
        except Exception:
            self.__init__()  # type: ignore[misc]
            return self


def _without_headers(encoded: bytes, offset: int) -> bytes:
    flags = int.from_bytes(encoded[offset : offset + 2], "big")
    table = offset + 2
    for flag in (spec.BasicProperties.FLAG_CONTENT_TYPE, spec.BasicProperties.FLAG_CONTENT_ENCODING):
        if flags & flag:
            table += 1 + encoded[table]
    end = table
    if flags & spec.BasicProperties.FLAG_HEADERS:
        end += 4 + int.from_bytes(encoded[table : table + 4], "big")
    kept: int = flags & ~spec.BasicProperties.FLAG_HEADERS
    return kept.to_bytes(2, "big") + encoded[offset + 2 : table] + encoded[end:]


class FastConnection(SelectConnection):  # type: ignore[misc]
    """Does what its base does, with fewer steps."""

    def abort(self) -> bool:
        """Drop the connection without a word to the server. False when there is none yet."""
        transport = getattr(self, "_transport", None)
        if transport is None:
            return False
        transport.abort()
        return True

    def _on_data_available(self, data_in: bytes) -> None:
        self._frame_buffer: bytes = self._frame_buffer + data_in
        place = 0
        while True:
            taken = self._deliver(self._frame_buffer, place)
            if taken > 0:
                place += taken
                continue
            if place:
                self._trim_frame_buffer(place)
                place = 0
            if taken == INCOMPLETE:
                return
            used, value = self._read_frame()
            if not value:
                return
            self._trim_frame_buffer(used)
            self._process_frame(value)

    def _read_frame(self) -> Any:
        """One frame as pika has it, but for the properties of a message."""
        buffer = self._frame_buffer
        if len(buffer) >= spec.FRAME_HEADER_SIZE and buffer[0] == spec.FRAME_HEADER:
            _, number, size = _FRAME.unpack_from(buffer)
            end = _AROUND + size
            if size >= _CONTENT.size and len(buffer) >= end and buffer[end - 1] == spec.FRAME_END:
                return end, frame.Header(number, _body_size(buffer, 0), _properties(buffer, 0, end))
        return super()._read_frame()

    def _deliver(self, buffer: bytes, place: int) -> int:
        """Hand over the delivery that begins there. Returns its bytes, or OTHER, or INCOMPLETE."""
        room = len(buffer) - place
        if room < spec.FRAME_HEADER_SIZE + len(_DELIVER):
            return INCOMPLETE if room == 0 else OTHER
        kind, number, size = _FRAME.unpack_from(buffer, place)
        method = place + spec.FRAME_HEADER_SIZE
        if kind != spec.FRAME_METHOD or buffer[method : method + len(_DELIVER)] != _DELIVER:
            return OTHER
        header = place + _AROUND + size
        if len(buffer) < header + spec.FRAME_HEADER_SIZE:
            return INCOMPLETE
        header_kind, header_number, header_size = _FRAME.unpack_from(buffer, header)
        body = header + _AROUND + header_size
        if len(buffer) < body + spec.FRAME_HEADER_SIZE:
            # Without a body nothing may follow for long.
            return OTHER if len(buffer) == body and not _body_size(buffer, header) else INCOMPLETE
        body_kind, body_number, body_size = _FRAME.unpack_from(buffer, body)
        end: int = body + _AROUND + body_size
        is_whole = (
            header_kind == spec.FRAME_HEADER
            and body_kind == spec.FRAME_BODY
            and number == header_number == body_number
            and body_size == _body_size(buffer, header)
        )
        channel = self._channels.get(number)
        if not is_whole or channel is None:
            return OTHER
        if len(buffer) < end:
            return INCOMPLETE
        if not buffer[header - 1] == buffer[body - 1] == buffer[end - 1] == spec.FRAME_END:
            return OTHER  # whose error pika knows
        self.frames_received += 3
        channel._on_deliver(
            frame.Method(number, _method(buffer, method + len(_DELIVER))),
            frame.Header(number, body_size, _properties(buffer, header, body)),
            buffer[body + spec.FRAME_HEADER_SIZE : end - 1],
        )
        return end - place


def _body_size(buffer: bytes, header: int) -> int:
    return int(_CONTENT.unpack_from(buffer, header + spec.FRAME_HEADER_SIZE)[2])


def _properties(buffer: bytes, header: int, end: int) -> Properties:
    properties = Properties()
    properties.decode(buffer[header + spec.FRAME_HEADER_SIZE + _CONTENT.size : end - 1])
    return properties


def _method(buffer: bytes, place: int) -> Any:
    """Basic.Deliver: three short strings, each after its length, and between the first two the tag."""
    consumer, place = _short(buffer, place)
    tag, redelivered = _TAG.unpack_from(buffer, place)
    exchange, place = _short(buffer, place + _TAG.size)
    routing_key, _ = _short(buffer, place)
    return spec.Basic.Deliver(consumer, tag, bool(redelivered & 1), exchange, routing_key)


def _short(buffer: bytes, place: int) -> tuple[str | bytes, int]:
    """As pika has it: what is no text stays bytes."""
    end = place + 1 + buffer[place]
    value = buffer[place + 1 : end]
    try:
        return value.decode(), end
    except UnicodeDecodeError:
        return value, end
