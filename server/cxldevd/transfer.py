"""MemoryService.Transfer: commands one behind the other on an open call, each as a call by itself would be.

A call that stays open has a thread of its own, and each command takes its host's turn, as calls do: those
at rest keep nobody waiting, and no more commands work at one time than there are workers. Several commands
of one message are one behind the other, too: what they save is grpc's share of a message.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import grpc

from cramwire import transfer_messages
from cramwire.request_id import message_id
from cxldev.errors import CommandLost, DeviceError, SessionError
from cxldev.outcomes import SessionRef
from cxldevd.at_once import AtOnce
from cxldevd.call_lines import SLOW_NS
from cxldevd.calls import Asked
from cxldevd.pools import ender, settles
from cxldevd.transfer_commands import OPERATION, commands_of
from cxldevd.transfer_replies import Alone, Together
from cxldevd.waiting import CallerGone, PatientCaller, pause

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from cramwire.transfer_answers import Reply
    from cxldevd.calls import Guard
    from cxldevd.memory_calls import MemoryCalls
    from cxldevd.pools import CountedPool
    from cxldevd.runtime import Runtime
    from cxldevd.slots import Slots
    from cxldevd.transfer_commands import TransferCommand
    from cxldevd.transfer_replies import Replies
    from cxldevd.waiting import Caller

_DRAINS: Final = "the service is shutting down; try again when it is back"


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
        self._calls = calls
        self._at_once = None if calls.small is None else AtOnce(calls.small, guard)
        self._answers: dict[str, Callable[[Any, Caller, Reply], None]] = {
            "write": lambda request, caller, reply: reply.put(
                transfer_messages.put_answer(transfer_messages.WRITE, calls.write(request, caller))
            ),
            "read": calls.read_into,
            "trim": lambda request, caller, reply: reply.put(
                transfer_messages.put_answer(transfer_messages.TRIM, calls.trim(request, caller))
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
        commands = commands_of(message)
        try:
            holder = self._holder(commands[0], context)
        except DeviceError:
            # The commands meet the same: let them tell.
            yield from self._answer(commands, context)
            return
        with self._slots.one(holder):
            while (yield from self._answer(commands, context)):
                message = self._next(messages, end)
                if message is None:
                    return
                commands = commands_of(message)

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

    def _holder(self, command: TransferCommand, context: grpc.ServicerContext) -> str:
        """The host whose call this is: that of the first command. Raises DeviceError."""
        if isinstance(command.taken, DeviceError):
            raise command.taken
        _, request = command.taken
        if self._guard.gate is not None:
            self._guard.gate.check(request, context)
        with self._runtime.device() as (device, now_ns):
            return device.host_of(SessionRef(request.session, request.generation), now_ns)

    def _answer(
        self, commands: Sequence[TransferCommand], context: grpc.ServicerContext
    ) -> Generator[bytes, None, bool]:
        """Answer a message, in one or several; whether there can be another."""
        replies: Replies = Alone()
        if len(commands) > 1:
            replies = Together([self._most_answered(command) for command in commands])
        done = alone = 0
        while done < len(commands):
            if done and self._runtime.draining:
                yield from replies.all()
                self._runtime.refuse_if_draining()
            yield from replies.make_room()
            if self._at_once is not None and not alone and len(commands) > 1:
                alone = self._at_once.in_front(commands[done:], replies)
                group = commands[done : done + alone]
                if alone > 1 and self._at_once.carry_out(group, context, replies):
                    done, alone = done + alone, 0
                    continue
            goes_on = yield from self._carry_out(commands[done], context, replies)
            if not goes_on:
                yield from replies.all()
                return False
            done, alone = done + 1, max(0, alone - 1)
        yield from replies.all()
        return True

    def _most_answered(self, command: TransferCommand) -> int:
        """Bytes of pages in the answer."""
        return self._calls.most_read(command.request) if command.operation == "read" else 0

    def _carry_out(
        self, command: TransferCommand, context: grpc.ServicerContext, replies: Replies
    ) -> Generator[bytes, None, bool]:
        """One command, counted and timed as a call by itself; and whether there can be another."""
        guard, operation, request = self._guard, command.operation, command.request
        if isinstance(command.taken, DeviceError):
            status = guard.refused(operation, command.taken, message_id(command.message))
            yield from replies.refuse(transfer_messages.put_refusal(status))
            return True
        caller = PatientCaller(context)
        began_ns, goes_on = guard.clock.now_ns(), True
        with guard.metrics.running(operation):
            try:
                error = self._refused(command, context, caller, replies.reply)
                if isinstance(error, CommandLost) or caller.owed_ns:
                    # What was answered shall not wait for this.
                    yield from replies.before()
                    error = self._wait(command, context, error, caller.owed_ns)
                if error is None:
                    guard.metrics.ended(operation, grpc.StatusCode.OK)
                else:
                    status = guard.refused(operation, error, message_id(command.message), request)
                    if isinstance(error, CallerGone):
                        raise error
                    yield from replies.refuse(transfer_messages.put_refusal(status))
                    goes_on = not isinstance(error, SessionError)
            finally:
                wall_ns = guard.clock.now_ns() - began_ns
                guard.metrics.took(operation, wall_ns)
                if wall_ns > SLOW_NS:
                    guard.lines.slow(operation, wall_ns, message_id(command.message), request)
        return goes_on

    def _refused(
        self, command: TransferCommand, context: grpc.ServicerContext, caller: Caller, reply: Reply
    ) -> Exception | None:
        """Carry a command out, up to what it is to wait for. Why not, if not: a bug is one command's, too."""
        try:
            if self._guard.gate is not None:
                self._guard.gate.check(command.request, context)
            self._answers[command.operation](command.request, caller, reply)
        except Exception as error:  # noqa: BLE001 - answered INTERNAL and logged
            return error
        return None

    def _wait(
        self, command: TransferCommand, context: grpc.ServicerContext, error: Exception | None, ns: int
    ) -> Exception | None:
        """What keeps an answer back, or delays it; what the command then ends with."""
        guard = self._guard
        if isinstance(error, CommandLost):
            guard.lines.lost(command.operation, error, message_id(command.message), command.request)
            # What follows on this call waits until its host gives the call up, or the fault is cleared.
            return guard.losses.happen(error, context)
        try:
            pause(context, guard.clock, ns)
        except CallerGone as gone:
            return gone
        return error


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
