"""MemoryService.Transfer: commands one behind the other on an open call, each as a call by itself would be.

A call that stays open has a thread of its own, and each command takes its host's turn, as calls do: those
at rest keep nobody waiting, and no more commands work at one time than there are workers.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import grpc

from cramwire import transfer_messages
from cramwire.request_id import message_id
from cxldev.errors import CommandLost, DeviceError, InvalidField, SessionError
from cxldev.outcomes import SessionRef
from cxldevd.call_lines import SLOW_NS
from cxldevd.calls import Asked
from cxldevd.pools import ender, settles
from cxldevd.waiting import CallerGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cramwire.transfer_messages import Command
    from cxldevd.calls import Guard
    from cxldevd.memory_calls import MemoryCalls
    from cxldevd.pools import CountedPool
    from cxldevd.runtime import Runtime
    from cxldevd.slots import Slots

OPERATION: Final = "transfer"
_DRAINS: Final = "the service is shutting down; try again when it is back"
_UNKNOWN: Final = "the message holds no command that this device knows: write, read or trim"


class Transfers:
    """The call, however often it is open."""

    def __init__(self, runtime: Runtime, calls: MemoryCalls, guard: Guard, slots: Slots) -> None:
        """`slots`: of open calls."""
        self._runtime = runtime
        self._guard = guard
        self._slots = slots
        self._lock = threading.Lock()
        self._resting: set[Callable[[str], bool]] = set()
        """What ends them."""
        self._answers: dict[str, Callable[[Any, grpc.ServicerContext], bytes]] = {
            "write": lambda request, context: transfer_messages.put_answer(
                transfer_messages.WRITE, calls.write(request, context)
            ),
            "read": calls.read_in_transfer,
            "trim": lambda request, context: transfer_messages.put_answer(
                transfer_messages.TRIM, calls.trim(request, context)
            ),
        }

    def end_resting(self) -> None:
        """End calls that have no command under way: the service drains. The others end behind theirs."""
        with self._lock:
            for end in self._resting:
                end(_DRAINS)

    def serve(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer commands, in order, until the host ends the call or its session is over.

        Raises:
            DecodeError: the bytes of a message are none.
            DeviceBusy: there are as many such calls as there may be, or the service drains.
            CallerGone: nobody waits for answers any more.
            grpc.RpcError: likewise, while the next command was waited for.
        """
        end = ender()
        message = self._next(messages, end)
        if message is None:
            return
        settles()
        try:
            holder = self._holder(message, context)
        except DeviceError:
            # The command meets the same: let it tell.
            yield self._answer(message, context)[0]
            return
        with self._slots.one(holder):
            while message is not None:
                answer, goes_on = self._answer(message, context)
                yield answer
                if not goes_on:
                    return
                message = self._next(messages, end)

    def _next(self, messages: Iterator[bytes], end: Callable[[str], bool]) -> bytes | None:
        with self._lock:
            self._resting.add(end)
        try:
            # Looked at only now: who drains has seen this call at rest, or this sees that it drains.
            self._runtime.refuse_if_draining()
            message = next(messages, None)
        finally:
            with self._lock:
                self._resting.discard(end)
        self._runtime.refuse_if_draining()
        return message

    def _holder(self, message: bytes, context: grpc.ServicerContext) -> str:
        """The host whose call this is: that of the first command. Raises DeviceError."""
        command = transfer_messages.take_command(message)
        if command is None:
            raise InvalidField(_UNKNOWN)
        _, request = command
        if self._guard.gate is not None:
            self._guard.gate.check(request, context)
        with self._runtime.device() as (device, now_ns):
            return device.host_of(SessionRef(request.session, request.generation), now_ns)

    def _answer(self, message: bytes, context: grpc.ServicerContext) -> tuple[bytes, bool]:
        """One command, counted and timed as a call by itself; and whether there can be another."""
        command = transfer_messages.take_command(message)
        if command is None:
            status = self._guard.refused(OPERATION, InvalidField(_UNKNOWN), message_id(message))
            return transfer_messages.put_refusal(status), True
        guard, (operation, request) = self._guard, command
        began_ns = guard.clock.now_ns()
        with guard.metrics.running(operation):
            try:
                answer, goes_on = self._carried_out(message, operation, request, context), True
            except CallerGone as gone:
                guard.refused(operation, gone, message_id(message), request)
                raise
            except Exception as error:  # noqa: BLE001 - a bug is one command's, answered INTERNAL and logged
                status = guard.refused(operation, error, message_id(message), request)
                answer, goes_on = transfer_messages.put_refusal(status), not isinstance(error, SessionError)
            else:
                guard.metrics.ended(operation, grpc.StatusCode.OK)
            finally:
                wall_ns = guard.clock.now_ns() - began_ns
                guard.metrics.took(operation, wall_ns)
                if wall_ns > SLOW_NS:
                    guard.lines.slow(operation, wall_ns, message_id(message), request)
        return answer, goes_on

    def _carried_out(
        self, message: bytes, operation: str, request: Command, context: grpc.ServicerContext
    ) -> bytes:
        try:
            if self._guard.gate is not None:
                self._guard.gate.check(request, context)
            return self._answers[operation](request, context)
        except CommandLost as lost:
            self._guard.lines.lost(operation, lost, message_id(message), request)
            # What follows on this call waits until its host gives the call up, or the fault is cleared.
            raise self._guard.losses.happen(lost, context) from lost


class TransferCall:
    """The call as gRPC makes it. `experimental_thread_pool` is where it holds a thread."""

    def __init__(self, transfers: Transfers, guard: Guard, pool: CountedPool, most_open: int) -> None:
        self.most_open = most_open
        self._transfers = transfers
        self._guard = guard
        self.experimental_thread_pool = pool

    def __call__(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer until the call ends, or abort with a status."""
        guard = self._guard
        with guard.metrics.running(OPERATION, stream=True):
            try:
                yield from self._transfers.serve(messages, context)
            except grpc.RpcError:
                guard.metrics.ended(OPERATION, grpc.StatusCode.CANCELLED)
                raise
            except Exception as error:
                guard.fail(Asked(OPERATION, context), error)
                raise
            guard.metrics.ended(OPERATION, grpc.StatusCode.OK)
