"""Commands on open calls of MemoryService.Transfer: at half the cost of calls by themselves, or less.

Which commands go together, and on which call, `outbox` says. Answers come in the order of the commands.
Whoever waits for an answer receives it, and those of others that come with it or before: no thread but grpc's
own stands between.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

import grpc
from google.rpc import status_pb2

from cramagent.deadlines import Deadlines
from cramagent.outbox import Line, Outbox
from cramagent.transfer import ENDED, LATE, Transfer, TransferBroken
from cramwire.refusal import CODES, Refused, refusal_of
from cramwire.request_id import message_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramwire.refusal import Refusal
    from cramwire.transfer_messages import Answer, CommandParts

_AGAIN_S: Final = 1.0
"""After one broke, no other is opened for so long."""


class Asked:
    """A command that was begun. The memory of its pages stays as it is until it is finished."""

    __slots__ = ("answer", "broken", "command", "deadline", "line", "weight")

    def __init__(self, command: CommandParts, deadline: float) -> None:
        """`deadline`: of `monotonic()`."""
        self.command = command
        self.weight = max(command.size, command.answer_bytes)
        self.deadline = deadline
        self.line: Line[Asked] | None = None
        """Where it is under way, or was. None: it waits for others."""
        self.answer: Answer | None = None
        self.broken: Refusal | None = None
        """Why it has no answer and will have none."""

    @property
    def over(self) -> bool:
        """Whether nobody has to wait for it any more."""
        return self.answer is not None or self.broken is not None


class OpenCalls:
    """Those of one host. Any thread may ask."""

    def __init__(self, channel: grpc.Channel, most_open: int) -> None:
        self._channel = channel
        self._most_open = most_open
        self._changed = threading.Condition(threading.Lock())
        self._outbox: Outbox[Asked] = Outbox(most_open)
        self._transfers: dict[Line[Asked], Transfer] = {}
        self._received: set[Line[Asked]] = set()
        """Those on which somebody waits for answers."""
        self._deadlines = Deadlines()
        self._not_before = 0.0

    def together(self, most_commands: int) -> None:
        """How many commands the device takes in one message."""
        with self._changed:
            self._outbox.most_commands = max(1, most_commands)

    def begin(self, commands: Sequence[CommandParts], timeout: float) -> list[Asked] | None:
        """Send commands, each to be answered within so many seconds. None: there is no call to be had.

        Those of them that find all calls busy go when the next answers have come, several in a message.
        """
        deadline = monotonic() + timeout
        with self._changed:
            may_open = deadline - timeout >= self._not_before
            self._outbox.most_lines = self._most_open if may_open else 0
            if not may_open and not self._transfers:
                return None
            asked = [Asked(command, deadline) for command in commands]
            self._outbox.queued.extend(asked)
            self._post()
        return asked

    def finish(self, asked: Asked) -> Answer:
        """Wait for the answer.

        Raises:
            Refused: the device says no.
            TransferBroken: there is none, and will be none.
        """
        while not asked.over:
            line = self._line_to_receive(asked)
            if line is not None:
                self._receive(line)
        answer = asked.answer
        if answer is None:
            assert asked.broken is not None
            raise TransferBroken(replace(asked.broken, request_id=_name_of(asked)))
        if isinstance(answer, status_pb2.Status):
            code = CODES.get(answer.code, grpc.StatusCode.UNKNOWN)
            raise Refused(replace(refusal_of(code, answer.message, answer), request_id=_name_of(asked)))
        return answer

    def give_up(self, commands: Sequence[Asked]) -> None:
        """Nobody waits for these any more: nothing of them happens from now on.

        Others that go with them lose their answers, too.
        """
        with self._changed:
            for asked in commands:
                if not asked.over:
                    self._lose(asked)

    def late(self) -> None:
        """Some that wait for a call to go on have waited too long."""
        now = monotonic()
        with self._changed:
            for asked in [one for one in self._outbox.queued if one.deadline <= now]:
                self._outbox.withdraw(asked)
                asked.broken = LATE
            self._changed.notify_all()

    def close(self) -> None:
        """End all calls on which nothing is under way, and open no more."""
        with self._changed:
            self._not_before = inf
            self._end_resting()

    # -- inside: all but `_receive` need the lock ---------------------------------------------------

    def _post(self) -> None:
        """Send what is to go now."""
        outbox = self._outbox
        while (message := outbox.next_message()) is not None:
            line, commands = message
            transfer = self._transfers.get(line)
            if transfer is None:
                transfer = self._transfers[line] = Transfer(self._channel)
            for asked in commands:
                asked.line = line
            transfer.send([asked.command for asked in commands])
            self._expect(line)
        if outbox.queued:
            self._deadlines.expect(self, min(asked.deadline for asked in outbox.queued))

    def _expect(self, line: Line[Asked]) -> None:
        due = min((asked.deadline for asked in line.under_way), default=None)
        self._deadlines.expect(self._transfers[line], due)

    def _line_to_receive(self, asked: Asked) -> Line[Asked] | None:
        """The call that this thread is to receive on; None: look again."""
        with self._changed:
            if asked.over:
                return None
            # One that has not gone yet goes when there is an answer on any of them.
            lines = self._transfers if asked.line is None else (asked.line,)
            line = next((one for one in lines if one not in self._received), None)
            if line is None:
                self._changed.wait()
            else:
                self._received.add(line)
            return line

    def _receive(self, line: Line[Asked]) -> None:
        """The next answers of a call, for whoever waits for them."""
        transfer = self._transfers[line]
        broken: TransferBroken | None = None
        answers: list[Answer | None] = []
        try:
            answers = transfer.receive()
        except TransferBroken as error:
            broken = error
        finally:
            with self._changed:
                self._received.discard(line)
                if not self._take(line, answers):
                    self._broken(line, broken)
                self._post()
                self._changed.notify_all()

    def _take(self, line: Line[Asked], answers: Sequence[Answer | None]) -> bool:
        """Give answers to whom they are for. False: the call is of no use any more."""
        for answer in answers:
            expected = line.under_way[0].command.answer if line.under_way else type(None)
            if not isinstance(answer, (expected, status_pb2.Status)):
                return False
            self._outbox.answered(line).answer = answer
        if answers and line in self._transfers:
            self._expect(line)
            if not line.under_way and self._not_before == inf:
                self._end_resting()
        return bool(answers)

    def _broken(self, line: Line[Asked], broken: TransferBroken | None) -> None:
        """A call has ended: what rests is likely to have, too. For a while no other is opened."""
        transfer = self._transfers.pop(line)
        # Who was not late itself may repeat what it asked for.
        refusal = ENDED if broken is None or transfer.was_late else broken.refusal
        now = monotonic()
        for asked in self._outbox.broke(line):
            asked.broken = LATE if transfer.was_late and asked.deadline <= now else refusal
        self._deadlines.expect(transfer, None)
        transfer.close()
        wait_s = inf if refusal.code is grpc.StatusCode.UNIMPLEMENTED else _AGAIN_S
        self._not_before = max(self._not_before, now + wait_s)
        self._outbox.most_lines = 0
        self._end_resting()
        if not self._transfers:
            for asked in self._outbox.queued:
                asked.broken = refusal
            self._outbox.queued.clear()

    def _end_resting(self) -> None:
        for line in [one for one in self._transfers if not one.under_way]:
            self._outbox.broke(line)
            self._transfers.pop(line).close()

    def _lose(self, asked: Asked) -> None:
        if self._outbox.withdraw(asked):
            asked.broken = ENDED
        elif asked.line in self._transfers:
            # Whoever receives on it is told, and tells the others.
            self._transfers[asked.line].close()
            if asked.line not in self._received:
                self._broken(asked.line, None)
        self._changed.notify_all()


def _name_of(asked: Asked) -> str:
    """As the device names it in its log."""
    return message_id(asked.command.joined())
