"""Data messages as they go over the wire, built with one copy of the pages where protobuf makes three.

The bench shares two processors with the device: what the client wastes, the device lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramlab.bench.rows import PAGE_BYTES
from cramwire.v1 import memory_pb2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DPAS_TAG: Final = b"\x1a"
_DATA_TAG: Final = b"\x22"
_READ_DATA_TAG: Final = 0x0A
_MORE: Final = 0x80


class Messages:
    """Requests of one session."""

    def __init__(self, session: str, generation: str) -> None:
        self._write = memory_pb2.WriteRequest(session=session, generation=generation).SerializeToString()
        self._read = memory_pb2.ReadRequest(session=session, generation=generation).SerializeToString()

    def write(self, dpas: NDArray[np.uint64], data: memoryview) -> bytes:
        """A WriteRequest; `data` is 4096 bytes for each address."""
        packed = dpas.astype("<u8", copy=False).data
        return b"".join(
            (self._write, _DPAS_TAG, varint(packed.nbytes), packed, _DATA_TAG, varint(data.nbytes), data)
        )

    def read(self, dpas: NDArray[np.uint64]) -> bytes:
        """A ReadRequest."""
        packed = dpas.astype("<u8", copy=False).data
        return b"".join((self._read, _DPAS_TAG, varint(packed.nbytes), packed))


def pages_of_reply(reply: bytes) -> memoryview | bytes:
    """The pages of a ReadResponse, not copied if they stand first, as they should.

    Raises:
        DecodeError: it is none.
    """
    if reply and reply[0] == _READ_DATA_TAG:
        size, at, shift = 0, 1, 0
        while at < len(reply):
            size |= (reply[at] & ~_MORE) << shift
            at, shift = at + 1, shift + 7
            if reply[at - 1] < _MORE:
                break
        # Whatever else is odd is left to the parser.
        if size % PAGE_BYTES == 0 and at + size <= len(reply):
            return memoryview(reply)[at : at + size]
    return memory_pb2.ReadResponse.FromString(reply).data


def varint(value: int) -> bytes:
    """A length as protobuf writes it."""
    out = bytearray()
    while value >= _MORE:
        out.append(value & (_MORE - 1) | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)
