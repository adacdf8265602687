"""The same-host lane: what stands where in the memory that a device and a host share.

A lane is one memfd and two eventfds, made by the device. The memory holds two rings of slot numbers
and `slots` slots. Each slot carries one command and its answer:

    page 0        submissions: u32[slots]; from byte 2048, completions: u32[slots]
    slot          command  32 bytes   operation, count, data bytes                    host writes
         +32      span     24 bytes   trace id, span id that the command belongs to   host may write
         +64      answer   64 bytes   code, detail bytes, value, device ns, data bytes  device writes
         +128     detail              a serialized google.rpc.Status, if refused        device writes
         +16384   addresses u64[]     DPAs; of a TRIM start, length, start, length, ... host writes
         +...     pages               4096 bytes each                         who has bytes to give

To submit, the host fills a free slot, writes its number at the next place of the submissions ring and
adds 1 to the eventfd `submitted`. The device does the same with completions and `completed`. The eventfds'
counters are all there is to know of how far the rings have come: there is no shared index that somebody
could scribble over, and the kernel orders the memory on every processor. At most `slots` commands are
under way, so that no ring's place is written anew before it was read.

A host that gives a command up before it is answered withdraws it: it writes 255 as the operation. The device
looks again before it changes anything, so that a command that was withdrawn does nothing late. Its slot is
free when its answer has come.

Neither end trusts the memory: what is read is copied first and checked then. All numbers are
little-endian.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import mmap

PAGE_BYTES: Final = 4096
TOKEN_BYTES: Final = 16
SOCKET_SUFFIX: Final = ".lane"
"""The lane's socket is named like the gRPC socket beside it, and this."""
MOST_SLOTS: Final = 512
"""What fits half a page as a ring."""
DETAIL_BYTES: Final = 16_384 - 128
"""Room for a status. The largest that the device gives takes half of it."""

_MAGIC: Final = b"cramlane"
_VERSION: Final = 1
_HELLO: Final = struct.Struct("<8sIIII")
_COMMAND: Final = struct.Struct("<IIQ")
_OPERATION: Final = struct.Struct("<I")
_WITHDRAWN: Final = 255
_ANSWER: Final = struct.Struct("<IIQQQ")
_COMPLETIONS_AT: Final = 2048
_SPAN_AT: Final = 32
SPAN_BYTES: Final = 24
_ANSWER_AT: Final = 64
_DETAIL_AT: Final = 128
_ADDRESSES_AT: Final = _DETAIL_AT + DETAIL_BYTES


class LaneBroken(Exception):
    """The other end does not keep to the contract; nothing more can be said on this lane."""


class Operation(IntEnum):
    """What a command asks for: the four calls of MemoryService."""

    WRITE = 1
    READ = 2
    TRIM = 3
    FLUSH = 4


@dataclass(slots=True)
class Command:
    """One command as the host wrote it: numbers that nobody has checked."""

    operation: int
    count: int
    """Pages, or ranges of a TRIM."""
    data_bytes: int
    """Of a write."""


class Answer(NamedTuple):
    """What came of a command. `code` is a google.rpc.Code; all else is 0 unless it says OK."""

    code: int
    detail_bytes: int = 0
    value: int = 0
    """Accepted pages, trimmed pages, or released media bytes."""
    device_ns: int = 0
    data_bytes: int = 0
    """Of a read."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How large a lane is. `pages` and `ranges` are what one command names at most.

    Raises:
        LaneBroken: no lane is like that.
    """

    slots: int
    pages: int
    ranges: int

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= MOST_SLOTS or not 1 <= self.pages <= 1 << 20 or self.ranges > 1 << 20:
            raise LaneBroken(f"no lane has {self.slots} slots of {self.pages} pages, {self.ranges} ranges")

    @property
    def addresses(self) -> int:
        """Numbers that a slot has room for."""
        return max(self.pages, 2 * self.ranges)

    @property
    def data_at(self) -> int:
        """Where a slot's pages begin, bytes from the slot."""
        return _whole_pages(_ADDRESSES_AT + 8 * self.addresses)

    @property
    def data_bytes(self) -> int:
        """Room for pages in a slot."""
        return self.pages * PAGE_BYTES

    @property
    def slot_bytes(self) -> int:
        """From one slot to the next."""
        return self.data_at + self.data_bytes

    @property
    def segment_bytes(self) -> int:
        """The whole memory."""
        return PAGE_BYTES + self.slots * self.slot_bytes


def pack_hello(geometry: Geometry) -> bytes:
    """The device's one message on the lane's socket, sent with the three descriptors."""
    return _HELLO.pack(_MAGIC, _VERSION, geometry.slots, geometry.pages, geometry.ranges)


