"""The messages of MemoryService.Transfer: those of the calls by themselves, each in one more field.

A message is one command, or several in one more field yet: then each of them is, byte for byte, what it would
be as a message of its own. The same holds for answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

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
    Taken: TypeAlias = tuple[str, Command]
    """`write`, `read` or `trim`, and what."""
    Answer: TypeAlias = memory_pb2.WriteResponse | ReadPages | memory_pb2.TrimResponse | status_pb2.Status

TRANSFER_METHOD: Final = "/cramwire.v1.MemoryService/Transfer"

WRITE: Final = 1
READ: Final = 2
TRIM: Final = 3
"""Fields of both messages, one for each kind of command and its answer."""
_REFUSED: Final = 4
_COMMANDS: Final = 4
ANSWERS: Final = 5
"""Fields of several commands, and of several answers."""
_LENGTH_DELIMITED: Final = 2
PAGE_BYTES: Final = 4096
_DPA_BYTES: Final = 8
_WRITTEN: Final = memory_pb2.WriteResponse
_TRIMMED: Final = memory_pb2.TrimResponse


class CommandParts(NamedTuple):
    """A command that is not joined yet: its pages are copied once, into the message that it goes in."""

    parts: Sequence[Buffer]
    size: int
    """Bytes."""
    answer: type[memory_pb2.WriteResponse | ReadPages | memory_pb2.TrimResponse]
    """What it is answered with, unless it is refused."""
    answer_bytes: int = 0
    """Bytes of pages in that."""

    def joined(self) -> bytes:
        """As a message of its own."""
        return b"".join(self.parts)

    def by_itself(self) -> bytes:
        """As the request of a call by itself."""
        return b"".join(self.parts[2:])


def write_parts(session: str, generation: str, dpas: Buffer, pieces: Sequence[Buffer]) -> CommandParts:
    """To write the pages in `pieces` at `dpas` (u64, little-endian)."""
    return CommandParts(*_around(WRITE, request_parts(session, generation, dpas, pieces)), _WRITTEN)


def read_parts(session: str, generation: str, dpas: Buffer) -> CommandParts:
    """To read `dpas` (u64, little-endian)."""
    parts, size = _around(READ, request_parts(session, generation, dpas, ()))
    return CommandParts(parts, size, ReadPages, len(dpas) // _DPA_BYTES * PAGE_BYTES)


def trim_parts(request: memory_pb2.TrimRequest) -> CommandParts:
    """To give ranges up."""
    return CommandParts(*_around(TRIM, (request.SerializeToString(),)), _TRIMMED)


def put_write_command(session: str, generation: str, dpas: Buffer, pieces: Sequence[Buffer]) -> bytes:
    """A TransferRequest to write the pages in `pieces` at `dpas` (u64, little-endian)."""
    return write_parts(session, generation, dpas, pieces).joined()


def put_read_command(session: str, generation: str, dpas: Buffer) -> bytes:
    """A TransferRequest to read `dpas` (u64, little-endian)."""
    return read_parts(session, generation, dpas).joined()


def put_trim_command(request: memory_pb2.TrimRequest) -> bytes:
    """A TransferRequest to give ranges up."""
    return trim_parts(request).joined()


def put_commands(commands: Sequence[CommandParts]) -> bytes:
    """A TransferRequest of them: one goes as it is."""
    if len(commands) == 1:
        return commands[0].joined()
    pieces: list[Buffer] = []
    for command in commands:
        pieces += (tag(_COMMANDS), varint(command.size))
        pieces += command.parts
    return b"".join(pieces)


def take_commands(message: bytes) -> list[Buffer] | None:
    """The commands of a TransferRequest, each as the message that it would be by itself: views, mostly.

    None: it holds one command and several others.

    Raises:
        google.protobuf.message.DecodeError: it is no such message.
    """
    several = _split(message, _COMMANDS)
    if several:
        return several
    if _take(message)[0] in {WRITE, READ, TRIM}:
        return [message]
    parsed = memory_pb2.TransferRequest.FromString(message)
    if not parsed.commands:
        return [message]
    if parsed.WhichOneof("command"):
        return None
    return [one.SerializeToString() for one in parsed.commands]


def take_command(message: Buffer) -> Taken | None:
    """What one command asks for. None: it is none that we know.

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
    parsed = memory_pb2.TransferRequest.FromString(bytes(message))
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


def take_answers(message: bytes) -> list[Answer | None]:
    """The answers in a TransferResponse; None stands for one that we do not know. At least one.

    Raises:
        google.protobuf.message.DecodeError: it is no such message.
    """
    several = _split(message, ANSWERS)
    if not several and _take(message)[0] not in _KNOWN:
        parsed = memory_pb2.TransferResponse.FromString(message)
        several = [one.SerializeToString() for one in parsed.answers]
    return [take_answer(one) for one in several or (message,)]


def take_answer(message: Buffer) -> Answer | None:
    """One answer. None: it is none that we know.

    Raises:
        google.protobuf.message.DecodeError: it is no such message.
    """
    field, inner = _take(message)
    if field == READ:
        return take_read_response(inner)
    if field in _PARSERS:
        return _PARSERS[field](bytes(inner))
    parsed = memory_pb2.TransferResponse.FromString(bytes(message))
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
_KNOWN: Final = frozenset({READ, *_PARSERS})


def _put(field: int, parts: Sequence[Buffer]) -> bytes:
    return b"".join(_around(field, parts)[0])


def _around(field: int, parts: Sequence[Buffer]) -> tuple[Sequence[Buffer], int]:
    """The parts of a message that has them in one field, and its size."""
    inside = sum(map(len, parts))
    length = varint(inside)
    return (tag(field), length, *parts), 1 + len(length) + inside


def _split(message: Buffer, field: int) -> list[Buffer]:
    """What stands in a field that is there several times; empty where there is anything else, too."""
    view, at, end, head = memoryview(message), 0, len(message), tag(field)[0]
    found: list[Buffer] = []
    while at < end:
        if message[at] != head:
            return []
        size, at = take_varint(message, at + 1, LONGEST_LENGTH)
        if at < 0 or at + size > end:
            return []
        found.append(view[at : at + size])
        at += size
    return found


def _take(message: Buffer) -> tuple[int, memoryview]:
    """The one field of a message and what is in it; field 0 where there is any other number of them."""
    view = memoryview(message)
    if not message or message[0] & 7 != _LENGTH_DELIMITED:
        return 0, view
    size, at = take_varint(message, 1, LONGEST_LENGTH)
    if at < 0 or at + size != len(message):
        return 0, view
    return message[0] >> 3, view[at:]
