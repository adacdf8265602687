"""The fault handler: first touch, swap-in, direct reclaim, and what it answers when it cannot."""

from __future__ import annotations

import pytest

from cramagent.policy.effects import CopyFrame, NodeWrite, TierDrop, TierGet, ZeroFrames
from cramagent.policy.host import Backend
from cramagent.policy.mm import NoSuchSpace
from cramagent.policy.settings import Writeback
from cramagent.policy.states import IllegalTransition, State
from policy_helpers import AccessKind, NodeStatus, Rig


def test_first_touch_reads_zeros() -> None:
    """A page never used is a zeroed frame."""
    rig = Rig()
    assert rig.host.peek(rig.a, 5).backend is Backend.NONE
    assert rig.get(rig.a, 5) == 0
    assert rig.state(rig.a, 5) is State.DRAM
    assert len(rig.performer.of_kind(ZeroFrames)) == 1


@pytest.mark.parametrize("write", [False, True])
def test_swap_in_is_the_same_for_reads_and_writes(write: bool) -> None:
    """SWAPPED -> DRAM; the tier gets its handle back."""
    rig = Rig()
    rig.host.node_unreachable()
    (page,) = rig.fill(1)
    assert rig.host.peek(*page).backend is Backend.ZSWAP
    assert rig.touch(*page, write=write).kind is AccessKind.DRAM
    assert rig.get(*page) == 100
    assert len(rig.performer.of_kind(TierGet)) == len(rig.performer.of_kind(TierDrop)) == 1
    assert rig.host.snapshot().entries == 0


def test_direct_reclaim_makes_room_for_a_fault() -> None:
    """More pages than frames: faults reclaim by themselves, and every byte is still there."""
    rig = Rig(dram_pages=16)
    pages = rig.fill(40, evict=False)
    assert rig.counters.direct_reclaims > 0
    assert rig.counters.demotions > 0
    assert [rig.get(*page) for page in pages] == [100 + vpn for _, vpn in pages]


def test_reclaim_never_takes_the_page_being_copied() -> None:
    """The source of a copy on write is in flight: reclaim, nested in the fault, passes it over."""
    rig = Rig(dram_pages=16)
    frames = rig.host.snapshot().dram_frames
    rig.put(rig.a, 0, 42)
    child = rig.host.fork(rig.a)
    for vpn in range(1, frames):
        rig.put(rig.a, vpn, vpn)
    assert rig.host.snapshot().dram_used == frames
    rig.put(child, 0, 43)
    assert rig.counters.direct_reclaims == 1
    copy = next(effect for effect in rig.performer.of_kind(CopyFrame))
    assert copy.source == rig.host.peek(rig.a, 0).where
    assert (rig.get(rig.a, 0), rig.get(child, 0)) == (42, 43)


def test_out_of_memory_changes_nothing() -> None:
    """No node, no room in any tier: the fault says so, and goes through once there is room."""
    rig = Rig(dram_pages=16, zswap_pages=0, swapfile_pages=0)
    rig.host.node_lost()
    frames = rig.host.snapshot().dram_frames
    rig.fill(frames, evict=False)
    assert rig.touch(rig.a, 99, write=True).kind is AccessKind.OUT_OF_MEMORY
    assert rig.state(rig.a, 99) is State.NONE
    assert rig.counters.out_of_memory == 1
    rig.drive(rig.host.free(rig.a, 0, noticed=True))
    assert rig.touch(rig.a, 99, write=True).kind is AccessKind.DRAM


def test_a_promotion_stalls_while_the_device_does_not_answer() -> None:
    """UNAVAILABLE: nothing changes, and asking again works."""
    rig = Rig()
    (page,) = rig.fill(1)
    rig.performer.answers.append(NodeStatus.UNAVAILABLE)
    assert rig.touch(*page, write=True).kind is AccessKind.STALLED
    assert rig.state(*page) is State.ENTRY
    assert rig.host.snapshot().dram_used == 0
    assert rig.put(*page, 8).kind is AccessKind.DRAM
    assert rig.get(*page) == 8


