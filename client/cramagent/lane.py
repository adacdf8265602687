"""The same-host lane, seen from the host: commands in shared memory, answers by a bell.

Any number of threads may use one lane. Of those that wait, one listens for the bell and wakes the others.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import threading
import time
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from cramwire.bell import Patience
from cramwire.lane import Command, LaneBroken, Operation, Segment, parse_hello
from cramwire.refusal import CODES, Refusal, Refused, refusal_of
from cramwire.request_id import command_id, lane_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from cramwire.lane import Answer

Buffer = bytes | bytearray | memoryview

_HELLO_BYTES: Final = 256
_DESCRIPTORS: Final = 3
_LOOK_NS: Final = 200_000
"""A small command takes about half of it."""
_LOOK_LONGER_NS: Final = 8_000
"""For each page."""
_LONGEST_LOOK_NS: Final = 500_000
_SOON_S: Final = 0.001
"""A timeout of 0 would mean another thing to a socket."""


class LaneClosed(Exception):
    """The lane is gone: what was asked may or may not have been done. Ask again on another road."""


class LaneCall:
    """One command that is under way. Must be finished, once."""

    __slots__ = ("_lane", "abandoned", "done", "number", "slot")

    def __init__(self, lane: Lane, slot: int, number: int) -> None:
        self._lane = lane
        self.slot = slot
        self.number = number
        """How many commands the lane has had with it."""
        self.done = False
        self.abandoned = False
        """Nobody waits any more: its slot is free once it is done."""

    def finish(self, timeout_s: float, take: Callable[[memoryview], None] | None = None) -> Answer:
        """Wait for the answer; `take` gets the pages of a read, good until it returns.

        Raises:
            Refused: the device said no, or nothing in time.
            LaneClosed: nobody will ever say.
        """
        return self._lane.finish(self, timeout_s, take)


class Lane:
    """One open lane. Made by `open_lane`."""

    def __init__(
        self, peer: socket.socket, segment: Segment, submitted: int, completed: int, *, name: str
    ) -> None:
        self._name = name
        self.span: Callable[[], bytes] | None = None
        """Tells which span a command belongs to; None: nobody traces."""
        self._peer = peer
        self._segment = segment
        self._submitted = submitted
        self._completed = completed
        self._poll = select.poll()
        self._poll.register(completed, select.POLLIN)
        self._poll.register(peer, select.POLLIN)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sleepers = 0
        """Threads that wait for `changed`: where there is one thread, there are none."""
        self._free = list(reversed(range(segment.geometry.slots)))
        self._calls: dict[int, LaneCall] = {}
        self._listening = False
        self._inside = 0
        """Threads that copy from or to the memory."""
        self._sent = self._heard = 0
        self._patience = Patience(_LOOK_NS)
        self._look_ns = _LOOK_NS
        """How long the answer to the command that was sent last is worth waiting for awake."""
        self._why_closed = ""

    @property
    def slots(self) -> int:
        """Commands that can be under way at one time."""
        return self._segment.geometry.slots

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return bool(self._why_closed)

    def fits(self, addresses: int, data_bytes: int) -> bool:
        """Whether a slot has room for this."""
        geometry = self._segment.geometry
        return addresses <= geometry.addresses and data_bytes <= geometry.data_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give all back. Calls under way end with LaneClosed."""
        with self._lock:
            if not self._why_closed:
                self._end("closed by its host")
            # The thread that listens uses the descriptors; the end of the socket wakes it.
            self._sleepers += 1
            self._changed.wait_for(lambda: not self._listening and not self._inside)
            self._sleepers -= 1
            if self._submitted < 0:
                return
            os.close(self._submitted)
            os.close(self._completed)
            self._submitted = self._completed = -1
            self._segment.close()
        self._peer.close()

    # -- commands -------------------------------------------------------------------------------

    def begin_write(self, dpas: Sequence[int], data: Buffer, timeout_s: float) -> LaneCall:
        """Submit a write of page i of `data` to `dpas[i]`. `data` may change once this returns."""
        return self._begin(Operation.WRITE, len(dpas), dpas, data, timeout_s)

    def begin_read(self, dpas: Sequence[int], timeout_s: float) -> LaneCall:
        """Submit a read."""
        return self._begin(Operation.READ, len(dpas), dpas, b"", timeout_s)

    def begin_trim(self, ranges: Sequence[tuple[int, int]], timeout_s: float) -> LaneCall:
        """Submit a TRIM of (start, length) in bytes."""
        flat = [number for one in ranges for number in one]
        return self._begin(Operation.TRIM, len(ranges), flat, b"", timeout_s)

    def begin_flush(self, timeout_s: float) -> LaneCall:
        """Submit a FLUSH."""
        return self._begin(Operation.FLUSH, 0, (), b"", timeout_s)

    def _begin(
        self, operation: Operation, count: int, addresses: Sequence[int], data: Buffer, timeout_s: float
    ) -> LaneCall:
        """Take a free slot, fill it, ring.

        Raises:
            Refused: no slot became free in time.
            LaneClosed: the lane is gone.
        """
        segment = self._segment
        with self._lock:
            if not self._free:
                self._wait(lambda: bool(self._free), time.monotonic() + timeout_s)
            if self.closed:
                raise LaneClosed(self._why_closed)
            slot = self._free.pop()
            self._inside += 1
        submitted = False
        try:
            if len(addresses) == 1:
                segment.addresses[slot][0] = addresses[0]
            else:
                segment.addresses[slot][: len(addresses)] = memoryview(array("Q", addresses))
            if data:
                segment.data[slot][: len(data)] = data
            segment.put_command(slot, Command(operation, count, len(data)))
            if self.span is not None:
                segment.put_span(slot, self.span())
            submitted = True
        finally:
            if not submitted:
                with self._lock:
                    self._leave(slot)
        with self._lock:
            if self._why_closed:
                self._leave(slot)
                raise LaneClosed(self._why_closed)
            self._inside -= 1
            segment.submissions[self._sent % segment.geometry.slots] = slot
            self._sent += 1
            self._look_ns = min(_LOOK_NS + count * _LOOK_LONGER_NS, _LONGEST_LOOK_NS)
            call = self._calls[slot] = LaneCall(self, slot, self._sent)
            os.eventfd_write(self._submitted, 1)
        return call

    def finish(self, call: LaneCall, timeout_s: float, take: Callable[[memoryview], None] | None) -> Answer:
        """See `LaneCall.finish`. A call that is not answered in time keeps its slot until it is."""
        slot = call.slot
        with self._lock:
            try:
                self._wait(lambda: call.done, time.monotonic() + timeout_s)
            except Refused as late:
                call.abandoned = True
                # Asked again, and followed by newer bytes, it must not be carried out after them.
                self._segment.withdraw(slot)
                raise Refused(replace(late.refusal, request_id=self._id_of(call))) from late
            self._inside += 1
        try:
            answer = self._segment.answer(slot)
            if answer.code:
                raise Refused(replace(self._refusal(slot, answer), request_id=self._id_of(call)))
            if take is not None:
                take(self._segment.data[slot][: answer.data_bytes])
        except (LaneBroken, DecodeError) as broken:
            with self._lock:
                self._end(str(broken))
            raise LaneClosed(str(broken)) from broken
        finally:
            with self._lock:
                self._leave(slot)
        return answer

    def _leave(self, slot: int) -> None:
        """Nobody is in this slot any more. Needs the lock."""
        self._inside -= 1
        self._free.append(slot)
        self._tell()

    def _tell(self) -> None:
        """Let those look who wait for a slot, an answer, or the end. Needs the lock."""
        if self._sleepers:
            self._changed.notify_all()

    def _id_of(self, call: LaneCall) -> str:
        return command_id(self._name, call.number)

    def _refusal(self, slot: int, answer: Answer) -> Refusal:
        status = status_pb2.Status.FromString(self._segment.detail(slot, answer.detail_bytes))
        code = CODES.get(answer.code, grpc.StatusCode.UNKNOWN)
        return refusal_of(code, status.message, status)

    # -- waiting --------------------------------------------------------------------------------

    def _wait(self, ready: Callable[[], bool], deadline: float) -> None:
        """Until it is ready. Needs the lock, and lets go of it while it waits.

        Raises:
            Refused: it was not ready in time.
            LaneClosed: the lane is gone.
        """
        while not ready():
            if self._why_closed:
                raise LaneClosed(self._why_closed)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise Refused(Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the lane did not answer in time"))
            if self._listening:
                self._sleepers += 1
                try:
                    self._changed.wait(left_s)
                finally:
                    self._sleepers -= 1
            else:
                self._listen(left_s)

    def _listen(self, left_s: float) -> None:
        """Wait for the bell, and note which calls are done. Needs the lock, as `_wait`."""
        self._listening = True
        self._lock.release()
        try:
            # Where several are under way, the next answer comes while one is busy with the last.
            events = self._patience.look(self._poll, self._look_ns) if self._sent - self._heard == 1 else []
            if not events:
                # Rounded up: poll counts in ms, and one that is too early would ask again in a tight loop.
                events = self._poll.poll(int(left_s * 1000) + 1)
        finally:
            self._lock.acquire()
            self._listening = False
        try:
            if self._completed in dict(events):
                self._hear(os.eventfd_read(self._completed))
            elif events:
                self._end("the device closed it")
        except (LaneBroken, OSError) as broken:
            self._end(str(broken))
        self._tell()

    def _hear(self, count: int) -> None:
        slots = self.slots
        if count > self._sent - self._heard:
            raise LaneBroken(f"{count} answers to {self._sent - self._heard} commands")
        for _ in range(count):
            slot = self._segment.completions[self._heard % slots]
            self._heard += 1
            call = self._calls.pop(slot, None)
            if call is None:
                raise LaneBroken(f"an answer to no command, in slot {slot}")
            call.done = True
            if call.abandoned:
                self._free.append(slot)

    def _end(self, why: str) -> None:
        """No more commands. Needs the lock."""
        if not self._why_closed:
            self._why_closed = why
            for slot in self._calls:
                self._segment.withdraw(slot)
            with contextlib.suppress(OSError):  # the device has closed it already
                self._peer.shutdown(socket.SHUT_RDWR)
        self._tell()


def open_lane(path: str, token: bytes, timeout_s: float) -> Lane:
    """Show a token at a lane's socket, and take what it hands over.

    Raises:
        OSError: nobody is there, or nobody answers in time, or we may not go there.
        LaneClosed: the token was not taken, or what came is no lane.
    """
    until = time.monotonic() + timeout_s
    with contextlib.ExitStack() as undo:
        peer = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        peer.settimeout(max(timeout_s, _SOON_S))
        peer.connect(path)
        peer.send(token)
        peer.settimeout(max(until - time.monotonic(), _SOON_S))
        hello, descriptors, _, _ = socket.recv_fds(peer, _HELLO_BYTES, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        for descriptor in descriptors:
            undo.callback(os.close, descriptor)
        if not hello:
            raise LaneClosed("the device did not take the token")
        if len(descriptors) != _DESCRIPTORS:
            raise LaneClosed(f"{len(descriptors)} descriptors came, not {_DESCRIPTORS}")
        memory, submitted, completed = descriptors
        try:
            geometry = parse_hello(hello)
            size = os.fstat(memory).st_size
            segment = Segment(mmap.mmap(memory, size), geometry)
        except (LaneBroken, ValueError) as broken:
            raise LaneClosed(str(broken)) from broken
        peer.settimeout(None)
        undo.pop_all()
        os.close(memory)
        return Lane(peer, segment, submitted, completed, name=lane_name(token))
