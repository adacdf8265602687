"""The device is reset, pages are poisoned: only the owners of what was there suffer."""

from __future__ import annotations

import pytest

from cramagent.policy.effects import NodeLoad
from cramagent.policy.host import Backend, LossCause, LostPage
from cramagent.policy.states import State
from policy_helpers import NODE_PAGES, PAGE_BYTES, AccessKind, NodeStatus, Rig


def test_a_reset_loses_what_was_on_the_device_and_nothing_else() -> None:
    """ENTRY, RO and RW become LOST, for every mapper; DRAM and swap are untouched."""
    rig = Rig(budget_pages=1)
    entry, mapped, writable = rig.fill(3)
    rig.get(*mapped)
    rig.put(*writable, 9)
    child = rig.host.fork(rig.a)
    rig.put(*writable, 10)
    rig.put(rig.a, 10, 1)
    rig.host.node_unreachable()
    rig.put(rig.a, 11, 2)
    rig.evict((rig.a, 11))

    lost = rig.host.node_lost()

    rig.host.check()
    assert lost == rig.counters.pages_lost_reset == 6 - 1  # `writable` was copied to DRAM for the parent.
    assert [rig.state(rig.a, vpn) for vpn in (0, 1, 2, 10, 11)] == [
        State.LOST,
        State.LOST,
        State.DRAM,
        State.DRAM,
        State.SWAPPED,
    ]
    assert [rig.state(child, vpn) for vpn in (0, 1, 2)] == [State.LOST] * 3
    assert [rig.get(rig.a, vpn) for vpn in (2, 10, 11)] == [10, 1, 2]
    assert rig.get(*entry) is AccessKind.BUS_ERROR


def test_a_lost_writable_page() -> None:
    """It has an entry again, and is out of the budget."""
    rig = Rig(budget_pages=1)
    (page,) = rig.fill(1)
    rig.put(*page, 9)
    assert rig.host.node_lost() == 1
    rig.host.check()
    gauges = rig.host.snapshot()
    assert (gauges.writable, gauges.entries) == (0, 1)


def test_a_lost_page_is_a_bus_error_until_freed() -> None:
    """Reads and writes alike, each counted; then the page is new."""
    rig = Rig()
    (page,) = rig.fill(1)
    rig.host.node_lost()
    assert rig.get(*page) is AccessKind.BUS_ERROR
    assert rig.put(*page, 1).kind is AccessKind.BUS_ERROR
    assert rig.counters.bus_errors == 2
    rig.drive(rig.host.free(*page, noticed=True))
    assert rig.get(*page) == 0
    assert rig.host.snapshot().entries == 0


def test_a_new_session_is_an_empty_node() -> None:
    """Nothing is trimmed, nothing remembered; demotion goes on."""
    rig = Rig()
    old, freed = rig.fill(2)
    rig.drive(rig.host.free(*freed, noticed=True))
    rig.host.node_lost()
    rig.performer.new_session()
    rig.host.node_attached(NODE_PAGES * PAGE_BYTES)
    gauges = rig.host.snapshot()
    assert (gauges.open, gauges.node_free, gauges.node_used, gauges.trim_waiting) == (True, NODE_PAGES, 0, 0)
    rig.put(rig.a, 9, 9)
    rig.evict((rig.a, 9))
    assert rig.get(rig.a, 9) == 9
    assert rig.state(*old) is State.LOST


def test_zombies_of_a_lost_session_are_reaped_without_trim() -> None:
    """Their device pages are no more."""
    rig = Rig()
    (page,) = rig.fill(1)
    rig.drive(rig.host.free(*page, noticed=False))
    assert rig.host.node_lost() == 0
    rig.drive(rig.host.reaper(rig.now))
    gauges = rig.host.snapshot()
    assert (gauges.zombies, gauges.entries, gauges.trim_waiting) == (0, 0, 0)


@pytest.mark.parametrize("by", ["load", "promote", "event"])
def test_poison_hurts_only_its_owners(by: str) -> None:
    """However it is found: all its mappers are LOST, the others go on, the device page is TRIMmed."""
    rig = Rig()
    bad, good = rig.fill(2)
    child = rig.host.fork(rig.a)
    dpa = rig.host.peek(*bad).where
    rig.performer.poisoned.add(dpa)
    if by == "event":
        rig.drive(rig.host.poison_told([dpa]))
    elif by == "load":
        assert rig.get(*bad) is AccessKind.BUS_ERROR
    else:
        assert rig.put(*bad, 5).kind is AccessKind.BUS_ERROR
    rig.host.check()
    assert rig.state(*bad) is rig.state(child, 0) is State.LOST
    assert rig.counters.pages_lost_poison == 2
    assert rig.get(*good) == rig.get(child, 1) == 101
    assert rig.host.snapshot().trim_waiting == 1


def test_a_batch_with_a_poisoned_page() -> None:
    """The others of the batch are loaded."""
    rig = Rig()
    pages = rig.fill(3)
    rig.performer.poisoned.add(rig.host.peek(*pages[1]).where)
    scratch = rig.performer.scratch[:3]
    answers = rig.drive(rig.host.load(pages, scratch, rig.now))
    assert [answer.kind for answer in answers] == [AccessKind.NODE, AccessKind.BUS_ERROR, AccessKind.NODE]
    assert [rig.performer.frames[frame] for frame in (scratch[0], scratch[2])] == [100, 102]


