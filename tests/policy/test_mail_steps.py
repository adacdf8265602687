"""The mail's write budget: demote -> entry, read fault -> R/O, write fault -> budget or promote."""

from __future__ import annotations

from cramagent.policy.effects import NodeLoad, NodeTrim, NodeWrite
from cramagent.policy.settings import Mapping
from cramagent.policy.states import State
from policy_helpers import AccessKind, Rig


def test_the_three_steps_with_a_budget_of_one() -> None:
    """`budget=1 (up to 1 page can be writable)`: the first writer stays, the second is promoted."""
    rig = Rig(budget_pages=1)
    first, second = rig.fill(2)

    # 1) swap 1 page -> cram alloc 1 page, put VSWAP_CRAM in PTE
    assert rig.state(*first) is State.ENTRY
    assert rig.host.snapshot().entries == 2

    # 2) read-fault -> cram upgrades VSWAP_CRAM to R/O PTE
    assert rig.get(*first) == 100
    assert rig.state(*first) is State.RO
    assert rig.host.snapshot().entries == 2, "the entry is left cached"

    # 3) write-fault -> a) if (writable_cnt < budget) { writable_cnt++; mkwrite(pte); }
    assert rig.put(*first, 200).kind is AccessKind.NODE
    assert rig.state(*first) is State.RW
    assert rig.host.snapshot().writable == 1
    assert rig.host.snapshot().entries == 1, "mkwrite reaps the entry"

    # b) else: normal swap semantic -> promote to normal memory
    assert rig.put(*second, 201).kind is AccessKind.DRAM
    assert rig.state(*second) is State.DRAM
    assert rig.counters.mkwrite_denied_budget == 1
    assert (rig.get(*first), rig.get(*second)) == (200, 201)


def test_a_read_fault_moves_no_bytes() -> None:
    """Mapping R/O is page-table work; only the CPU's load reads the device."""
    rig = Rig()
    (page,) = rig.fill(1)
    rig.performer.log.clear()
    assert rig.touch(*page, write=False).kind is AccessKind.NODE
    assert rig.performer.log == []
    assert rig.get(*page) == 100
    assert len(rig.performer.of_kind(NodeLoad)) == 1


def test_the_second_read_needs_no_fault() -> None:
    """Behind an R/O mapping the fast path answers."""
    rig = Rig()
    (page,) = rig.fill(1)
    assert rig.host.access(*page, write=False, now_ns=0) is None
    rig.touch(*page, write=False)
    assert rig.host.access(*page, write=False, now_ns=0) is not None
    assert rig.host.access(*page, write=True, now_ns=0) is None
    assert rig.counters.read_faults == 1


def test_no_budget_always_promotes() -> None:
    """`budget = pages 0`: every write fault copies to DRAM and gives the device page back."""
    rig = Rig(budget_pages=0)
    for page in rig.fill(3):
        assert rig.put(*page, 7).kind is AccessKind.DRAM
    assert rig.counters.promotions == 3
    assert rig.counters.mkwrites == 0
    assert rig.host.snapshot().trim_waiting == 3


def test_resident_mapping_never_faults_on_reads() -> None:
    """`mapping = resident`: demotion leaves an R/O mapping behind."""
    rig = Rig(mapping=Mapping.RESIDENT)
    (page,) = rig.fill(1)
    assert rig.state(*page) is State.RO
    assert rig.get(*page) == 100
    assert rig.counters.read_faults == 0
    assert rig.host.snapshot().entries == 1


def test_a_page_goes_around_many_times() -> None:
    """Demoted, stored to in place, re-protected, stored to again: the bytes are always the last ones."""
    rig = Rig(budget_pages=1, writable_age_ns=1000)
    page = (rig.a, 0)
    for turn in range(5):
        rig.put(*page, turn)
        if rig.state(*page) is State.DRAM:
            rig.evict(page)
        rig.turn(ms=1)
        assert rig.get(*page) == turn
    assert rig.counters.demotions == 1
    assert rig.counters.mkwrites == rig.counters.reprotects_aged == 4


def test_a_promoted_page_is_trimmed_not_zeroed() -> None:
    """`TRIM/FLUSH those pages to release the capacity without zeroing them`."""
    rig = Rig()
    (page,) = rig.fill(1)
    rig.put(*page, 5)
    rig.drive(rig.host.trimmer(rig.now, force=True))
    assert [effect.ranges for effect in rig.performer.of_kind(NodeTrim)] == [((0, 4096),)]
    assert len(rig.performer.of_kind(NodeWrite)) == 1
    assert rig.performer.device == {}
