"""Demotion behind the main loop: what the performer begins, and what the link makes of the answer."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

import pytest

from agent_helpers import DEADLINE_S, NS_PER_S, PAGE, FakeNode, noise
from cramagent.behind import Behind
from cramagent.clock import SYSTEM_CLOCK
from cramagent.dram import Dram
from cramagent.link import LinkState, NodeLink
from cramagent.node_client import Region, Session
from cramagent.performer import Performer
from cramagent.policy.effects import NodeStatus, NodeWrite, NodeWritten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramagent.messages import Message
    from cramagent.node_client import NodeClient
    from cramagent.policy.effects import Decision


class SlowNode(FakeNode):
    """A device that answers a write behind when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.noted: list[NodeWritten] = []
        self.broken: Exception | None = None

    def write_behind(self, dpas: Sequence[int], data: bytes) -> Behind[NodeWritten] | None:
        """As a link does."""

        def write() -> NodeWritten:
            assert self.may_answer.wait(DEADLINE_S)
            if self.broken is not None:
                raise self.broken
            return self.write(dpas, data)

        return Behind(SYSTEM_CLOCK, write, self.noted.append)


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
    performer = Performer(dram, [node], {})
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
    performer = Performer(dram, [node], {})
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
    performer = Performer(dram, [node], {})
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
    Performer(dram, [node], {}).begin(script.decide())
    assert len(script.answers) == 2


class Client:
    """What a link asks for a write: it answers at once, and the same to all."""

    def __init__(self, answer: NodeWritten) -> None:
        self.answer = answer
        self.gone_reason = "LEASE_EXPIRED"
        self.traces = None

    def write(self, _session: Session, _dpas: Sequence[int], _data: bytes) -> NodeWritten:
        """As `NodeClient.write`."""
        return self.answer


def linked(status: NodeStatus) -> NodeLink:
    """A link with a session, whose writes are all answered so."""
    inbox: SimpleQueue[Message] = SimpleQueue()
    client = cast("NodeClient", Client(NodeWritten(status, 0)))
    link = NodeLink(client, Region("host-a", PAGE), inbox)
    link._session, link.state = Session("first", "g", NS_PER_S), LinkState.UP
    return link


@pytest.mark.parametrize(
    ("status", "state"), [(NodeStatus.UNAVAILABLE, LinkState.DOWN), (NodeStatus.GONE, LinkState.OVER)]
)
def test_the_link_hears_of_an_answer_when_the_loop_does(status: NodeStatus, state: LinkState) -> None:
    """Not before: the link is the main loop's alone. Then nothing more goes behind."""
    link = linked(status)
    write = link.write_behind([0], bytes(PAGE))
    assert write is not None
    assert link.state is LinkState.UP
    assert write.finish().status is status
    assert link.state is state
    assert link.write_behind([0], bytes(PAGE)) is None


def test_an_old_sessions_answer_does_not_end_the_new_one() -> None:
    """The agent has attached again meanwhile."""
    link = linked(NodeStatus.GONE)
    write = link.write_behind([0], bytes(PAGE))
    assert write is not None
    link._session = Session("second", "g", NS_PER_S)
    assert write.finish().status is NodeStatus.GONE
    assert link.state is LinkState.UP


def test_refusals_behind_are_counted() -> None:
    """As those in front."""
    link = linked(NodeStatus.NO_MORE_WRITES)
    write = link.write_behind([0], bytes(PAGE))
    assert write is not None
    write.finish()
    assert link.refused_writes[NodeStatus.NO_MORE_WRITES] == 1
