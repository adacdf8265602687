"""Which commands go together, and where: Nagle's rule. Nothing is sent here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cramagent.outbox import Line, Outbox
from cramwire.transport import FULL_BYTES, TOGETHER_BYTES

PAGE = 4096


@dataclass(eq=False)
class Command:
    """So many bytes."""

    weight: int = 64 * PAGE


def sent(outbox: Outbox[Command]) -> list[tuple[Line[Command], list[Command]]]:
    """All messages that go now."""
    messages = []
    while (message := outbox.next_message()) is not None:
        messages.append(message)
    return messages


def outbox_of(lines: int, commands: int, *waiting: Command) -> Outbox[Command]:
    """With these to be sent."""
    outbox: Outbox[Command] = Outbox(lines, commands)
    outbox.queued.extend(waiting)
    return outbox


def test_a_command_by_itself_goes_at_once() -> None:
    """On a line that is at rest, if there is one; else another is opened."""
    first, second, third = Command(), Command(), Command()
    outbox = outbox_of(2, 8, first)
    [(line, commands)] = sent(outbox)
    assert commands == [first]
    outbox.queued.append(second)
    [(other, commands)] = sent(outbox)
    assert (commands, other is line) == ([second], False)
    assert outbox.answered(line) is first
    outbox.queued.append(third)
    assert sent(outbox) == [(line, [third])]


def test_what_finds_all_busy_goes_together() -> None:
    """With the next answer, in one message; those before it are not delayed."""
    outbox = outbox_of(1, 8, Command())
    [(line, _)] = sent(outbox)
    later = [Command(PAGE) for _ in range(3)]
    outbox.queued.extend(later)
    assert sent(outbox) == []
    outbox.answered(line)
    assert sent(outbox) == [(line, later)]


def test_lines_at_rest_share_what_is_there() -> None:
    """So that as many cores work."""
    commands = [Command() for _ in range(5)]
    assert [len(some) for _, some in sent(outbox_of(2, 8, *commands))] == [3, 2]


def test_a_line_at_rest_is_taken_before_a_busy_one() -> None:
    """However little the busy one has to do."""
    outbox = outbox_of(2, 8, Command(0), Command(0))
    (_, [_]), (second, [_]) = sent(outbox)
    outbox.answered(second)
    later = Command(0)
    outbox.queued.append(later)
    assert sent(outbox) == [(second, [later])]


def test_a_full_message_waits_for_nothing() -> None:
    """It would not become cheaper: by its bytes, and where a device takes one command at a time, by that."""
    large = [Command(FULL_BYTES) for _ in range(4)]
    assert [some for _, some in sent(outbox_of(2, 8, *large))] == [[one] for one in large]
    assert [len(some) for _, some in sent(outbox_of(1, 1, *(Command() for _ in range(3))))] == [1, 1, 1]
    several = sent(outbox_of(1, 64, *(Command() for _ in range(9))))
    assert [len(some) for _, some in several] == [4, 4]


def test_a_line_that_broke_gives_back_what_had_no_answer() -> None:
    """And none is opened while none may be."""
    outbox = outbox_of(1, 8, Command(), Command())
    [(line, commands)] = sent(outbox)
    outbox.answered(line)
    assert outbox.broke(line) == commands[1:]
    outbox.most_lines = 0
    outbox.queued.append(commands[1])
    assert sent(outbox) == []
    assert outbox.withdraw(commands[1])
    assert not outbox.withdraw(commands[1])


class OutboxMachine(RuleBasedStateMachine):
    """Whatever comes in whatever order: each goes once, in order, and none waits beside a line at rest."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox: Outbox[Command] = Outbox(3, 4)
        self.sent: dict[Line[Command], deque[Command]] = {}
        self.expected: deque[Command] = deque()

    @rule(weights=st.lists(st.sampled_from((0, PAGE, 64 * PAGE, FULL_BYTES, 4 * FULL_BYTES)), max_size=9))
    def ask(self, weights: list[int]) -> None:
        """Some commands."""
        commands = [Command(weight) for weight in weights]
        self.outbox.queued.extend(commands)
        self.expected.extend(commands)
        self.post()

    def post(self) -> None:
        """Send what is to go."""
        for line, commands in sent(self.outbox):
            assert [self.expected.popleft() for _ in commands] == commands
            assert 1 <= len(commands) <= self.outbox.most_commands
            assert len(commands) == 1 or sum(one.weight for one in commands) <= TOGETHER_BYTES
            self.sent.setdefault(line, deque()).extend(commands)

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """The oldest of a line."""
        line = data.draw(st.sampled_from([one for one, commands in self.sent.items() if commands]))
        assert self.outbox.answered(line) is self.sent[line].popleft()
        self.post()

    @precondition(lambda self: bool(self.sent))
    @rule(data=st.data())
    def broken(self, data: st.DataObject) -> None:
        """A line, busy or at rest."""
        line = data.draw(st.sampled_from(list(self.sent)))
        assert self.outbox.broke(line) == list(self.sent.pop(line))
        self.post()

    @precondition(lambda self: bool(self.expected))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """One that has not gone."""
        command = data.draw(st.sampled_from(list(self.expected)))
        assert self.outbox.withdraw(command)
        self.expected.remove(command)

    @invariant()
    def nothing_waits_beside_a_line_at_rest(self) -> None:
        """Nor more lines than may be; weights are those of what is under way."""
        assert list(self.outbox.queued) == list(self.expected)
        assert len(self.outbox.lines) <= self.outbox.most_lines
        if self.outbox.queued:
            assert len(self.outbox.lines) == self.outbox.most_lines
            assert all(line.under_way for line in self.outbox.lines)
        for line in self.outbox.lines:
            assert line.weight == sum(one.weight for one in line.under_way)


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=60, deadline=None, derandomize=True)
