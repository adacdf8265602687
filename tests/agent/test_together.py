"""Several devices at one time: what the performer makes of a `Together`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from agent_helpers import DEADLINE_S, PAGE, FakeNode, noise
from cramagent.behind import Behind
from cramagent.clock import SYSTEM_CLOCK
from cramagent.dram import Dram
from cramagent.performer import Performer
from cramagent.policy.effects import NodeLoad, NodeLoaded, NodeStatus, NodeWrite, NodeWritten, Together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class MeetingNode(FakeNode):
    """A device that answers only while another is asked, too."""

    def __init__(self, both: threading.Barrier) -> None:
        super().__init__()
        self.both = both
        self.broken: Exception | None = None
        self.ended = threading.Event()

    def _call(self, call: Callable[[], Any]) -> Any:
        self.both.wait(DEADLINE_S)
        try:
            if self.broken is not None:
                raise self.broken
            return call()
        finally:
            self.ended.set()

    def write(self, dpas: Sequence[int], data: bytes) -> NodeWritten:
        """As the fake, in company."""
        written: NodeWritten = self._call(lambda: FakeNode.write(self, dpas, data))
        return written

    def read(self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes], None]) -> NodeLoaded:
        """As the fake, in company."""
        loaded: NodeLoaded = self._call(lambda: FakeNode.read(self, dpas, take))
        return loaded

    def write_behind(self, dpas: Sequence[int], data: bytes) -> Behind[NodeWritten]:
        """As a link does."""
        return Behind(SYSTEM_CLOCK, lambda: self.write(dpas, data), lambda _: None)

    def read_behind(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes], None]
    ) -> Behind[NodeLoaded]:
        """As a link does."""
        return Behind(SYSTEM_CLOCK, lambda: self.read(dpas, take), lambda _: None)


@pytest.fixture
def dram() -> Iterator[Dram]:
    """Four frames of noise, four of scratch."""
    made = Dram(4, 4)
    made.scatter([0, 1, 2, 3], b"".join(noise(number) for number in range(4)))
    yield made
    made.close()


@pytest.fixture
def nodes() -> list[MeetingNode]:
    """Two that must be asked at the same time."""
    both = threading.Barrier(2)
    return [MeetingNode(both), MeetingNode(both)]


def test_writes_to_two_devices_are_made_at_one_time(dram: Dram, nodes: list[MeetingNode]) -> None:
    """And answered in their order."""
    performer = Performer(dram, nodes, {})
    nodes[1].refuse_write = NodeStatus.NO_MORE_WRITES
    outcome = performer.perform(Together((NodeWrite((0, PAGE), (0, 1), 0), NodeWrite((0, PAGE), (2, 3), 1))))
    assert outcome == (NodeWritten(NodeStatus.OK, 2), NodeWritten(NodeStatus.NO_MORE_WRITES, 0))
    assert nodes[0].pages == {0: noise(0), PAGE: noise(1)}


def test_loads_of_two_devices_are_made_at_one_time(dram: Dram, nodes: list[MeetingNode]) -> None:
    """Each into its own frames; a page asked for twice is read once, and poison is named by place."""
    for number, node in enumerate(nodes):
        node.pages = {0: noise(10 + number), PAGE: noise(20 + number)}
    nodes[1].poisoned.add(PAGE)
    outcome = Performer(dram, nodes, {}).perform(
        Together((NodeLoad((PAGE,), (4,), 0), NodeLoad((0, PAGE, 0), (5, 6, 7), 1)))
    )
    assert outcome == (NodeLoaded(NodeStatus.OK), NodeLoaded(NodeStatus.POISONED, frozenset({1})))
    assert dram.gather([4, 5, 7]) == noise(20) + noise(11) + noise(11)


@pytest.mark.parametrize("broken", [0, 1])
def test_what_one_raises_comes_out_when_all_have_ended(
    dram: Dram, nodes: list[MeetingNode], broken: int
) -> None:
    """Nothing writes into frames behind the back of whoever goes on."""
    for node in nodes:
        node.pages = {0: noise(9)}
    nodes[broken].broken = OSError("gone bad")
    with pytest.raises(OSError, match="gone bad"):
        Performer(dram, nodes, {}).perform(Together((NodeLoad((0,), (4,), 0), NodeLoad((0,), (5,), 1))))
    assert all(node.ended.is_set() for node in nodes)
    assert dram.gather([5 - broken]) == noise(9)


def test_links_that_are_down_answer_at_once(dram: Dram) -> None:
    """Nothing waits where nothing can."""
    nodes = [FakeNode(), FakeNode()]
    nodes[1].answers = [NodeStatus.UNAVAILABLE]
    outcome = Performer(dram, nodes, {}).perform(
        Together((NodeWrite((0,), (0,), 0), NodeWrite((0,), (0,), 1)))
    )
    assert outcome == (NodeWritten(NodeStatus.OK, 1), NodeWritten(NodeStatus.UNAVAILABLE, 0))
