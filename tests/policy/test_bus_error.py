"""A store through a writable mapping that the device cannot take: kill or rescue."""

from __future__ import annotations

import pytest

from cramagent.policy.settings import OnBusError
from cramagent.policy.states import State
from policy_helpers import AccessKind, NodeStatus, Rig

REFUSALS = [NodeStatus.NO_MORE_WRITES, NodeStatus.REGION_LIMIT]


def refuse_at(rig: Rig, position: int, status: NodeStatus) -> None:
    """The next write takes `position` pages and not the one after."""
    rig.performer.answers.append(status)
    rig.performer.accept_first = position


def store_all(rig: Rig, pages: list[tuple[int, int]], first_token: int) -> list[AccessKind]:
    """One batch of stores, page i gets token `first_token + i`."""
    scratch = rig.performer.scratch[: len(pages)]
    for place, frame in enumerate(scratch):
        rig.performer.frames[frame] = first_token + place
    return [answer.kind for answer in rig.drive(rig.host.store(pages, scratch, rig.now))]


@pytest.mark.parametrize("status", REFUSALS)
def test_kill(status: NodeStatus) -> None:
    """The address space dies, counted; another space's stores in the same batch go on."""
    rig = Rig(budget_pages=8, on_bus_error=OnBusError.KILL)
    other = rig.host.create_space()
    mine = rig.fill(3)
    rig.put(other, 0, 1)
    rig.evict((other, 0))
    for page in [*mine, (other, 0)]:
        rig.touch(*page, write=True)
    refuse_at(rig, 1, status)
    assert store_all(rig, [*mine, (other, 0)], 500) == [
        AccessKind.NODE,
        AccessKind.BUS_ERROR,
        AccessKind.BUS_ERROR,
        AccessKind.NODE,
    ]
    assert rig.host.killed(rig.a)
    assert list(rig.host.mapped(rig.a)) == []
    assert (rig.counters.stores_refused, rig.counters.bus_error_kills) == (1, 1)
    assert rig.counters.bus_errors == 0, "nothing was lost"
    assert rig.counters.killed_accesses == 1, "the third of its stores"
    assert rig.get(other, 0) == 503
    assert not rig.host.snapshot().open


def test_a_killed_space_can_only_exit() -> None:
    """Accesses are bus errors, a fork is refused; it exits like any other."""
    rig = Rig(budget_pages=1)
    (page,) = rig.fill(1)
    rig.touch(*page, write=True)
    refuse_at(rig, 0, NodeStatus.NO_MORE_WRITES)
    rig.put(*page, 1)
    assert rig.touch(rig.a, 77, write=True).kind is AccessKind.BUS_ERROR
    with pytest.raises(ValueError, match="killed"):
        rig.host.fork(rig.a)
    assert rig.host.snapshot().spaces == 0
    rig.drive(rig.host.exit_space(rig.a, noticed=True))


def test_a_kill_gives_everything_back() -> None:
    """Frames, device pages and swap handles of the dead space; its children keep theirs."""
    rig = Rig(budget_pages=1)
    device, swapped = rig.fill(2)
    rig.put(rig.a, 5, 55)
    rig.host.node_unreachable()
    rig.put(rig.a, 6, 66)
    rig.evict((rig.a, 6))
    rig.host.node_reachable()
    child = rig.host.fork(rig.a)
    rig.put(rig.a, 9, 9)
    rig.evict((rig.a, 9))
    rig.touch(rig.a, 9, write=True)
    refuse_at(rig, 0, NodeStatus.NO_MORE_WRITES)
    rig.put(rig.a, 9, 10)
    assert rig.host.killed(rig.a)
    assert [rig.get(child, vpn) for vpn in (device[1], swapped[1], 5, 6)] == [100, 101, 55, 66]
    rig.drive(rig.host.exit_space(child, noticed=True))
    rig.drive(rig.host.trimmer(rig.now, force=True))
    gauges = rig.host.snapshot()
    assert (gauges.dram_used, gauges.node_used, gauges.trim_waiting) == (0, 0, 0)
    assert set(gauges.swap_used.values()) == {0}
    assert all(not store for store in rig.performer.tiers.values())


@pytest.mark.parametrize("status", REFUSALS)
def test_rescue(status: NodeStatus) -> None:
    """The page is promoted with the store applied; pages before and after it are stored on the device."""
    rig = Rig(budget_pages=8, on_bus_error=OnBusError.RESCUE)
    pages = rig.fill(4)
    for page in pages:
        rig.touch(*page, write=True)
    refuse_at(rig, 1, status)
    kinds = store_all(rig, pages, 500)
    assert kinds == [AccessKind.NODE, AccessKind.DRAM, AccessKind.NODE, AccessKind.NODE]
    assert rig.state(*pages[1]) is State.DRAM
    assert [rig.get(*page) for page in pages] == [500, 501, 502, 503]
    assert rig.counters.bus_error_rescues == 1
    assert rig.counters.bus_error_kills == 0
    assert rig.host.snapshot().writable == 3


def test_rescue_without_memory_leaves_the_old_bytes() -> None:
    """No frame for the rescue: out of memory, the store did not happen."""
    rig = Rig(dram_pages=16, budget_pages=1, on_bus_error=OnBusError.RESCUE, zswap_pages=0, swapfile_pages=0)
    (page,) = rig.fill(1)
    rig.touch(*page, write=True)
    for vpn in range(10, 10 + rig.host.snapshot().dram_frames):
        rig.put(rig.a, vpn, vpn)
    refuse_at(rig, 0, NodeStatus.NO_MORE_WRITES)
    assert rig.put(*page, 9).kind is AccessKind.OUT_OF_MEMORY
    assert rig.state(*page) is State.RW
    assert rig.get(*page) == 100


def test_the_same_page_twice_in_a_batch() -> None:
    """The rescued first store is overwritten by the second, in DRAM."""
    rig = Rig(budget_pages=1, on_bus_error=OnBusError.RESCUE)
    (page,) = rig.fill(1)
    rig.touch(*page, write=True)
    refuse_at(rig, 0, NodeStatus.NO_MORE_WRITES)
    assert store_all(rig, [page, page], 500) == [AccessKind.DRAM, AccessKind.DRAM]
    assert rig.get(*page) == 501


def test_an_unanswered_store_stalls() -> None:
    """It may have happened or not; stored again, it has."""
    rig = Rig(budget_pages=1)
    (page,) = rig.fill(1)
    rig.touch(*page, write=True)
    rig.performer.answers.append(NodeStatus.UNAVAILABLE)
    assert rig.put(*page, 7).kind is AccessKind.STALLED
    assert rig.state(*page) is State.RW
    assert rig.put(*page, 7).kind is AccessKind.NODE
    assert rig.get(*page) == 7
