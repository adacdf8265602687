"""Reclaim: kswapd's watermarks and clock, batches that are refused, tiers that are full, admission."""

from __future__ import annotations

import pytest

from cramagent.policy.effects import NodeWrite, TierPut
from cramagent.policy.host import Backend, PageKind
from cramagent.policy.settings import Admission, Writeback
from cramagent.policy.states import State
from policy_helpers import ABOVE_HIGH, NODE_PAGES, NodeStatus, Rig


def backends(rig: Rig, pages: list[tuple[int, int]]) -> list[Backend]:
    """Where each page is."""
    return [rig.host.peek(*page).backend for page in pages]


def test_kswapd_sleeps_above_the_low_watermark() -> None:
    """A host with free frames demotes nothing."""
    rig = Rig(dram_pages=128)
    rig.fill(100, evict=False)
    rig.turn()
    assert rig.counters.kswapd_wakes == 0
    assert rig.counters.demotions == 0


def test_kswapd_reclaims_to_the_high_watermark() -> None:
    """Woken below the low one (4 %), it goes on until the high one (8 %), in batches."""
    rig = Rig(dram_pages=128, demote_batch_pages=4)
    frames = rig.host.snapshot().dram_frames
    rig.fill(frames - 2, evict=False)
    rig.turn()
    rig.turn()
    assert rig.counters.kswapd_wakes == 1
    assert frames - rig.host.snapshot().dram_used == frames * 80 // 1000
    assert all(len(effect.dpas) <= 4 for effect in rig.performer.of_kind(NodeWrite))


def test_pressure_boosts_the_high_watermark() -> None:
    """The boost is in proportion to pressure: at 1000 its whole share is added."""
    free: list[int] = []
    for level in (1, 3, 5):
        rig = Rig(dram_pages=128)
        rig.read_telemetry(level)
        frames = rig.host.snapshot().dram_frames
        rig.fill(frames - 1, evict=False)
        for _ in range(4):
            rig.drive(rig.host.kswapd(rig.now))
        free.append(frames - rig.host.snapshot().dram_used)
    assert free == [9, 9 + 6, 9 + 12]


def test_referenced_pages_get_a_second_chance() -> None:
    """The hand clears the accessed bit and passes; who was not used since goes first."""
    rig = Rig(dram_pages=16)
    frames = rig.host.snapshot().dram_frames
    pages = rig.fill(frames, evict=False)
    rig.drive(rig.host.kswapd(rig.now))
    assert rig.counters.second_chances == frames
    assert rig.counters.demotions == 0
    hot = pages[::2]
    for page in hot:
        rig.get(*page)
    rig.drive(rig.host.kswapd(rig.now))
    assert rig.counters.demotions > 0
    assert all(rig.state(*page) is State.DRAM for page in hot)


def test_demotion_is_batched() -> None:
    """One write to the device for a batch."""
    rig = Rig(dram_pages=64)
    pages = rig.fill(20, evict=False)
    rig.evict(*pages)
    (write,) = rig.performer.of_kind(NodeWrite)
    assert len(write.dpas) == len(write.frames) == 20


@pytest.mark.parametrize(
    ("status", "counter"),
    [
        (NodeStatus.NO_MORE_WRITES, "demote_refused_no_more_writes"),
        (NodeStatus.REGION_LIMIT, "demote_refused_region_limit"),
        (NodeStatus.POISONED, "demote_refused_poisoned"),
        (NodeStatus.UNAVAILABLE, "demote_unavailable"),
    ],
)
def test_the_refused_rest_of_a_batch_goes_to_the_next_tier(status: NodeStatus, counter: str) -> None:
    """The accepted prefix is demoted, the rest is in zswap at once; nothing is lost."""
    rig = Rig()
    pages = rig.fill(6, evict=False)
    rig.performer.answers.append(status)
    rig.performer.accept_first = 2
    rig.evict(*pages)
    taken = 0 if status is NodeStatus.UNAVAILABLE else 2
    assert backends(rig, pages) == [Backend.NODE] * taken + [Backend.ZSWAP] * (6 - taken)
    assert getattr(rig.counters, counter) == 6 - taken
    assert [rig.get(*page) for page in pages] == [100, 101, 102, 103, 104, 105]