def parse_hello(message: bytes) -> Geometry:
    """What the device's message says.

    Raises:
        LaneBroken: it is none, or one of a version that we do not know.
    """
    if len(message) != _HELLO.size:
        raise LaneBroken(f"a lane begins with {_HELLO.size} bytes, not {len(message)}")
    magic, version, slots, pages, ranges = _HELLO.unpack(message)
    if (magic, version) != (_MAGIC, _VERSION):
        raise LaneBroken(f"not a lane of version {_VERSION}")
    return Geometry(slots, pages, ranges)


class Segment:
    """The shared memory, by slot. Every getter returns numbers that were copied out once.

    Raises:
        LaneBroken: the memory is smaller than its geometry.
    """

    def __init__(self, memory: mmap.mmap, geometry: Geometry) -> None:
        if len(memory) < geometry.segment_bytes:
            raise LaneBroken(f"{len(memory)} bytes cannot hold {geometry}")
        self.geometry = geometry
        self._memory = memory
        whole = memoryview(memory)
        rings = whole[:PAGE_BYTES].cast("I")
        self.submissions: Final = rings[: geometry.slots]
        self.completions: Final = rings[_COMPLETIONS_AT // 4 : _COMPLETIONS_AT // 4 + geometry.slots]
        self._starts = [PAGE_BYTES + slot * geometry.slot_bytes for slot in range(geometry.slots)]
        self._details = [whole[at + _DETAIL_AT : at + _ADDRESSES_AT] for at in self._starts]
        self.addresses: Final = [
            whole[at + _ADDRESSES_AT : at + _ADDRESSES_AT + 8 * geometry.addresses].cast("Q")
            for at in self._starts
        ]
        """By slot: u64 each. Shared: copy before you look."""
        self.data: Final = [whole[at + geometry.data_at : at + geometry.slot_bytes] for at in self._starts]
        """By slot: room for pages. Shared: copy before you look."""
        self._views = [rings, self.submissions, self.completions, *self._details, *self.addresses, *self.data]
        self._views.append(whole)

    def put_command(self, slot: int, command: Command) -> None:
        """Write a command's numbers."""
        _COMMAND.pack_into(
            self._memory, self._starts[slot], command.operation, command.count, command.data_bytes
        )

    def command(self, slot: int) -> Command:
        """A command's numbers, whatever they are."""
        return Command(*_COMMAND.unpack_from(self._memory, self._starts[slot]))

    def put_span(self, slot: int, span: bytes) -> None:
        """Say which span the command belongs to; zeros: none. Hosts that trace do so at each command."""
        at = self._starts[slot] + _SPAN_AT
        self._memory[at : at + SPAN_BYTES] = span

    def span(self, slot: int) -> bytes:
        """What the host said of the span, whatever it is."""
        at = self._starts[slot] + _SPAN_AT
        return bytes(self._memory[at : at + SPAN_BYTES])

    def withdraw(self, slot: int) -> None:
        """Give a command up that is under way: it does nothing from now on that it has not done."""
        _OPERATION.pack_into(self._memory, self._starts[slot], _WITHDRAWN)

    def withdrawn(self, slot: int) -> bool:
        """Whether the host gave the command in this slot up."""
        operation: int = _OPERATION.unpack_from(self._memory, self._starts[slot])[0]
        return operation == _WITHDRAWN

    def put_answer(self, slot: int, answer: Answer, detail: bytes = b"") -> None:
        """Write an answer, and the status of a refusal. One that is too long is left away."""
        if len(detail) > DETAIL_BYTES:
            detail = b""
        self._details[slot][: len(detail)] = detail
        _ANSWER.pack_into(
            self._memory,
            self._starts[slot] + _ANSWER_AT,
            answer.code,
            len(detail),
            answer.value,
            answer.device_ns,
            answer.data_bytes,
        )

    def answer(self, slot: int) -> Answer:
        """An answer's numbers.

        Raises:
            LaneBroken: they claim more than a slot holds.
        """
        answer = Answer(*_ANSWER.unpack_from(self._memory, self._starts[slot] + _ANSWER_AT))
        if answer.detail_bytes > DETAIL_BYTES or answer.data_bytes > self.geometry.data_bytes:
            raise LaneBroken(f"no slot holds what this answer claims: {answer}")
        return answer

    def detail(self, slot: int, size: int) -> bytes:
        """The status of a refusal, serialized."""
        return bytes(self._details[slot][:size])

    def close(self) -> None:
        """Unmap. Who still holds a view (the traceback of a bug does) keeps the memory until it is let go."""
        with contextlib.suppress(BufferError):
            for view in self._views:
                view.release()
            self._memory.close()


def _whole_pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES
