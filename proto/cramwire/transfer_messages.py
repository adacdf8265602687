"""The messages of MemoryService.Transfer: those of the calls by themselves, each in one more field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from google.rpc import status_pb2

from cramwire.page_messages import (
    LONGEST_LENGTH,
    Buffer,
    PageRequest,
    ReadPages,
    put_read_response,
    request_parts,
    tag,
    take_read_request,
    take_read_response,
    take_varint,
    take_write_request,
    varint,
)
from cramwire.v1 import memory_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    Command: TypeAlias = PageRequest | memory_pb2.TrimRequest
    Answer: TypeAlias = memory_pb2.WriteResponse | ReadPages | memory_pb2.TrimResponse | status_pb2.Status

TRANSFER_METHOD: Final = "/cramwire.v1.MemoryService/Transfer"

WRITE: Final = 1
READ: Final = 2
TRIM: Final = 3
"""Fields of both messages, one for each kind of command and its answer."""
_REFUSED: Final = 4
_LENGTH_DELIMITED: Final = 2


def put_write_command(session: str, generation: str, dpas: Buffer, pieces: Sequence[Buffer]) -> bytes:
    """A TransferRequest to write the pages in `pieces` at `dpas` (u64, little-endian)."""
    return _put(WRITE, request_parts(session, generation, dpas, pieces))


def put_read_command(session: str, generation: str, dpas: Buffer) -> bytes:
    """A TransferRequest to read `dpas` (u64, little-endian)."""
    return _put(READ, request_parts(session, generation, dpas, ()))


def put_trim_command(request: memory_pb2.TrimRequest) -> bytes:
    """A TransferRequest to give ranges up."""
    return _put(TRIM, (request.SerializeToString(),))


def take_command(message: bytes) -> tuple[str, Command] | None:
    """A TransferRequest: `write`, `read` or `trim`, and what. None: it holds no command that we know.

    Raises:
        google.protobuf.message.DecodeError: it is no such message.
    """
    field, inner = _take(message)
    if field == WRITE:
        return "write", take_write_request(inner)
    if field == READ:
        return "read", take_read_request(inner)
    if field == TRIM:
        return "trim", memory_pb2.TrimRequest.FromString(bytes(inner))
    parsed = memory_pb2.TransferRequest.FromString(message)
    match parsed.WhichOneof("command"):
        case "write":
            return "write", take_write_request(parsed.write.SerializeToString())
        case "read":
            return "read", take_read_request(parsed.read.SerializeToString())
        case "trim":
            return "trim", parsed.trim
    return None


def put_answer(field: int, response: Message) -> bytes:
    """A TransferResponse with the answer to a write or a TRIM."""
    return _put(field, (response.SerializeToString(),))


def put_read_answer(page: Buffer, device_ns: int) -> bytes:
    """A TransferResponse with one page, or none. Several go into a `ReadReply` inside field READ."""
    return _put(READ, (put_read_response((page,), device_ns),))


def put_refusal(status: status_pb2.Status) -> bytes:
    """A TransferResponse that says no."""
    return _put(_REFUSED, (status.SerializeToString(),))


def take_answer(message: bytes) -> Answer | None:
    """A TransferResponse. None: it holds no answer that we know.

    Raises:
        google.protobuf.message.DecodeError: it is no such message.
    """
    field, inner = _take(message)
    if field == READ:
        return take_read_response(inner)
    if field in _PARSERS:
        return _PARSERS[field](bytes(inner))
    parsed = memory_pb2.TransferResponse.FromString(message)
    match parsed.WhichOneof("answer"):
        case "write":
            return parsed.write
        case "read":
            return ReadPages(parsed.read.data, parsed.read.device_ns)
        case "trim":
            return parsed.trim
        case "refused":
            return status_pb2.Status.FromString(parsed.refused)
    return None


_PARSERS: Final[dict[int, Callable[[bytes], Answer]]] = {
    WRITE: memory_pb2.WriteResponse.FromString,
    TRIM: memory_pb2.TrimResponse.FromString,
    _REFUSED: status_pb2.Status.FromString,
}


def _put(field: int, parts: Sequence[Buffer]) -> bytes:
    return b"".join((tag(field), varint(sum(map(len, parts))), *parts))


def _take(message: bytes) -> tuple[int, memoryview]:
    """The one field of a message and what is in it; field 0 where there is any other number of them."""
    view = memoryview(message)
    if not message or message[0] & 7 != _LENGTH_DELIMITED:
        return 0, view
    size, at = take_varint(message, 1, LONGEST_LENGTH)
    if at < 0 or at + size != len(message):
        return 0, view
    return message[0] >> 3, view[at:]
