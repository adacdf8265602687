"""Reads of two decisions as one command: what is asked, what is whose, and who goes on when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent_helpers import PAGE, FakeNode, noise
from cramagent.dram import Dram
from cramagent.joint_read import JointRead, is_read
from cramagent.performer import Performer
from cramagent.policy.effects import (
    CopyFrame,
    NodeLoad,
    NodeLoaded,
    NodeStatus,
    NodeTrim,
    NodeWrite,
    Together,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cramagent.policy.effects import Decision, Effect

OK = NodeLoaded(NodeStatus.OK)
FIRST = NodeLoad((PAGE, 2 * PAGE), (0, 1))
SECOND = NodeLoad((3 * PAGE,), (2,))


def poisoned(*places: int) -> NodeLoaded:
    """The answer to a read that met poison at these places."""
    return NodeLoaded(NodeStatus.POISONED, frozenset(places))


@pytest.mark.parametrize(
    ("effect", "reads"),
    [
        (FIRST, True),
        (Together((FIRST, SECOND)), True),
        (NodeWrite((0,), (0,)), False),
        (Together((NodeWrite((0,), (0,)),)), False),
        (NodeTrim(((0, PAGE),)), False),
    ],
)
def test_what_reads(effect: Effect, reads: bool) -> None:
    """Loads, of one node or of several."""
    assert is_read(effect) is reads


def test_two_reads_of_a_node_are_one_command() -> None:
    """In their order."""
    assert JointRead(FIRST, SECOND).effect == NodeLoad((PAGE, 2 * PAGE, 3 * PAGE), (0, 1, 2))


@pytest.mark.parametrize(
    ("answer", "first", "second"),
    [
        (OK, OK, OK),
        (NodeLoaded(NodeStatus.GONE), NodeLoaded(NodeStatus.GONE), NodeLoaded(NodeStatus.GONE)),
        (poisoned(1), poisoned(1), OK),
        (poisoned(2), OK, poisoned(0)),
        (poisoned(0, 2), poisoned(0), poisoned(0)),
    ],
)
def test_each_is_answered_as_if_alone(answer: NodeLoaded, first: NodeLoaded, second: NodeLoaded) -> None:
    """Poison only to whose pages it met, at the places that it has among them."""
    assert JointRead(FIRST, SECOND).outcomes(answer) == [first, second]


def test_reads_of_several_nodes_are_one_command_each() -> None:
    """And what went together is answered together."""
    one, other = NodeLoad((PAGE,), (3,), 1), NodeLoad((2 * PAGE,), (4,), 1)
    joint = JointRead(Together((FIRST, one)), other)
    assert joint.effect == Together((FIRST, NodeLoad((PAGE, 2 * PAGE), (3, 4), 1)))
    assert joint.outcomes((poisoned(0), poisoned(1))) == [(poisoned(0), OK), poisoned(0)]


# -- the performer ---------------------------------------------------------------------------------


class Reader:
    """A decision that reads some pages, one effect after the other, and what came of it."""

    def __init__(self, told: list[str], name: str) -> None:
        self.told = told
        self.name = name
        self.ended_by: BaseException | None = None

    def decide(self, *effects: Effect) -> Decision[list[Any]]:
        """Its outcomes."""
        outcomes: list[Any] = []
        try:
            for effect in effects:
                outcome = yield effect
                outcomes += [outcome]
        except BaseException as error:
            self.ended_by = error
            raise
        self.told.append(self.name)
        return outcomes


class Breaking(FakeNode):
    """A device whose reads break."""

    def read(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes], None]
    ) -> NodeLoaded:  # it takes nothing
        """As a socket that is gone."""
        raise OSError("gone bad")


@pytest.fixture
def dram() -> Iterator[Dram]:
    """Four frames."""
    made = Dram(4, 4)
    yield made
    made.close()


@pytest.fixture
def node() -> FakeNode:
    """Four pages of noise."""
    made = FakeNode()
    made.pages = {number * PAGE: noise(number) for number in range(4)}
    return made


def test_who_waits_reads_with_the_next_and_ends_first(dram: Dram, node: FakeNode) -> None:
    """One call for both; what it did on the way was done at once."""
    told: list[str] = []
    performer = Performer(dram, [node], {})
    waits = performer.suspend(Reader(told, "first").decide(CopyFrame(0, 3), FIRST, CopyFrame(0, 3)))
    assert not node.reads
    assert performer.drive(Reader(told, "second").decide(SECOND)) == [OK]
    assert node.reads == [3]
    assert told == ["first", "second"]
    assert performer.finish(waits)[1] == OK
    assert dram.gather([0, 1, 2, 3]) == noise(1) + noise(2) + noise(3) + noise(1)


def test_without_company_it_reads_when_it_is_finished(dram: Dram, node: FakeNode) -> None:
    """Also where all is to settle; and what does not read at all waits for nothing."""
    told: list[str] = []
    performer = Performer(dram, [node], {})
    waits = performer.suspend(Reader(told, "first").decide(FIRST, SECOND))
    performer.drive(Reader(told, "second").decide(CopyFrame(0, 3)))
    assert performer.finish(waits) == [OK, OK]
    assert node.reads == [2, 1]
    settled = performer.suspend(Reader(told, "third").decide(SECOND))
    performer.settle()
    assert told == ["second", "first", "third"]
    ended = performer.suspend(Reader(told, "fourth").decide())
    assert performer.finish(ended) == []
    assert performer.finish(settled) == [OK]
    assert len(node.reads) == 3


def test_what_breaks_is_told_to_both(dram: Dram) -> None:
    """So that each can put back what it holds; it comes out once."""
    told: list[str] = []
    first, second = Reader(told, "first"), Reader(told, "second")
    performer = Performer(dram, [Breaking()], {})
    performer.suspend(first.decide(FIRST))
    with pytest.raises(OSError, match="gone bad"):
        performer.drive(second.decide(SECOND))
    assert isinstance(first.ended_by, OSError)
    assert first.ended_by is second.ended_by
    assert not told
    assert performer.drive(Reader(told, "third").decide()) == []