def test_refused_device_pages_are_free_at_once_unanswered_ones_after_trim() -> None:
    """A refused page keeps its old bytes; one that nobody answered may have been written."""
    rig = Rig()
    pages = rig.fill(4, evict=False)
    rig.performer.answers.append(NodeStatus.NO_MORE_WRITES)
    rig.evict(*pages[:2])
    assert (rig.host.snapshot().node_free, rig.host.snapshot().trim_waiting) == (NODE_PAGES, 0)
    rig.read_telemetry(ABOVE_HIGH)
    rig.performer.answers.append(NodeStatus.UNAVAILABLE)
    rig.performer.late_write = 1
    rig.evict(*pages[2:])
    assert (rig.host.snapshot().node_free, rig.host.snapshot().trim_waiting) == (NODE_PAGES - 2, 2)
    rig.drive(rig.host.trimmer(rig.now, force=True))
    assert rig.host.snapshot().node_free == NODE_PAGES
    assert rig.performer.device == {}


def test_a_session_gone_in_the_middle_of_a_demotion() -> None:
    """What was on the device is lost; the pages being demoted are not: they are still in DRAM."""
    rig = Rig()
    (old,) = rig.fill(1)
    new = [(rig.a, 10), (rig.a, 11)]
    for page in new:
        rig.put(*page, 5)
    rig.performer.answers.append(NodeStatus.GONE)
    rig.evict(*new)
    assert rig.state(*old) is State.LOST
    assert backends(rig, new) == [Backend.ZSWAP] * 2
    assert rig.counters.demote_gone == 2
    assert rig.counters.pages_lost == 1
    assert not rig.host.snapshot().attached
    assert rig.host.node_lost() == 0, "it is known already"


def test_zswap_then_the_swap_file_then_nothing() -> None:
    """With the node closed and the tiers full, pages stay in DRAM, and that is counted."""
    rig = Rig(zswap_pages=2, swapfile_pages=3)
    rig.host.node_unreachable()
    pages = rig.fill(7, evict=False)
    rig.evict(*pages)
    assert backends(rig, pages) == [Backend.ZSWAP] * 2 + [Backend.SWAPFILE] * 3 + [Backend.DRAM] * 2
    assert (rig.counters.zswap_full, rig.counters.swapfile_full, rig.counters.reclaim_kept) == (5, 2, 2)
    assert rig.counters.demote_denied_closed == 7
    assert [rig.get(*page) for page in pages] == list(range(100, 107))


def test_writeback_swapfile_skips_zswap() -> None:
    """`writeback = swapfile`: zswap is never asked."""
    rig = Rig(writeback=Writeback.SWAPFILE)
    rig.host.node_unreachable()
    rig.fill(2)
    assert {effect.tier.value for effect in rig.performer.of_kind(TierPut)} == {"swapfile"}


def test_a_full_node_falls_to_the_next_tier() -> None:
    """No free device page: counted, and the rest of the batch goes on."""
    rig = Rig(dram_pages=128)
    pages = rig.fill(NODE_PAGES + 3, evict=False)
    rig.evict(*pages)
    assert backends(rig, pages)[-4:] == [Backend.NODE] + [Backend.ZSWAP] * 3
    assert rig.counters.demote_denied_full == 3


def test_optimistic_admission_stops_when_told() -> None:
    """The device says no more writes; then the node is closed."""
    rig = Rig(capacity=3)
    pages = rig.fill(5)
    assert backends(rig, pages) == [Backend.NODE] * 3 + [Backend.ZSWAP] * 2
    assert rig.counters.demote_refused_no_more_writes == 1
    assert rig.counters.demote_denied_closed == 1, "the second was not even offered"


