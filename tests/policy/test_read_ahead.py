"""Read-ahead: what a fault brings along for its neighbours, and whether it was of use."""

from __future__ import annotations

import pytest

from cramagent.policy.effects import NodeLoad, TierGet
from cramagent.policy.settings import SettingError, Writeback
from cramagent.policy.states import State
from policy_helpers import Rig


def states(rig: Rig, *vpns: int) -> list[State]:
    """Of pages of the first space."""
    return [rig.state(rig.a, vpn) for vpn in vpns]


def swapped(**settings: int) -> Rig:
    """Sixteen pages in the swap file, and no node."""
    rig = Rig(writeback=Writeback.SWAPFILE, **settings)
    rig.host.node_lost()
    rig.fill(16)
    return rig


def test_by_default_a_read_fault_maps_one_page() -> None:
    """Its neighbours' first reads are to be seen, too."""
    rig = Rig()
    rig.fill(4)
    rig.get(rig.a, 1)
    assert states(rig, 0, 1, 2, 3) == [State.ENTRY, State.RO, State.ENTRY, State.ENTRY]


def test_fault_around_maps_the_window_of_the_faulting_mapper() -> None:
    """Aligned; no byte is read for it; another mapper of the same pages is left alone."""
    rig = Rig(fault_around_pages=4)
    rig.fill(9)
    child = rig.host.fork(rig.a)
    rig.touch(rig.a, 5, write=False)
    assert states(rig, 3, 4, 5, 6, 7, 8) == [State.ENTRY, *[State.RO] * 4, State.ENTRY]
    assert {rig.state(child, vpn) for vpn in range(9)} == {State.ENTRY}
    assert not rig.performer.of_kind(NodeLoad)
    assert (rig.counters.read_faults, rig.counters.fault_around) == (1, 3)


def test_a_page_mapped_around_is_a_hit_once() -> None:
    """By a read, in a batch or alone; one that is stored to first is none, and faults."""
    rig = Rig(fault_around_pages=8)
    rig.fill(8)
    rig.drive(rig.host.fault_in([(rig.a, 0), (rig.a, 1)], write=False, now_ns=0))
    rig.get(rig.a, 2)
    rig.get(rig.a, 2)
    rig.put(rig.a, 3, 3)
    rig.get(rig.a, 3)
    assert rig.counters.read_faults == 1
    assert (rig.counters.fault_around, rig.counters.fault_around_hits) == (7, 2)


def test_a_page_made_writable_first_is_no_hit() -> None:
    """Its write faulted all the same."""
    rig = Rig(fault_around_pages=2, budget_pages=1)
    rig.fill(2)
    rig.get(rig.a, 0)
    rig.put(rig.a, 1, 5)
    assert rig.get(rig.a, 1) == 5
    assert rig.state(rig.a, 1) is State.RW
    assert rig.counters.fault_around_hits == 0


def test_pages_mapped_around_are_old() -> None:
    """Nobody has read them: writeback takes them before what was read."""
    rig = Rig(fault_around_pages=2)
    rig.fill(2)
    rig.touch(rig.a, 0, write=False)
    folios = [rig.host._mm.spaces[rig.a].ptes[vpn].folio for vpn in (0, 1)]
    assert [folio.referenced for folio in folios] == [True, False]


def test_a_swap_in_from_the_swap_file_brings_its_neighbours() -> None:
    """One load for all of the window of eight; the first use of each is a hit."""
    rig = swapped()
    assert rig.get(rig.a, 2) == 102
    assert states(rig, 7, 8) == [State.DRAM, State.SWAPPED]
    (load,) = rig.performer.of_kind(TierGet)
    assert len(load.handles) == 8
    assert [rig.get(rig.a, vpn) for vpn in (0, 7)] == [100, 107]
    assert (rig.counters.read_ahead, rig.counters.read_ahead_hits) == (7, 2)
    assert rig.host.faults.rows()["read", "swapped_in"] == 1


def test_what_a_batch_asks_for_is_not_read_ahead() -> None:
    """Each page of it is a fault of its own, though one load brings all."""
    rig = swapped()
    pages = [(rig.a, vpn) for vpn in range(6)]
    answers = rig.drive(rig.host.fault_in(pages, write=False, now_ns=0))
    assert [rig.performer.frames[answer.where] for answer in answers] == [100, 101, 102, 103, 104, 105]
    assert len(rig.performer.of_kind(TierGet)) == 1
    assert rig.host.faults.rows()["read", "swapped_in"] == 6
    assert rig.counters.read_ahead == 2


def test_read_ahead_takes_only_frames_to_spare() -> None:
    """Those under the low watermark are for who needs them."""
    rig = swapped(low_watermark_milli=800, high_watermark_milli=850, watermark_boost_milli=0)
    frames = rig.host._mm.frames
    assert (frames.count, frames.low) == (30, 24)
    rig.get(rig.a, 0)
    assert rig.counters.read_ahead == 5
    rig.get(rig.a, 15)
    assert rig.counters.read_ahead == 5


def test_zswap_is_not_read_ahead() -> None:
    """It is memory: as good at one page as at many."""
    rig = Rig()
    rig.host.node_lost()
    rig.fill(8)
    rig.get(rig.a, 2)
    assert states(rig, 1, 2, 3) == [State.SWAPPED, State.DRAM, State.SWAPPED]


def test_what_leaves_unused_is_no_hit() -> None:
    """It was read ahead for nothing."""
    rig = swapped()
    rig.get(rig.a, 0)
    rig.evict((rig.a, 1))
    rig.get(rig.a, 1)
    assert rig.counters.read_ahead_hits == 0


@pytest.mark.parametrize("setting", ["fault_around_pages", "read_ahead_pages"])
def test_a_window_holds_the_page_itself(setting: str) -> None:
    """1 is off; 0 says nothing."""
    with pytest.raises(SettingError, match="at least one page"):
        Rig(**{setting: 0})
