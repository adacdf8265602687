"""Several mappers of one folio: fork, copy on write, MAP_SHARED. The reverse map at work."""

from __future__ import annotations

import pytest

from cramagent.policy.effects import CopyFrame, NodeWrite
from cramagent.policy.host import Backend, PageKind
from cramagent.policy.states import State
from policy_helpers import AccessKind, Rig


def test_fork_moves_no_bytes() -> None:
    """Both spaces map the same frame; a write copies it for the writer."""
    rig = Rig()
    rig.put(rig.a, 0, 1)
    rig.performer.log.clear()
    child = rig.host.fork(rig.a)
    assert rig.performer.log == []
    assert rig.host.peek(child, 0) == rig.host.peek(rig.a, 0)
    rig.put(child, 0, 2)
    assert (rig.get(rig.a, 0), rig.get(child, 0)) == (1, 2)
    assert rig.counters.cow_copies == 1
    # The last mapper of a frame writes it in place.
    rig.put(rig.a, 0, 3)
    assert rig.counters.cow_copies == 1
    assert len(rig.performer.of_kind(CopyFrame)) == 1


def test_demotion_moves_all_mappers_with_one_entry() -> None:
    """One device page, one entry, two PTEs that hold it."""
    rig = Rig()
    rig.put(rig.a, 0, 1)
    child = rig.host.fork(rig.a)
    rig.evict((rig.a, 0))
    assert rig.state(rig.a, 0) is rig.state(child, 0) is State.ENTRY
    assert rig.host.snapshot().entries == 1
    assert len(rig.performer.of_kind(NodeWrite)) == 1


def test_a_read_fault_maps_only_the_faulting_mapper() -> None:
    """Some mappers may be ENTRY and others R/O."""
    rig = Rig()
    rig.put(rig.a, 0, 1)
    child = rig.host.fork(rig.a)
    rig.evict((rig.a, 0))
    rig.touch(child, 0, write=False)
    assert (rig.state(rig.a, 0), rig.state(child, 0)) == (State.ENTRY, State.RO)


def test_a_private_write_copies_for_the_writer_alone() -> None:
    """The other mapper keeps the device page, and is then its only one: it may be made writable."""
    rig = Rig(budget_pages=4)
    rig.put(rig.a, 0, 1)
    child = rig.host.fork(rig.a)
    rig.evict((rig.a, 0))
    assert rig.put(child, 0, 2).kind is AccessKind.DRAM
    assert rig.counters.mkwrite_denied_mappers == 1
    assert rig.counters.promotions_copied == 1
    assert rig.state(rig.a, 0) is State.ENTRY
    assert rig.put(rig.a, 0, 3).kind is AccessKind.NODE
    assert rig.state(rig.a, 0) is State.RW
    assert (rig.get(rig.a, 0), rig.get(child, 0)) == (3, 2)


def test_fork_protects_writable_pages() -> None:
    """RW -> RO in both spaces, with a new entry, and writable_cnt--."""
    rig = Rig(budget_pages=1)
    (page,) = rig.fill(1)
    rig.put(*page, 5)
    child = rig.host.fork(rig.a)
    rig.host.check()
    assert rig.state(*page) is rig.state(child, 0) is State.RO
    assert rig.host.snapshot().writable == 0
    assert rig.host.snapshot().entries == 1
    assert rig.counters.fork_protects == 1
    assert rig.get(child, 0) == 5


def test_a_shared_page_is_promoted_for_all() -> None:
    """MAP_SHARED: every mapper moves to DRAM, and sees the store."""
    rig = Rig()
    other = rig.host.create_space()
    rig.put(rig.a, 0, 1)
    rig.host.share(rig.a, 0, other, 9)
    rig.evict((rig.a, 0))
    rig.touch(other, 9, write=False)
    assert rig.put(rig.a, 0, 2).kind is AccessKind.DRAM
    assert rig.state(other, 9) is State.DRAM
    assert rig.get(other, 9) == 2
    # In DRAM too, a store is seen by all: nothing is copied.
    rig.put(other, 9, 3)
    assert rig.get(rig.a, 0) == 3
    assert rig.counters.promotions == 1
    assert rig.counters.cow_copies == rig.counters.promotions_copied == 0


def test_sharing_a_writable_page_protects_it() -> None:
    """Mkwrite needs exactly one mapper, so a second one ends it."""
    rig = Rig(budget_pages=1)
    (page,) = rig.fill(1)
    rig.put(*page, 5)
    other = rig.host.create_space()
    rig.host.share(*page, other, 0)
    rig.host.check()
    assert rig.state(*page) is rig.state(other, 0) is State.RO
    assert rig.counters.reprotects_shared == 1
    assert rig.get(other, 0) == 5


def test_what_cannot_be_shared() -> None:
    """NONE, copy-on-write pages, taken places, spaces of another kind: refused, nothing changed."""
    rig = Rig()
    other = rig.host.create_space()
    files = rig.host.create_space(PageKind.FILE)
    rig.put(rig.a, 0, 1)
    rig.put(other, 0, 2)
    with pytest.raises(ValueError, match="not mapped"):
        rig.host.share(rig.a, 5, other, 5)
    with pytest.raises(ValueError, match="mapped already"):
        rig.host.share(rig.a, 0, other, 0)
    with pytest.raises(ValueError, match="anon"):
        rig.host.share(rig.a, 0, files, 0)
    rig.host.fork(rig.a)
    with pytest.raises(ValueError, match="copy-on-write"):
        rig.host.share(rig.a, 0, other, 1)
    rig.host.check()


def test_a_swapped_page_comes_back_for_all_mappers() -> None:
    """They share the frame as through the swap cache; a writer then copies it."""
    rig = Rig()
    rig.host.node_unreachable()
    rig.put(rig.a, 0, 1)
    child = rig.host.fork(rig.a)
    rig.evict((rig.a, 0))
    assert rig.state(child, 0) is State.SWAPPED
    rig.put(child, 0, 2)
    assert rig.state(rig.a, 0) is State.DRAM
    assert (rig.get(rig.a, 0), rig.get(child, 0)) == (1, 2)
    assert (rig.counters.swap_ins, rig.counters.cow_copies) == (1, 1)


def test_writeback_zaps_read_only_mappings_first() -> None:
    """ENTRY and RO mappers alike are SWAPPED then; one entry, another backend."""
    rig = Rig()
    rig.put(rig.a, 0, 1)
    child = rig.host.fork(rig.a)
    rig.evict((rig.a, 0))
    rig.touch(child, 0, write=False)
    rig.drive(rig.host.writeback_all(rig.now))
    assert rig.state(rig.a, 0) is rig.state(child, 0) is State.SWAPPED
    assert rig.counters.writeback_zaps == 1
    assert rig.host.snapshot().entries == 1
    assert rig.host.peek(child, 0).backend is Backend.ZSWAP


def test_a_device_page_is_freed_with_its_last_mapper() -> None:
    """Until then a free is done at once, and TRIMs nothing."""
    rig = Rig()
    rig.put(rig.a, 0, 1)
    child = rig.host.fork(rig.a)
    rig.evict((rig.a, 0))
    rig.drive(rig.host.exit_space(child, noticed=False))
    assert rig.host.snapshot().zombies == 0
    assert rig.host.snapshot().trim_waiting == 0
    assert rig.get(rig.a, 0) == 1