def test_a_late_event_hurts_nobody() -> None:
    """However often it comes: by now the device page is another folio's, whose bytes are good."""
    rig = Rig()
    (bad,) = rig.fill(1)
    dpa = rig.host.peek(*bad).where
    rig.performer.poisoned.add(dpa)
    rig.get(*bad)
    rig.drive(rig.host.trimmer(rig.now, force=True))
    rig.put(rig.a, 9, 9)
    rig.evict((rig.a, 9))
    assert rig.host.peek(rig.a, 9).where == dpa
    for _ in range(3):
        rig.drive(rig.host.poison_told([dpa]))
    assert rig.counters.pages_lost == 1
    assert rig.get(rig.a, 9) == 9


def test_poison_that_is_news_on_a_page_used_again() -> None:
    """What was bad once, and good since, may be bad once more."""
    rig = Rig()
    (bad,) = rig.fill(1)
    dpa = rig.host.peek(*bad).where
    rig.performer.poisoned.add(dpa)
    rig.get(*bad)
    rig.drive(rig.host.trimmer(rig.now, force=True))
    rig.put(rig.a, 9, 9)
    rig.evict((rig.a, 9))
    rig.performer.poisoned.add(dpa)
    rig.drive(rig.host.poison_told([dpa]))
    assert rig.state(rig.a, 9) is State.LOST


def test_poison_where_nothing_of_ours_is() -> None:
    """Free pages, zombies, addresses past the end: passed over, the device is not asked."""
    rig = Rig()
    (page,) = rig.fill(1)
    dpa = rig.host.peek(*page).where
    rig.drive(rig.host.free(*page, noticed=False))
    rig.drive(rig.host.poison_told([dpa, 8 * PAGE_BYTES, 1 << 40]))
    assert rig.counters.pages_lost == 0
    assert not rig.performer.of_kind(NodeLoad)


def test_an_event_that_cannot_be_looked_into() -> None:
    """The device is silent: nothing is decided, and the next load meets the poison."""
    rig = Rig()
    (page,) = rig.fill(1)
    dpa = rig.host.peek(*page).where
    rig.performer.poisoned.add(dpa)
    rig.performer.answers.append(NodeStatus.UNAVAILABLE)
    rig.drive(rig.host.poison_told([dpa]))
    assert rig.counters.pages_lost == 0
    assert rig.get(*page) is AccessKind.BUS_ERROR


def test_many_pages_in_one_event() -> None:
    """They are looked into by as many as there are bounce frames; a page named twice suffers once."""
    rig = Rig()
    pages = rig.fill(10)
    dpas = [rig.host.peek(*page).where for page in pages]
    rig.performer.poisoned.update(dpas[1:])
    rig.drive(rig.host.poison_told([*dpas, *dpas]))
    assert [rig.state(*page) for page in pages] == [State.ENTRY] + [State.LOST] * 9
    loads = [len(load.dpas) for load in rig.performer.of_kind(NodeLoad)]
    assert sum(loads) == 10
    assert max(loads) == len(rig.host._mm.frames.bounce)


def test_the_session_is_gone_when_an_event_is_looked_into() -> None:
    """Then all that was on the device is lost, with the session."""
    rig = Rig()
    pages = rig.fill(3)
    rig.performer.answers.append(NodeStatus.GONE)
    rig.drive(rig.host.poison_told([rig.host.peek(*page).where for page in pages]))
    assert rig.counters.pages_lost_reset == 3
    assert {page.cause for page in rig.host.take_lost()} == {LossCause.SESSION}


def test_lost_pages_are_handed_out_once() -> None:
    """Every mapper of a poisoned page, with the cause."""
    rig = Rig()
    (bad,) = rig.fill(1)
    child = rig.host.fork(rig.a)
    rig.host.poison_met([rig.host.peek(*bad).where])
    assert rig.host.take_lost() == [
        LostPage(rig.a, 0, LossCause.POISON),
        LostPage(child, 0, LossCause.POISON),
    ]
    assert rig.host.take_lost() == []


def test_a_session_gone_under_a_fault_of_another_page() -> None:
    """Direct reclaim, nested in a promotion, finds it gone: the page being promoted is lost as well."""
    rig = Rig(dram_pages=16)
    (page,) = rig.fill(1)
    for vpn in range(10, 10 + rig.host.snapshot().dram_frames):
        rig.put(rig.a, vpn, vpn)
    rig.performer.answers.append(NodeStatus.GONE)
    assert rig.put(*page, 5).kind is AccessKind.BUS_ERROR
    assert rig.state(*page) is State.LOST
    assert rig.host.peek(rig.a, 10).backend in {Backend.DRAM, Backend.ZSWAP}
    assert rig.counters.sessions_lost == 1


def test_a_session_gone_under_a_load() -> None:
    """Every page of the batch that was on the device is a bus error."""
    rig = Rig()
    pages = rig.fill(2)
    rig.put(rig.a, 5, 5)
    rig.performer.answers.append(NodeStatus.GONE)
    scratch = rig.performer.scratch[:3]
    answers = rig.drive(rig.host.load([*pages, (rig.a, 5)], scratch, rig.now))
    assert [answer.kind for answer in answers] == [AccessKind.BUS_ERROR] * 2 + [AccessKind.DRAM]


def test_the_link_comes_back_only_to_a_session() -> None:
    """Reachable without a node attached means nothing."""
    rig = Rig()
    rig.host.node_lost()
    rig.host.node_reachable()
    assert not rig.host.snapshot().reachable
    rig.host.check()