def test_link_down_stalls_only_what_is_on_the_device() -> None:
    """DRAM and the tiers go on; device pages answer STALLED until the link is back."""
    rig = Rig(writeback=Writeback.SWAPFILE)
    entry, mapped = rig.fill(2)
    rig.touch(*mapped, write=False)
    rig.put(rig.a, 7, 70)
    rig.host.node_unreachable()
    assert rig.touch(*entry, write=False).kind is AccessKind.STALLED
    assert rig.touch(*mapped, write=False).kind is AccessKind.STALLED
    assert rig.get(rig.a, 7) == 70
    rig.evict((rig.a, 7))
    assert rig.host.peek(rig.a, 7).backend is Backend.SWAPFILE
    rig.host.node_reachable()
    assert (rig.get(*entry), rig.get(*mapped), rig.get(rig.a, 7)) == (100, 101, 70)


def test_loads_and_stores_follow_pages_that_moved() -> None:
    """A page resolved earlier may be elsewhere when the batch is performed: the batch follows it."""
    rig = Rig(budget_pages=4)
    pages = rig.fill(3)
    for page in pages:
        rig.touch(*page, write=True)
    rig.drive(rig.host.writeback_all(rig.now))
    assert {rig.state(*page) for page in pages} == {State.SWAPPED}
    scratch = rig.performer.scratch[:3]
    answers = rig.drive(rig.host.load(pages, scratch, rig.now))
    assert [answer.kind for answer in answers] == [AccessKind.DRAM] * 3
    assert [rig.performer.frames[frame] for frame in scratch] == [100, 101, 102]
    rig.evict(*pages)
    for frame in scratch:
        rig.performer.frames[frame] = frame
    answers = rig.drive(rig.host.store(pages, scratch, rig.now))
    assert {answer.kind for answer in answers} == {AccessKind.NODE}
    assert [rig.get(*page) for page in pages] == list(scratch)


def test_one_batch_is_one_effect() -> None:
    """Loads and stores of many pages are one message each to the device."""
    rig = Rig(budget_pages=8)
    pages = rig.fill(8)
    for page in pages:
        rig.touch(*page, write=True)
    rig.performer.log.clear()
    scratch = rig.performer.scratch[:8]
    for frame in scratch:
        rig.performer.frames[frame] = 1
    rig.drive(rig.host.store(pages, scratch, rig.now))
    rig.drive(rig.host.load(pages, scratch, rig.now))
    assert [len(rig.performer.log), len(rig.performer.of_kind(NodeWrite))] == [2, 1]


def test_illegal_calls_raise_and_change_nothing() -> None:
    """Unknown spaces, pages that are NONE, wrong batches."""
    rig = Rig()
    rig.fill(2)
    before = rig.host.snapshot()
    with pytest.raises(NoSuchSpace, match="no address space 99"):
        rig.host.access(99, 0, write=False, now_ns=0)
    with pytest.raises(NoSuchSpace):
        rig.drive(rig.host.load([(rig.a, 0), (99, 0)], [40, 41], 0))
    with pytest.raises(IllegalTransition, match="FREE"):
        rig.drive(rig.host.free(rig.a, 50, noticed=True))
    with pytest.raises(ValueError, match="as many frames"):
        rig.drive(rig.host.store([(rig.a, 0)], [], 0))
    with pytest.raises(ValueError, match="attached already"):
        rig.host.node_attached(4096)
    rig.host.check()
    assert rig.host.snapshot() == before


def test_an_error_in_the_middle_puts_everything_back() -> None:
    """What performing an effect raises ends the decision; frames and device pages are accounted for."""
    rig = Rig()
    (page,) = rig.fill(1)
    for decision in (
        rig.host.fault(rig.a, 9, write=True, now_ns=0),
        rig.host.fault(*page, write=True, now_ns=0),
    ):
        next(decision)
        with pytest.raises(RuntimeError, match="performer"):
            decision.throw(RuntimeError("the performer failed"))
        rig.host.check()
    assert rig.state(*page) is State.ENTRY
    assert rig.state(rig.a, 9) is State.NONE
