"""Capacity that the device asks back, or takes: which pages leave, who answers when, who loses what."""

from __future__ import annotations

from cramagent.policy.effects import NodeTrim
from cramagent.policy.host import LossCause
from cramagent.policy.states import State
from policy_helpers import NODE_PAGES, PAGE_BYTES, Rig


def ask(rig: Rig, pages: int | None, forced_in_ns: int | None = None) -> None:
    """A reading that asks for all behind so many pages; None: for nothing."""
    size = None if pages is None else pages * PAGE_BYTES
    rig.read_telemetry(asked_back_to_bytes=size, forced_in_ns=forced_in_ns)


def test_pages_past_the_end_go_to_swap_and_the_host_may_answer() -> None:
    """Only those; their bytes are good; the device pages were TRIMmed before."""
    rig = Rig()
    rig.fill(6)
    ask(rig, 4)
    assert rig.host.release_ready() is None
    rig.turn()
    assert rig.host.release_ready() == 4 * PAGE_BYTES
    assert rig.performer.of_kind(NodeTrim)[-1].ranges == ((4 * PAGE_BYTES, 2 * PAGE_BYTES),)
    states = [rig.state(rig.a, vpn) for vpn in range(6)]
    assert sorted(states) == sorted([State.ENTRY] * 4 + [State.SWAPPED] * 2)
    rig.host.check()
    rig.host.resized(4 * PAGE_BYTES)
    rig.host.check()
    assert rig.host.counters.pages_lost == 0
    assert rig.host.counters.writebacks_release == 2


def test_the_answer_is_told_once_for_each_reading() -> None:
    """Refused, or lost on the way, it is told again with the next."""
    rig = Rig()
    ask(rig, NODE_PAGES - 2)
    assert rig.host.release_ready() == (NODE_PAGES - 2) * PAGE_BYTES
    assert rig.host.release_ready() is None
    ask(rig, NODE_PAGES - 2)
    assert rig.host.release_ready() == (NODE_PAGES - 2) * PAGE_BYTES


def test_nothing_is_allocated_there_meanwhile() -> None:
    """And all of it again once the device asks no more."""
    rig = Rig()
    ask(rig, 3)
    rig.fill(6)
    rig.host.check()
    assert rig.host.snapshot().node_free == 0
    assert rig.host.counters.demotions == 3
    ask(rig, None)
    assert rig.host.snapshot().node_free == NODE_PAGES - 3
    rig.host.check()


def test_writable_pages_leave_as_well() -> None:
    """They are made R/O first: the budget is given back."""
    rig = Rig(budget_pages=8)
    rig.fill(4)
    rig.put(rig.a, 3, 77)
    assert rig.state(rig.a, 3) is State.RW
    ask(rig, 1)
    rig.turn()
    assert rig.state(rig.a, 3) is State.SWAPPED
    assert rig.get(rig.a, 3) == 77
    assert rig.host.snapshot().writable == 0


def test_what_is_taken_by_force_is_lost_for_its_owners_alone() -> None:
    """Pages before the cut stay; the node stays; the losses are named."""
    rig = Rig()
    rig.fill(4)
    assert rig.host.resized(3 * PAGE_BYTES) == 1
    rig.host.check()
    states = [rig.state(rig.a, vpn) for vpn in range(4)]
    assert states.count(State.LOST) == 1
    assert states.count(State.ENTRY) == 3
    (lost,) = rig.host.take_lost()
    assert lost.cause is LossCause.FORCED_RELEASE
    assert rig.host.counters.pages_lost_released == 1
    assert rig.host.is_open()


def test_a_deadline_makes_batches_larger() -> None:
    """An eighth of what is left, if that is more than a batch."""
    rig = Rig(writeback_batch_pages=1)
    rig.fill(NODE_PAGES)
    ask(rig, NODE_PAGES - 16, forced_in_ns=1_000_000)
    before = rig.host.counters.writebacks_release
    rig.turn()
    assert rig.host.counters.writebacks_release - before == 2


def test_without_room_in_the_tiers_they_stay() -> None:
    """Nothing is thrown away to please the device: it is lost when it is taken, not before."""
    rig = Rig(zswap_pages=0, swapfile_pages=0)
    rig.fill(4)
    ask(rig, 2)
    rig.turn()
    rig.turn()
    assert rig.host.release_ready() is None
    assert [rig.state(rig.a, vpn) for vpn in range(4)] == [State.ENTRY] * 4
    rig.host.check()
