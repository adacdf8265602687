"""Which commands go in which message, on which open call. Pure: no call is made here.

A message costs both ends as much whether it carries one command or eight. So a command that finds a call at
rest goes at once and alone, and those that find all calls busy wait for the next answer and go together;
as many as fill a message go without waiting. This is Nagle's rule, for commands.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from cramwire.transport import FULL_BYTES, TOGETHER_BYTES


class Sized(Protocol):
    """A command."""

    @property
    def weight(self) -> int:
        """Bytes of the command or of its answer, whichever is more."""
        ...


_T = TypeVar("_T", bound=Sized)


@dataclass(eq=False, slots=True)
class Line(Generic[_T]):
    """An open call, as the commands see it that are under way on it."""

    under_way: deque[_T] = field(default_factory=deque)
    """Commands without an answer, oldest first."""
    weight: int = 0
    """Of those."""


class Outbox(Generic[_T]):
    """The commands of one host that have no answer, and where they are."""

    def __init__(self, most_lines: int, most_commands: int = 1) -> None:
        self.most_lines = most_lines
        """Open calls: no more are opened."""
        self.most_commands = most_commands
        """Of a message."""
        self.lines: Final[list[Line[_T]]] = []
        self.queued: Final[deque[_T]] = deque()

    def next_message(self) -> tuple[Line[_T], list[_T]] | None:
        """Commands that are to go now, and where: a line that is not among those before is to be opened.

        None: there are none, or they wait. Ask again until that comes.
        """
        if not self.queued:
            return None
        line = min(self.lines, key=lambda one: (bool(one.under_way), one.weight), default=None)
        unopened = max(0, self.most_lines - len(self.lines))
        if unopened and (line is None or line.under_way):
            line = Line()
        if line is None:
            return None
        at_rest = unopened + sum(not one.under_way for one in self.lines)
        share = -(-len(self.queued) // at_rest) if at_rest else len(self.queued)
        count, weight = self._fitting(min(share, self.most_commands))
        if line.under_way and weight < FULL_BYTES and count < self.most_commands:
            return None
        commands = [self.queued.popleft() for _ in range(count)]
        if line not in self.lines:
            self.lines.append(line)
        line.under_way += commands
        line.weight += weight
        return line, commands

    def answered(self, line: Line[_T]) -> _T:
        """The oldest command of a line has its answer. Raises IndexError: there is none under way."""
        command = line.under_way.popleft()
        line.weight -= command.weight
        return command

    def broke(self, line: Line[_T]) -> list[_T]:
        """A line is no more. What had no answer."""
        if line in self.lines:
            self.lines.remove(line)
        lost = list(line.under_way)
        line.under_way.clear()
        return lost

    def withdraw(self, command: _T) -> bool:
        """A command shall not go any more. Whether it had not gone."""
        if command in self.queued:
            self.queued.remove(command)
            return True
        return False

    def _fitting(self, most: int) -> tuple[int, int]:
        """How many of those in front go in one message, and their weight: one always does."""
        count = weight = 0
        for command in self.queued:
            more = weight + command.weight
            if count and (count >= most or weight >= FULL_BYTES or more > TOGETHER_BYTES):
                break
            count, weight = count + 1, more
        return count, weight
