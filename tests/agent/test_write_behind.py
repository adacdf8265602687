"""Demotion behind the main loop: what the performer begins, and what the link makes of the answer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from agent_helpers import DEADLINE_S, PAGE, FakeNode, noise
from cramagent.clock import SYSTEM_CLOCK
from cramagent.dram import Dram
from cramagent.performer import Performer
from cramagent.policy.effects import NodeStatus, NodeWrite, NodeWritten
from cramagent.write_behind import WriteBehind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramagent.policy.effects import Decision


class SlowNode(FakeNode):
    """A device that answers a write behind when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.noted: list[NodeWritten] = []
        self.broken: Exception | None = None

    def write_behind(self, dpas: Sequence[int], data: bytes) -> WriteBehind | None:
        """As a link does."""

        def write() -> NodeWritten:
            assert self.may_answer.wait(DEADLINE_S)
            if self.broken is not None:
                raise self.broken
            return self.write(dpas, data)

        return WriteBehind(SYSTEM_CLOCK, write, self.noted.append)


class Script:
    """A decision that writes to the device twice, and what it was answered."""

    def __init__(self) -> None:
        self.answers: list[NodeWritten] = []
        self.ended_by: BaseException | None = None

    def decide(self) -> Decision[None]:
        """Frame 1, then frame 2."""
        try:
            for frame in (1, 2):
                self.answers.append((yield NodeWrite((frame * PAGE,), (frame,))))
        except BaseException as error:
            self.ended_by = error
            raise


@pytest.fixture
def dram() -> Iterator[Dram]:
    """Four frames, of noise."""
    made = Dram(4, 4)
    made.scatter([0, 1, 2, 3], b"".join(noise(number) for number in range(4)))
    yield made
    made.close()


def test_a_decision_waits_and_the_loop_goes_on(dram: Dram) -> None:
    """It is asked again until the answer is there; the bytes are those of the moment of the write."""
    node, script = SlowNode(), Script()
    performer = Performer(dram, node, {}, node.write_behind)
    performer.begin(script.decide())
    assert not performer.resume()
    dram.copy(0, 1)
    node.may_answer.set()
    performer.settle()
    assert [answer.status for answer in script.answers] == [NodeStatus.OK] * 2
    assert node.pages == {PAGE: noise(1), 2 * PAGE: noise(2)}
    assert len(node.noted) == 2
    assert not performer.resume(wait=True)


def test_one_decision_waits_at_a_time(dram: Dram) -> None:
    """Another one is driven to its end."""
    node, first, second = SlowNode(), Script(), Script()
    performer = Performer(dram, node, {}, node.write_behind)
    performer.begin(first.decide())
    performer.begin(second.decide())
    assert len(second.answers) == 2
    assert not first.answers
    node.may_answer.set()
    performer.settle()
    assert len(first.answers) == 2


def test_what_breaks_behind_is_told_to_the_decision_and_to_the_loop(dram: Dram) -> None:
    """As an effect that raises in front is."""
    node, script = SlowNode(), Script()
    performer = Performer(dram, node, {}, node.write_behind)
    performer.begin(script.decide())
    node.broken = OSError("gone bad")
    node.may_answer.set()
    with pytest.raises(OSError, match="gone bad"):
        performer.settle()
    assert script.ended_by is node.broken
    assert not performer.resume(wait=True)


def test_without_a_link_nothing_waits(dram: Dram) -> None:
    """A port that cannot go on behind is asked in front."""
    node, script = FakeNode(), Script()
    Performer(dram, node, {}).begin(script.decide())
    assert len(script.answers) == 2
    other = Script()
    Performer(dram, node, {}, lambda _dpas, _data: None).begin(other.decide())
    assert len(other.answers) == 2
