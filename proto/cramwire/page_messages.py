"""The messages that carry pages, put together and taken apart without protobuf's copies of the pages.

protobuf copies a `bytes` field twice each way. Here a message is joined once, and taken apart into
views of what came in. On the wire it is the same, byte for byte; what does not have the plain form in
which every protobuf library writes (each field at most once, in ascending order, numbers packed) is left
to protobuf.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

from cramwire.v1 import memory_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

Buffer = bytes | bytearray | memoryview

WRITE_METHOD: Final = "/cramwire.v1.MemoryService/Write"
READ_METHOD: Final = "/cramwire.v1.MemoryService/Read"

_LENGTH_DELIMITED: Final = 2
_VARINT: Final = 0
LONGEST_LENGTH: Final = 5
"""Bytes of a length: of messages below 2 GiB."""
_LONGEST_VARINT: Final = 10
_LONGEST_TAIL: Final = 1 + _LONGEST_VARINT
"""Bytes of what stands behind the pages."""
_U64: Final = 2**64 - 1


class PageRequest(NamedTuple):
    """A WriteRequest, or a ReadRequest, which has no data. Views of the message."""

    session: str
    generation: str
    dpas: Buffer
    """u64, little-endian."""
    data: Buffer


class ReadPages(NamedTuple):
    """A ReadResponse. A view of the message."""

    data: bytes | memoryview
    device_ns: int


def pack_dpas(dpas: Sequence[int]) -> bytes:
    """Addresses as they stand in a message.

    Raises:
        struct.error: one is no u64.
    """
    return struct.pack(f"<{len(dpas)}Q", *dpas)


def put_write_request(session: str, generation: str, dpas: Buffer, pieces: Sequence[Buffer]) -> bytes:
    """A WriteRequest of `dpas` (u64, little-endian) and the pages in `pieces`."""
    return b"".join(request_parts(session, generation, dpas, pieces))


def request_parts(session: str, generation: str, dpas: Buffer, pieces: Sequence[Buffer]) -> list[Buffer]:
    """A WriteRequest as `put_write_request` joins it; without pieces, a ReadRequest."""
    parts: list[Buffer] = []
    for field, value in enumerate((session.encode(), generation.encode(), dpas), start=1):
        if len(value):
            parts += [tag(field), varint(len(value)), value]
    size = sum(map(len, pieces))
    if size:
        parts += [tag(4), varint(size), *pieces]
    return parts


def put_read_request(session: str, generation: str, dpas: Buffer) -> bytes:
    """A ReadRequest of `dpas` (u64, little-endian)."""
    return put_write_request(session, generation, dpas, ())


def put_read_response(pieces: Sequence[Buffer], device_ns: int) -> bytes:
    """A ReadResponse with these pages."""
    size = sum(map(len, pieces))
    parts: list[Buffer] = [tag(1), varint(size), *pieces] if size else []
    if device_ns:
        parts += [tag(2, _VARINT), varint(device_ns)]
    return b"".join(parts)


class ReadReply:
    """A ReadResponse whose pages are written where they stand in it: the message is never joined."""

    def __init__(self, size: int, inside: int = 0) -> None:
        """Room for `size` bytes of pages, above 0, all zeros. `inside`: the field of a message around it."""
        head = tag(1) + varint(size)
        self._length_bytes = 0
        if inside:
            # How long the reply is, its end will tell; never by so much that the length needs more bytes,
            # unless it is none of whole pages: then it takes one that it could do without.
            longest = varint(len(head) + size + _LONGEST_TAIL)
            self._length_bytes = len(longest)
            head = tag(inside) + longest + head
        self._end = len(head) + size
        self._message = BytesIO()
        self._message.write(head)
        # All that it will ever need, or it would be copied when it grows.
        self._message.seek(self._end + _LONGEST_TAIL - 1)
        self._message.write(b"\0")
        self._memory = self._message.getbuffer()
        self.pages: Final = self._memory[len(head) : self._end]
        """Where the pages go. Not to be used once the message was taken."""

    def take(self, device_ns: int) -> bytes:
        """The message, not copied; once.

        Raises:
            BufferError: somebody still holds a part of `pages`.
        """
        self.pages.release()
        self._memory.release()
        tail = tag(2, _VARINT) + varint(device_ns) if device_ns else b""
        if self._length_bytes:
            self._message.seek(1)
            inside = self._end + len(tail) - 1 - self._length_bytes
            self._message.write(varint(inside, self._length_bytes))
        self._message.seek(self._end)
        self._message.write(tail)
        self._message.truncate()
        return self._message.getvalue()


def take_write_request(message: Buffer) -> PageRequest:
    """A WriteRequest.

    Raises:
        google.protobuf.message.DecodeError: it is none.
    """
    plain = _plain_request(message, fields=4)
    if plain is not None:
        return plain
    parsed = memory_pb2.WriteRequest.FromString(bytes(message))
    return PageRequest(parsed.session, parsed.generation, pack_dpas(parsed.dpas), parsed.data)


def take_read_request(message: Buffer) -> PageRequest:
    """A ReadRequest.

    Raises:
        google.protobuf.message.DecodeError: it is none.
    """
    plain = _plain_request(message, fields=3)
    if plain is not None:
        return plain
    parsed = memory_pb2.ReadRequest.FromString(bytes(message))
    return PageRequest(parsed.session, parsed.generation, pack_dpas(parsed.dpas), b"")


def take_read_response(message: Buffer) -> ReadPages:
    """A ReadResponse.

    Raises:
        google.protobuf.message.DecodeError: it is none.
    """
    end = len(message)
    data: bytes | memoryview = b""
    at = 0
    if message[:1] == tag(1):
        size, at = take_varint(message, 1, LONGEST_LENGTH)
        if at < 0 or at + size > end:
            at = -1
        else:
            data, at = memoryview(message)[at : at + size], at + size
    if at == end:
        return ReadPages(data, 0)
    if at >= 0 and message[at : at + 1] == tag(2, _VARINT):
        device_ns, at = take_varint(message, at + 1, _LONGEST_VARINT)
        if at == end and device_ns <= _U64:
            return ReadPages(data, device_ns)
    parsed = memory_pb2.ReadResponse.FromString(bytes(message))
    return ReadPages(parsed.data, parsed.device_ns)


def _plain_request(message: Buffer, fields: int) -> PageRequest | None:
    """A request in plain form; None if it is anything else, right or wrong."""
    end, at, last = len(message), 0, 0
    view = memoryview(message)
    found: list[memoryview] = [view[:0]] * (fields + 1)
    while at < end:
        field, kind = message[at] >> 3, message[at] & 7
        if kind != _LENGTH_DELIMITED or not last < field <= fields:
            return None
        size, at = take_varint(message, at + 1, LONGEST_LENGTH)
        if at < 0 or at + size > end:
            return None
        found[field] = view[at : at + size]
        at += size
        last = field
    dpas = found[3]
    if len(dpas) % 8:
        return None
    try:
        session, generation = str(found[1], "utf-8"), str(found[2], "utf-8")
    except UnicodeDecodeError:
        return None
    return PageRequest(session, generation, dpas, found[4] if fields == 4 else b"")


def tag(field: int, kind: int = _LENGTH_DELIMITED) -> bytes:
    """What stands before a field's value."""
    return bytes((field << 3 | kind,))


def varint(value: int, least: int = 1) -> bytes:
    """A number, in `least` bytes or more."""
    out = bytearray()
    while value > 0x7F or len(out) < least - 1:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def take_varint(message: Buffer, at: int, longest: int) -> tuple[int, int]:
    """A number and the position behind it; that is -1 where there is no number so short."""
    value = 0
    for count, byte in enumerate(message[at : at + longest]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    return 0, -1
