"""A batch of faults: one effect for many pages, every page as if it had come alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cramagent.policy.effects import CopyFrame, NodeLoad, NodeStatus, Tier, TierGet, ZeroFrames
from cramagent.policy.settings import Writeback
from cramagent.policy.states import State
from policy_helpers import AccessKind, Rig

if TYPE_CHECKING:
    from cramagent.policy.host import Access

Page = tuple[int, int]


def fault_in(rig: Rig, pages: list[Page], *, write: bool) -> list[Access]:
    """One call."""
    return rig.drive(rig.host.fault_in(pages, write=write, now_ns=rig.now))


def kinds(answers: list[Access]) -> list[AccessKind]:
    """How each access ended."""
    return [answer.kind for answer in answers]


def tokens(rig: Rig, answers: list[Access]) -> list[int | None]:
    """What lies in the frames of DRAM answers."""
    assert set(kinds(answers)) == {AccessKind.DRAM}
    return [rig.performer.frames[answer.where] for answer in answers]


def test_a_batch_of_write_faults_is_one_read_of_the_device() -> None:
    """All are promoted, each with its own bytes; nothing is left on the device but for TRIM."""
    rig = Rig()
    pages = rig.fill(8)
    answers = fault_in(rig, pages, write=True)
    assert tokens(rig, answers) == [100 + vpn for vpn in range(8)]
    (load,) = rig.performer.of_kind(NodeLoad)
    assert len(load.dpas) == 8
    assert rig.counters.promotions == 8
    assert rig.host.snapshot().trim_waiting == 8


def test_a_batch_of_first_touches_is_one_effect() -> None:
    """All zeros."""
    rig = Rig()
    answers = fault_in(rig, [(rig.a, vpn) for vpn in range(5)], write=True)
    assert tokens(rig, answers) == [0] * 5
    assert len(rig.performer.of_kind(ZeroFrames)) == 1
    assert rig.host.faults.rows()["write", "first_touch"] == 5


@pytest.mark.parametrize("writeback", Writeback)
def test_a_batch_of_swap_ins_is_one_load_from_each_tier(writeback: Writeback) -> None:
    """With the node away every page went to the tiers."""
    rig = Rig(zswap_pages=3, writeback=writeback)
    rig.host.node_lost()
    pages = rig.fill(6)
    answers = fault_in(rig, pages, write=False)
    assert tokens(rig, answers) == [100 + vpn for vpn in range(6)]
    asked = {load.tier: len(load.handles) for load in rig.performer.of_kind(TierGet)}
    assert asked == (
        {Tier.ZSWAP: 3, Tier.SWAPFILE: 3} if writeback is Writeback.ZSWAP else {Tier.SWAPFILE: 6}
    )
    assert rig.host.faults.rows()["read", "swapped_in"] == 6


def test_pages_of_all_states_in_one_batch() -> None:
    """Answers are in the order of the pages, whatever had to be done for each."""
    rig = Rig(budget_pages=1, zswap_pages=8)
    device, promoted, new = (rig.a, 0), (rig.a, 1), (rig.a, 9)
    rig.fill(2)
    in_dram = (rig.a, 7)
    rig.put(*in_dram, 42)
    answers = fault_in(rig, [device, in_dram, promoted, new], write=True)
    assert kinds(answers) == [AccessKind.NODE, AccessKind.DRAM, AccessKind.DRAM, AccessKind.DRAM]
    assert rig.state(*device) is State.RW
    assert tokens(rig, answers[1:]) == [42, 101, 0]
    assert rig.counters.mkwrite_denied_budget == 1


def test_where_frames_run_out_the_batch_ends_early() -> None:
    """The first pages are answered; the rest is for the next call, which reclaims first."""
    rig = Rig(dram_pages=16)
    pages = rig.fill(40)
    free = rig.host.snapshot().dram_frames
    answers = fault_in(rig, pages, write=True)
    assert tokens(rig, answers) == [100 + vpn for vpn in range(free)]
    assert rig.counters.direct_reclaims == 0
    answers = fault_in(rig, pages[free:], write=True)
    assert tokens(rig, answers) == [100 + vpn for vpn in range(free, free + len(answers))]
    assert rig.counters.direct_reclaims == 1


def test_nothing_to_reclaim_is_one_answer() -> None:
    """Out of memory, for the first page alone; nothing is changed."""
    rig = Rig(dram_pages=16, zswap_pages=0, swapfile_pages=0)
    rig.host.node_lost()
    pages = [(rig.a, vpn) for vpn in range(20)]
    answers = fault_in(rig, pages, write=True)
    assert kinds(fault_in(rig, pages[len(answers) :], write=True)) == [AccessKind.OUT_OF_MEMORY]
    assert rig.host.faults.rows()["write", "out_of_memory"] == 1


def test_one_page_twice_in_a_batch() -> None:
    """The second access waits for the first, and finds the page where that brought it."""
    rig = Rig()
    page, other = rig.fill(2)
    new = (rig.a, 9)
    assert tokens(rig, fault_in(rig, [page, page, other], write=True)) == [100]
    assert tokens(rig, fault_in(rig, [page, other], write=True)) == [100, 101]
    assert tokens(rig, fault_in(rig, [new, new], write=True)) == [0]


def test_two_private_mappers_of_one_device_page_in_a_batch() -> None:
    """The first writer gets a copy; then the page has one mapper, and moves."""
    rig = Rig()
    (page,) = rig.fill(1)
    child = (rig.host.fork(rig.a), 0)
    first = fault_in(rig, [page, child], write=True)
    assert tokens(rig, first) == [100]
    second = fault_in(rig, [child], write=True)
    assert tokens(rig, second) == [100]
    assert first[0].where != second[0].where
    assert (rig.counters.promotions_copied, rig.counters.promotions) == (1, 1)


def test_two_private_mappers_of_one_frame_in_a_batch() -> None:
    """As many copies as are needed: the last one to write keeps the frame."""
    rig = Rig()
    (page,) = rig.fill(1, evict=False)
    child = (rig.host.fork(rig.a), 0)
    assert tokens(rig, fault_in(rig, [page, child], write=True)) == [100]
    assert tokens(rig, fault_in(rig, [child], write=True)) == [100]
    assert len(rig.performer.of_kind(CopyFrame)) == 1


def test_a_swapped_page_that_is_shared_is_copied_for_its_writer() -> None:
    """Swap-in and copy on write, in one call."""
    rig = Rig()
    rig.host.node_lost()
    (page,) = rig.fill(1)
    child = (rig.host.fork(rig.a), 0)
    (answer,) = fault_in(rig, [child], write=True)
    assert tokens(rig, [answer]) == [100]
    assert rig.state(*page) is State.DRAM
    assert rig.host.peek(*page).where != answer.where


def test_poison_in_a_batch_costs_its_owner_only() -> None:
    """The others are promoted by the same read."""
    rig = Rig()
    pages = rig.fill(4)
    rig.performer.poisoned.add(rig.host.peek(*pages[1]).where)
    answers = fault_in(rig, pages, write=True)
    assert kinds(answers)[1] is AccessKind.BUS_ERROR
    assert tokens(rig, [answers[place] for place in (0, 2, 3)]) == [100, 102, 103]
    assert rig.state(*pages[1]) is State.LOST
    assert rig.host.faults.rows()["write", "bus_error"] == 1


@pytest.mark.parametrize(
    ("status", "kind", "state"),
    [
        (NodeStatus.UNAVAILABLE, AccessKind.STALLED, State.ENTRY),
        (NodeStatus.GONE, AccessKind.BUS_ERROR, State.LOST),
    ],
)
def test_a_device_that_fails_under_a_batch(status: NodeStatus, kind: AccessKind, state: State) -> None:
    """Pages in DRAM are answered all the same; frames do not leak (the audit looks)."""
    rig = Rig()
    pages = rig.fill(4)
    in_dram = (rig.a, 9)
    rig.put(*in_dram, 9)
    rig.performer.answers.append(status)
    answers = fault_in(rig, [*pages, in_dram], write=True)
    assert kinds(answers) == [kind] * 4 + [AccessKind.DRAM]
    assert {rig.state(*page) for page in pages} == {state}


def test_a_batch_that_ends_early_by_an_error_puts_everything_back() -> None:
    """The performer broke under the read: no frame is lost, no page is marked."""
    rig = Rig()
    pages = rig.fill(4)
    decision = rig.host.fault_in(pages, write=True, now_ns=0)
    next(decision)
    with pytest.raises(RuntimeError):
        decision.throw(RuntimeError())
    rig.host.check()
    assert tokens(rig, fault_in(rig, pages, write=True)) == [100, 101, 102, 103]


def test_an_unknown_space_in_a_batch_changes_nothing() -> None:
    """It is told before the first page is touched."""
    rig = Rig()
    with pytest.raises(KeyError, match="no address space 99"):
        fault_in(rig, [(rig.a, 0), (99, 0)], write=True)
    assert rig.counters.first_touches == 0
    assert fault_in(rig, [], write=True) == []
