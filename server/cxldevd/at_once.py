"""Commands of an open call's message that are carried out at once: counted, timed, answered one by one."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import grpc

from cramwire import transfer_messages
from cramwire.request_id import message_id
from cramwire.v1 import memory_pb2
from cxldev.errors import DeviceError
from cxldevd.call_lines import SLOW_NS
from cxldevd.small_commands import fit_together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramwire.page_messages import PageRequest
    from cramwire.transfer_answers import Reply
    from cxldevd.calls import Guard
    from cxldevd.small_commands import SmallCommands
    from cxldevd.transfer_commands import TransferCommand
    from cxldevd.transfer_replies import Replies
    from cxldevd.waiting import Caller


class AtOnce:
    """Writes, and reads, of one session that stand behind one another, as far as they are small."""

    def __init__(self, small: SmallCommands, guard: Guard) -> None:
        self._small = small
        self._guard = guard

    def in_front(self, commands: Sequence[TransferCommand], replies: Replies) -> int:
        """How many of these, from the first one on, might go together; `replies` has room for that."""
        operation = commands[0].operation
        if operation not in {"write", "read"}:
            return 1
        alike = takewhile(lambda one: one.operation == operation, commands[: replies.fitting(len(commands))])
        return max(1, len(fit_together((one.request for one in alike), written=operation == "write")))

    def carry_out(
        self, commands: Sequence[TransferCommand], context: grpc.ServicerContext, replies: Replies
    ) -> bool:
        """Carry out those that might go together, and answer them.

        False: nothing happened. Each is to be carried out by itself: to try fewer of them again would take
        the time of all of them each time.
        """
        guard, operation = self._guard, commands[0].operation
        requests = [one.request for one in commands]
        began_ns = guard.clock.now_ns()
        with guard.metrics.running(operation):
            device_ns = self._tried(operation, requests, context, replies)
            if device_ns is None:
                return False
            wall_ns = guard.clock.now_ns() - began_ns
            for command, ns in zip(commands, device_ns, strict=True):
                guard.metrics.device_took(operation, ns)
                guard.metrics.ended(operation, grpc.StatusCode.OK)
                guard.metrics.took(operation, wall_ns)
                if wall_ns > SLOW_NS:
                    guard.lines.slow(operation, wall_ns, message_id(command.message), command.request)
        return True

    def _tried(
        self,
        operation: str,
        requests: Sequence[PageRequest],
        context: grpc.ServicerContext,
        replies: Replies,
    ) -> list[int] | None:
        """The device time of each, ns; None: nothing happened."""
        try:
            if self._guard.gate is not None:
                self._guard.gate.check(requests[0], context)
            carried_out = self._write if operation == "write" else self._read
            return carried_out(requests, context, _Answers(replies))
        except DeviceError:
            return None
        except Exception as error:  # noqa: BLE001 - logged; whose command has met a bug is found out one by one
            self._guard.lines.failed(operation, error, "", requests[0])
            return None

    def _write(self, requests: Sequence[PageRequest], caller: Caller, answers: _Answers) -> list[int] | None:
        """See `_tried`."""
        outcomes = self._small.store(requests, caller)
        if outcomes is None:
            return None
        for outcome in outcomes:
            written = memory_pb2.WriteResponse(
                accepted_pages=outcome.accepted_pages, device_ns=outcome.device_ns
            )
            answers.put(transfer_messages.put_answer(transfer_messages.WRITE, written))
        return [outcome.device_ns for outcome in outcomes]

    def _read(self, requests: Sequence[PageRequest], caller: Caller, answers: _Answers) -> list[int] | None:
        """See `_tried`."""
        device_ns = None
        try:
            device_ns = self._small.load(requests, answers, caller)
        finally:
            if device_ns is None:
                answers.void()
        return device_ns


class _Answers:
    """The answers to commands that go together, one behind the other, as one `Reply`."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self._mark = replies.mark()
        self._begun = False

    def put(self, answer: bytes) -> None:
        """See `Reply`: the next one."""
        self._next().put(answer)

    def room(self, size: int) -> memoryview:
        """See `Reply`: of the next one."""
        return self._next().room(size)

    def close(self, device_ns: int) -> None:
        """See `Reply`: that of now."""
        self._replies.reply.close(device_ns)

    def void(self) -> None:
        """As if there had been none."""
        self._replies.back_to(self._mark)

    def _next(self) -> Reply:
        if self._begun:
            self._replies.next_room()
        self._begun = True
        return self._replies.reply
