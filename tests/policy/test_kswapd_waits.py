"""kswapd's decision waits for the device while the host goes on: what is used meanwhile is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cramagent.policy.effects import NodeStatus, NodeWrite, NodeWritten, TierPut
from cramagent.policy.host import Backend
from cramagent.policy.states import State
from policy_helpers import NODE_PAGES, PAGE_BYTES, Rig

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision, Effect, Outcome
    from cramagent.policy.folio import Folio

OK = NodeStatus.OK


class Waiting:
    """A rig with every page of DRAM cold, and kswapd waiting for the device's answer to its first batch."""

    def __init__(self) -> None:
        self.rig = Rig(dram_pages=32, demote_batch_pages=4, low_watermark_milli=200, high_watermark_milli=400)
        frames = self.rig.host.snapshot().dram_frames
        self.pages = self.rig.fill(frames, evict=False)
        for page in self.pages:
            self.folio(page).referenced = False
        self.decision: Decision[None] = self.rig.host.kswapd(0)
        write = self.decision.send(None)
        assert isinstance(write, NodeWrite)
        self.write = write
        self.rig.performer.perform(write)
        self.batch = [page for page in self.pages if self.rig.host.peek(*page).where in write.frames]
        self.rig.host.check()

    def folio(self, page: tuple[int, int]) -> Folio:
        """What a page is."""
        return self.rig.host._mm.spaces[page[0]].ptes[page[1]].folio

    def answer(self, status: NodeStatus = OK, accepted: int | None = None) -> None:
        """The device's answer comes; kswapd's further effects are performed at once."""
        outcome: Outcome = NodeWritten(status, len(self.write.dpas) if accepted is None else accepted)
        try:
            while True:
                effect: Effect = self.decision.send(outcome)
                outcome = self.rig.performer.perform(effect)
        except StopIteration:
            self.rig.host.check()


def test_what_nobody_uses_is_demoted() -> None:
    """As if nothing had waited."""
    waiting = Waiting()
    waiting.answer()
    assert {waiting.rig.state(*page) for page in waiting.batch} == {State.ENTRY}
    assert waiting.rig.counters.demotions_void == 0


@pytest.mark.parametrize("write", [False, True])
def test_what_is_used_meanwhile_stays_in_dram(write: bool) -> None:
    """With the bytes stored since; its device page is given back."""
    waiting = Waiting()
    rig, page = waiting.rig, waiting.batch[1]
    if write:
        rig.put(*page, 4711)
    else:
        assert rig.get(*page) == 100 + page[1]
    waiting.answer()
    assert rig.state(*page) is State.DRAM
    assert rig.get(*page) == (4711 if write else 100 + page[1])
    assert rig.counters.demotions_void == 1
    assert rig.host.snapshot().trim_waiting == 1


def test_what_is_freed_meanwhile_is_gone() -> None:
    """Its frame may hold another page by then."""
    waiting = Waiting()
    rig, page = waiting.rig, waiting.batch[0]
    rig.drive(rig.host.free(*page, noticed=True))
    new = (rig.a, 99)
    assert rig.put(*new, 99).where == waiting.write.frames[0]
    waiting.answer()
    assert rig.state(*page) is State.NONE
    assert rig.get(*new) == 99


def test_what_is_forked_meanwhile_is_demoted_for_both() -> None:
    """The bytes are the same."""
    waiting = Waiting()
    rig, page = waiting.rig, waiting.batch[0]
    child = rig.host.fork(rig.a)
    waiting.answer()
    assert rig.state(*page) is rig.state(child, page[1]) is State.ENTRY
    assert rig.get(child, page[1]) == 100 + page[1]


def test_what_is_copied_on_write_meanwhile_stays() -> None:
    """The writer has a copy, the other mapper the frame."""
    waiting = Waiting()
    rig, page = waiting.rig, waiting.batch[0]
    rig.drive(rig.host.free(*waiting.batch[3], noticed=True))
    child = rig.host.fork(rig.a)
    rig.put(child, page[1], 5)
    waiting.answer()
    assert rig.get(*page) == 100 + page[1]
    assert rig.get(child, page[1]) == 5


@pytest.mark.parametrize("again", [False, True])
def test_a_session_that_ends_meanwhile(again: bool) -> None:
    """The old session's answer says nothing of a new one; the pages go to the next tier."""
    waiting = Waiting()
    rig = waiting.rig
    assert rig.host.node_lost() == 0
    rig.performer.new_session()
    if again:
        rig.host.node_attached(NODE_PAGES * PAGE_BYTES)
    waiting.answer()
    assert {rig.host.peek(*page).backend for page in waiting.batch} == {Backend.ZSWAP}
    assert rig.counters.demote_gone == 4
    assert rig.host.snapshot().node_free + rig.host.snapshot().node_used == (NODE_PAGES if again else 0)


def test_what_is_refused_goes_on_to_the_tiers_unless_it_was_used() -> None:
    """No more writes, after the first page."""
    waiting = Waiting()
    rig, used = waiting.rig, waiting.batch[2]
    rig.get(*used)
    waiting.answer(NodeStatus.NO_MORE_WRITES, accepted=1)
    states = [rig.state(*page) for page in waiting.batch]
    assert states == [State.ENTRY, State.SWAPPED, State.DRAM, State.SWAPPED]
    assert len(rig.performer.of_kind(TierPut)[0].frames) == 2


def test_another_turn_waits_too() -> None:
    """Kswapd is one thread."""
    waiting = Waiting()
    rig = waiting.rig
    writes = len(rig.performer.of_kind(NodeWrite))
    rig.turn()
    assert len(rig.performer.of_kind(NodeWrite)) == writes
    waiting.answer()


def test_direct_reclaim_leaves_its_pages_alone() -> None:
    """A fault finds other victims."""
    waiting = Waiting()
    rig = waiting.rig
    rig.put(rig.a, 99, 99)
    direct = rig.performer.of_kind(NodeWrite)[-1]
    assert not set(direct.frames) & set(waiting.write.frames)
    assert not set(direct.dpas) & set(waiting.write.dpas)
    waiting.answer()


def test_what_is_under_way_to_capacity_that_is_taken_stays_in_dram() -> None:
    """The answer says that the device has it; by then it has not."""
    waiting = Waiting()
    rig = waiting.rig
    assert waiting.write.dpas == (0, 4096, 8192, 12288)
    assert rig.host.resized(PAGE_BYTES) == 0
    waiting.answer()
    assert [rig.get(*page) for page in waiting.batch] == [100 + vpn for _, vpn in waiting.batch]
    assert rig.counters.demotions_void >= 4
    assert rig.counters.pages_lost == 0


def test_a_decision_that_is_given_up_leaves_nothing_behind() -> None:
    """The device may have written: TRIM settles it."""
    waiting = Waiting()
    waiting.decision.close()
    waiting.rig.host.check()
    assert waiting.rig.host.snapshot().trim_waiting == 4
    assert {waiting.rig.state(*page) for page in waiting.batch} == {State.DRAM}
