"""Answers of MemoryService.Transfer, put together: pages are written where they stand in the message."""

from __future__ import annotations

from io import BytesIO
from typing import Final, Protocol

from cramwire.page_messages import ReadReply, tag, varint
from cramwire.transfer_messages import ANSWERS, READ

AROUND: Final = 48
"""Bytes around the pages of one of several answers, at most: four fields, their lengths, and device time."""
_DEVICE_NS: Final = 2
_VARINT: Final = 0
_TAIL: Final = 11
"""Bytes of device time behind the pages, at most."""


class Reply(Protocol):
    """Where a command's answer goes."""

    def put(self, answer: bytes) -> None:
        """The answer, as a message of its own."""
        ...

    def room(self, size: int) -> memoryview:
        """Where so many bytes of pages go, above 0. `close` or `put` follows."""
        ...

    def close(self, device_ns: int) -> None:
        """The pages are there."""
        ...


class OneAnswer:
    """The answer to a message of one command."""

    def __init__(self) -> None:
        self.message = b""
        """The TransferResponse."""
        self._pages: ReadReply | None = None

    def put(self, answer: bytes) -> None:
        """See `Reply`."""
        self.message = answer

    def room(self, size: int) -> memoryview:
        """See `Reply`."""
        self._pages = ReadReply(size, READ)
        return self._pages.pages

    def close(self, device_ns: int) -> None:
        """See `Reply`."""
        assert self._pages is not None
        self.message = self._pages.take(device_ns)


class Answers:
    """Answers to some of a message's commands, one behind the other."""

    def __init__(self, capacity: int) -> None:
        """Room for so many bytes, above 0."""
        self._message = BytesIO()
        self._capacity = capacity
        # All that it will ever need, or it would be copied when it grows.
        self._message.seek(capacity - 1)
        self._message.write(b"\0")
        self._memory = self._message.getbuffer()
        self._room = (0, 0, 0, 0, 0)
        self.end = 0
        """Bytes so far: what stands before and behind the end of an answer are messages by themselves."""

    def fits(self, size: int) -> bool:
        """Whether there is room for so much more, what stands around an answer included."""
        return self.end + size <= self._capacity

    def put(self, answer: bytes) -> None:
        """See `Reply`. It has to fit."""
        self.append(tag(ANSWERS) + varint(len(answer)) + answer)

    def room(self, size: int) -> memoryview:
        """See `Reply`. It has to fit."""
        # How long the fields around it are, its end will tell: never by so much that a length needs more
        # bytes, unless it is none of whole pages. Then it takes one that it could do without.
        field = tag(1) + varint(size)
        inner = len(varint(len(field) + size + _TAIL))
        outer = len(varint(1 + inner + len(field) + size + _TAIL))
        at = self.end + 2 + outer + inner + len(field)
        self._memory[at - len(field) : at] = field
        self._room = (at, size, outer, inner, len(field))
        return self._memory[at : at + size]

    def close(self, device_ns: int) -> None:
        """See `Reply`."""
        at, size, outer, inner, field = self._room
        tail = tag(_DEVICE_NS, _VARINT) + varint(device_ns) if device_ns else b""
        inside = field + size + len(tail)
        read = tag(READ) + varint(inside, inner)
        self.append(tag(ANSWERS) + varint(len(read) + inside, outer) + read)
        self.end = at + size
        self.append(tail)

    def take(self) -> bytes:
        """The message, which is empty if nothing was put into it; once."""
        try:
            self._memory.release()
            self._message.truncate(self.end)
        except BufferError:
            # Whoever was to fill a room and raised instead may hold it yet.
            return self._message.getvalue()[: self.end]
        return self._message.getvalue()

    def append(self, part: bytes) -> None:
        """Bytes of such a message. They have to fit."""
        end = self.end + len(part)
        self._memory[self.end : end] = part
        self.end = end


def put_alone(answer: bytes) -> bytes:
    """A TransferResponse with one of several answers."""
    return b"".join((tag(ANSWERS), varint(len(answer)), answer))