def test_upper_bound_admission_never_hears_no() -> None:
    """Room for three pages at their worst (4096 + 16 bytes) admits three, whatever they compress to."""
    rig = Rig(admission=Admission.UPPER_BOUND, capacity=3)
    pages = rig.fill(6, evict=False)
    rig.evict(pages[0])
    assert rig.counters.demotions == 0, "before the first reading nothing is known to fit"
    rig.read_telemetry(media_free_bytes=3 * 4112 + 4111)
    rig.evict(*pages[1:])
    assert backends(rig, pages[1:]) == [Backend.NODE] * 3 + [Backend.ZSWAP] * 2
    assert rig.counters.demote_denied_admission == 1 + 2
    assert rig.counters.demote_refused_no_more_writes == 0


def test_upper_bound_counts_pages_that_the_reading_missed() -> None:
    """A reading taken before the last writes landed says too much is free."""
    rig = Rig(admission=Admission.UPPER_BOUND)
    rig.read_telemetry(media_free_bytes=4 * 4112)
    pages = rig.fill(4, evict=False)
    rig.evict(*pages[:3])
    # It comes late: it knows of one of the three, and of none of the room they took.
    rig.read_telemetry(media_free_bytes=3 * 4112, stored_pages=1)
    rig.put(rig.a, 10, 1)
    rig.evict(pages[3], (rig.a, 10))
    assert backends(rig, [pages[3], (rig.a, 10)]) == [Backend.NODE, Backend.ZSWAP]


def test_upper_bound_heeds_the_regions_limit() -> None:
    """The smaller of device and region is the bound."""
    rig = Rig(admission=Admission.UPPER_BOUND)
    rig.read_telemetry(region_free_bytes=4112)
    pages = rig.fill(2, evict=False)
    rig.evict(*pages)
    assert backends(rig, pages) == [Backend.NODE, Backend.ZSWAP]


@pytest.mark.parametrize(
    ("kind", "counter"), [(PageKind.FILE, "ineligible_file"), (PageKind.KERNEL, "ineligible_kernel")]
)
def test_only_user_swap_eligible_pages_leave_dram(kind: PageKind, counter: str) -> None:
    """Write control: file and kernel pages reach neither the node nor swap."""
    rig = Rig()
    space = rig.host.create_space(kind)
    rig.put(space, 0, 1)
    rig.evict((space, 0))
    assert rig.state(space, 0) is State.DRAM
    assert getattr(rig.counters, counter) == 1
    assert not rig.performer.of_kind(NodeWrite)
    assert not rig.performer.of_kind(TierPut)


@pytest.mark.parametrize("kind", [PageKind.FILE, PageKind.KERNEL])
def test_pages_that_may_not_leave_hold_up_no_reclaim(kind: PageKind) -> None:
    """However many lie before the hand: a fault finds the cold page behind them."""
    rig = Rig(dram_pages=2048)
    fixed = rig.host.create_space(kind)
    frames = rig.host.snapshot().dram_frames
    for vpn in range(frames - 50):
        rig.performer.drive(rig.host.fault(fixed, vpn, write=True, now_ns=0))
    rig.fill(110, evict=False)
    assert rig.counters.out_of_memory == 0
    assert rig.counters.demotions >= 60
    assert rig.host.snapshot().pages[State.DRAM] <= frames


def test_kswapd_goes_on_behind_pages_that_may_not_leave() -> None:
    """One turn passes a whole look of them, and reclaims what comes behind."""
    rig = Rig(dram_pages=2048)
    fixed = rig.host.create_space(PageKind.FILE)
    frames = rig.host.snapshot().dram_frames
    for vpn in range(1100):
        rig.performer.drive(rig.host.fault(fixed, vpn, write=True, now_ns=0))
    pages = rig.fill(frames - 1100 - 10, evict=False)
    for space, vpn in pages:
        rig.host._mm.spaces[space].ptes[vpn].folio.referenced = False
    rig.drive(rig.host.kswapd(rig.now))
    assert rig.counters.demotions > 0
