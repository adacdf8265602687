"""Commands of a lane, carried out: numbers out of shared memory, through the same calls as gRPC's, back in.

Whatever stands in the memory is copied before it is looked at, and the pages of a write before they
are compressed. The pages of a read are expanded where the host looks at them; what it spoils there
meanwhile, the codec finds and expands again apart. A host that goes on scribbling changes its own bytes and
nothing else.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np

from cramwire.lane import PAGE_BYTES, Answer, Command, Operation
from cramwire.refusal import CODES
from cxldev.errors import CommandLost, InvalidField
from cxldevd.call_lines import SLOW_NS
from cxldevd.waiting import CallerGone

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramwire.lane import Segment
    from cramwire.otel import Traces
    from cxldev.outcomes import SessionRef
    from cxldevd.calls import Guard
    from cxldevd.from_wire import Addresses
    from cxldevd.lanes.lane import LaneCaller
    from cxldevd.memory_calls import MemoryCalls
    from cxldevd.runtime import Runtime
    from cxldevd.waiting import Caller

_FEW_BYTES: Final = 16 * PAGE_BYTES
"""Copied in less time than it takes to let other threads run meanwhile."""
_NAMES: Final = {operation.value: operation.name.lower() for operation in Operation}


class LaneCommands:
    """What all lanes share: the calls, and how they are counted."""

    def __init__(self, runtime: Runtime, calls: MemoryCalls, guard: Guard) -> None:
        self._runtime = runtime
        self._calls = calls
        self._guard = guard
        self._most_pages = guard.config.max_pages_per_request
        self._most_ranges = guard.config.max_ranges_per_trim
        self.looking: Final = threading.Lock()
        """Held by the lane that looks for its bell without sleep: one thread that does so is enough."""
        self._answers: dict[int, Callable[[Segment, int, Command, SessionRef, Caller], Answer]] = {
            Operation.WRITE: self._write,
            Operation.READ: self._read,
            Operation.TRIM: self._trim,
            Operation.FLUSH: self._flush,
        }

    def carry_out(
        self, segment: Segment, slot: int, command: Command, ref: SessionRef, caller: LaneCaller
    ) -> None:
        """Do what a command asks for, and write the answer into its slot. Counted and timed as any call."""
        guard = self._guard
        metrics, clock = guard.metrics, guard.clock
        operation = _NAMES.get(command.operation, "unknown")
        began_ns = clock.now_ns()
        metrics.begin(operation)
        detail = b""
        try:
            if self._runtime.draining:
                self._runtime.refuse_if_draining()
            answer = self._answers.get(command.operation, _unknown)(segment, slot, command, ref, caller)
        except Exception as error:  # noqa: BLE001 - a bug is one command's, answered INTERNAL and logged
            try:
                if isinstance(error, CommandLost):
                    guard.lines.lost(operation, error, caller.request_id, ref)
                    error = guard.losses.happen(error, caller)
                refused = guard.refused(operation, error, caller.request_id, ref)
                detail = refused.SerializeToString()
                answer = Answer(refused.code, len(detail))
            finally:
                wall_ns = clock.now_ns() - began_ns
                metrics.refused_after(operation, wall_ns)
        else:
            wall_ns = clock.now_ns() - began_ns
            metrics.answered(operation, wall_ns)
        if wall_ns > SLOW_NS:
            guard.lines.slow(operation, wall_ns, caller.request_id, ref)
        segment.put_answer(slot, answer, detail)

    def _write(
        self, segment: Segment, slot: int, command: Command, ref: SessionRef, caller: Caller
    ) -> Answer:
        size = command.data_bytes
        if command.count == 1 and size == PAGE_BYTES:
            dpa, page = segment.addresses[slot][0], memoryview(bytes(segment.data[slot][:PAGE_BYTES]))
            outcome = self._calls.store_one(ref, dpa, page, caller)
            return Answer(0, 0, outcome.accepted_pages, outcome.device_ns)
        dpas = self._addresses(segment, slot, command.count, self._most_pages)
        data = segment.data[slot]
        outcome = self._calls.store(ref, dpas, size, lambda begin, end: self._copied(data[begin:end]), caller)
        return Answer(0, value=outcome.accepted_pages, device_ns=outcome.device_ns)

    def _read(self, segment: Segment, slot: int, command: Command, ref: SessionRef, caller: Caller) -> Answer:
        into = segment.data[slot]
        if command.count == 1:
            one = self._calls.load_one(ref, segment.addresses[slot][0], caller)
            into[:PAGE_BYTES] = one.data
            return Answer(0, 0, 0, one.device_ns, PAGE_BYTES)
        dpas = self._addresses(segment, slot, command.count, self._most_pages)
        outcome = self._calls.load(ref, dpas, into, caller)
        return Answer(0, device_ns=outcome.device_ns, data_bytes=len(outcome.data))

    def _trim(self, segment: Segment, slot: int, command: Command, ref: SessionRef, caller: Caller) -> Answer:
        pairs = self._addresses(segment, slot, 2 * command.count, 2 * self._most_ranges)
        outcome = self._calls.give_up(ref, pairs[0::2], pairs[1::2], caller)
        return Answer(0, value=outcome.trimmed_pages, device_ns=outcome.device_ns)

    def _flush(
        self, _segment: Segment, _slot: int, _command: Command, ref: SessionRef, caller: Caller
    ) -> Answer:
        outcome = self._calls.wait_for_trims(ref, caller)
        return Answer(0, value=outcome.released_media_bytes, device_ns=outcome.device_ns)

    @staticmethod
    def _addresses(segment: Segment, slot: int, count: int, most: int) -> Addresses:
        """A copy of a command's addresses; of more than may be, just enough for the device to refuse."""
        if count > most:
            return np.zeros(most + 2, np.uint64)
        return np.array(segment.addresses[slot][:count], np.uint64)

    def _copied(self, data: memoryview) -> memoryview:
        """A part of a write, in memory of this thread that stays warm: zstd finds it in the core's cache."""
        size = len(data)
        if size <= _FEW_BYTES:
            return memoryview(bytes(data))
        pages = self._calls.pages_of_thread[:size]
        # numpy lets other threads run while it copies much.
        np.copyto(np.frombuffer(pages, np.uint8), np.frombuffer(data, np.uint8))
        return pages


class TracedCommands(LaneCommands):
    """Commands that are told of as spans."""

    def __init__(self, runtime: Runtime, calls: MemoryCalls, guard: Guard, traces: Traces) -> None:
        super().__init__(runtime, calls, guard)
        self._traces = traces

    def carry_out(
        self, segment: Segment, slot: int, command: Command, ref: SessionRef, caller: LaneCaller
    ) -> None:
        """As `LaneCommands`."""
        operation = _NAMES.get(command.operation, "unknown")
        parent = self._traces.unpacked(segment.span(slot))
        with self._traces.answering(operation, parent, request=caller.request_id) as span:
            super().carry_out(segment, slot, command, ref, caller)
            # The host may have scribbled over it meanwhile.
            code = CODES.get(segment.answer(slot).code)
            if code is not grpc.StatusCode.OK:
                self._traces.failed(span, getattr(code, "name", ""), "")


def _unknown(_segment: Segment, _slot: int, command: Command, _ref: SessionRef, caller: Caller) -> Answer:
    if not caller.is_active():  # withdrawn before it was looked at
        raise CallerGone
    raise InvalidField(f"a lane has no operation {command.operation}")
