"""Several devices, a node each: one batch on many, and what befalls one befalls no other."""

from __future__ import annotations

from typing import Any

import pytest

from cramagent.policy.effects import NodeLoad, NodeTrim, NodeWrite, Together
from cramagent.policy.host import Backend
from cramagent.policy.settings import Budget, OnBusError, Placement, PolicySettings, SettingError
from cramagent.policy.states import State
from policy_helpers import CRITICAL, NODE_PAGES, PAGE_BYTES, AccessKind, NodeStatus, Rig, a_reading


def two_nodes(pages: int = 8, **settings: Any) -> Rig:
    """Pages 0.. of `a` lie on node 0, 1, 0, 1, ...; page v holds 100 + v."""
    rig = Rig(nodes=2, placement=Placement.ROUND_ROBIN, **settings)
    rig.fill(pages)
    return rig


def nodes_of(rig: Rig, pages: int = 8) -> list[int]:
    """Which node has each of the first pages."""
    places = [rig.host.peek(rig.a, vpn) for vpn in range(pages)]
    assert {place.backend for place in places} == {Backend.NODE}
    return [place.node for place in places]


def test_a_batch_of_loads_is_one_effect_for_all_nodes() -> None:
    """One `NodeLoad` each, performed together."""
    rig = two_nodes()
    pages = [(rig.a, vpn) for vpn in range(8)]
    scratch = rig.performer.scratch[:8]
    rig.performer.log.clear()
    rig.drive(rig.host.load(pages, scratch, rig.now))
    (effect,) = rig.performer.of_kind(Together)
    assert [(part.node, len(part.dpas)) for part in effect.effects] == [(0, 4), (1, 4)]
    assert [rig.performer.frames[frame] for frame in scratch] == [100 + vpn for vpn in range(8)]


def test_pages_of_one_node_are_a_plain_effect() -> None:
    """As with one device: nothing is wrapped."""
    rig = two_nodes()
    rig.performer.log.clear()
    rig.drive(rig.host.load([(rig.a, 0), (rig.a, 2)], rig.performer.scratch[:2], rig.now))
    assert [effect.node for effect in rig.performer.of_kind(NodeLoad)] == [0]
    assert not rig.performer.of_kind(Together)


def test_a_batch_of_promotions_and_one_of_stores_span_nodes() -> None:
    """Both find their bytes, or leave them, where they belong."""
    promoting = two_nodes()
    for vpn, access in enumerate(
        promoting.drive(
            promoting.host.fault_in([(promoting.a, vpn) for vpn in range(8)], write=True, now_ns=0)
        )
    ):
        assert access.kind is AccessKind.DRAM
        assert promoting.performer.frames[access.where] == 100 + vpn
    storing = two_nodes(budget_pages=8)
    for vpn in range(8):
        storing.put(storing.a, vpn, 200 + vpn)
    assert storing.host.snapshot().writable == 8
    scratch = storing.performer.scratch[:8]
    for vpn, frame in enumerate(scratch):
        storing.performer.frames[frame] = 300 + vpn
    storing.performer.log.clear()
    storing.drive(storing.host.store([(storing.a, vpn) for vpn in range(8)], scratch, storing.now))
    assert [write.node for write in storing.performer.of_kind(NodeWrite)] == [0, 1]
    assert [storing.get(storing.a, vpn) for vpn in range(8)] == [300 + vpn for vpn in range(8)]


def test_a_lost_node_loses_its_pages_alone() -> None:
    """The other's are read as before; new demotions go there."""
    rig = two_nodes()
    rig.performer.devices[1].reset_device()
    assert rig.host.node_lost(1) == 4
    rig.host.check()
    states = [rig.host.state(rig.a, vpn) for vpn in range(8)]
    assert states == [State.ENTRY, State.LOST] * 4
    assert {(lost.vpn, lost.node) for lost in rig.host.take_lost()} == {(vpn, 1) for vpn in (1, 3, 5, 7)}
    assert [rig.get(rig.a, vpn) for vpn in (0, 2, 4, 6)] == [100, 102, 104, 106]
    rig.put(rig.a, 20, 7)
    rig.evict((rig.a, 20))
    assert rig.host.peek(rig.a, 20).node == 0


def test_a_lost_node_is_found_out_in_the_middle_of_a_batch() -> None:
    """`GONE` from one device: bus errors for its pages, bytes for the others'."""
    rig = two_nodes()
    rig.performer.devices[1].reset_device()
    scratch = rig.performer.scratch[:8]
    answers = rig.drive(rig.host.load([(rig.a, vpn) for vpn in range(8)], scratch, rig.now))
    assert [answer.kind for answer in answers] == [AccessKind.NODE, AccessKind.BUS_ERROR] * 4
    assert [rig.performer.frames[frame] for frame in scratch[::2]] == [100, 102, 104, 106]


def test_a_silent_node_stalls_its_pages_alone() -> None:
    """Loads, stores and promotions of the other go on; the silent one's wait."""
    rig = two_nodes()
    rig.performer.devices[0].link_up = False
    rig.host.node_unreachable(0)
    pages = [(rig.a, vpn) for vpn in range(4)]
    answers = rig.drive(rig.host.fault_in(pages, write=True, now_ns=0))
    assert [answer.kind for answer in answers] == [AccessKind.STALLED, AccessKind.DRAM] * 2
    rig.host.node_reachable(0)
    rig.performer.devices[0].link_up = True
    assert rig.get(rig.a, 0) == 100


def test_each_node_closes_and_opens_by_itself() -> None:
    """The closed one writes back; the other keeps what it has, and takes what comes."""
    rig = two_nodes(writeback_batch_pages=16)
    rig.read_telemetry(CRITICAL, node=0)
    assert [node.open for node in rig.host.snapshot().nodes] == [False, True]
    rig.turn()
    places = [rig.host.peek(rig.a, vpn).backend for vpn in range(8)]
    assert places == [Backend.ZSWAP, Backend.NODE] * 4
    rig.put(rig.a, 20, 7)
    rig.evict((rig.a, 20))
    assert rig.host.peek(rig.a, 20).node == 1
    rig.read_telemetry(node=0)
    assert rig.host.is_open(0)
    assert [node.counters.closes for node in rig.host.snapshot().nodes] == [1, 0]


def test_what_one_device_refuses_the_next_one_takes() -> None:
    """An exhausted device closes its node in the middle of a batch: nothing of it goes to swap."""
    rig = Rig(nodes=2, capacity=3)
    rig.performer.devices[1].capacity = NODE_PAGES
    pages = rig.fill(8, evict=False)
    rig.evict(*pages)
    assert nodes_of(rig) == [0] * 3 + [1] * 5
    assert [rig.host.is_open(node) for node in (0, 1)] == [False, True]
    assert rig.counters.demote_refused_no_more_writes == 5
    assert [node.counters.demotions_refused for node in rig.host.snapshot().nodes] == [5, 0]
    assert [rig.get(*page) for page in pages] == [100 + vpn for vpn in range(8)]


def test_pages_used_while_one_node_refused_stay() -> None:
    """Between two nodes of one batch the host looks again: what is not cold any more is not offered."""
    rig = Rig(nodes=2, capacity=0)
    rig.performer.devices[1].capacity = NODE_PAGES
    pages = rig.fill(4, evict=False)
    decision = rig._reclaim(*pages)
    answer = rig.performer.perform(next(decision))
    rig.touch(rig.a, 2, write=True)
    write = decision.send(answer)
    assert isinstance(write, NodeWrite)
    assert (write.node, len(write.frames)) == (1, 3)
    with pytest.raises(StopIteration):
        decision.send(rig.performer.perform(write))
    assert rig.host.state(rig.a, 2) is State.DRAM
    rig.host.check()


def test_the_budget_is_one_for_all_nodes() -> None:
    """The host's risk dial: pages mapped writable at one time, wherever they are."""
    rig = two_nodes(budget_pages=3)
    for vpn in range(8):
        rig.put(rig.a, vpn, 7)
    snapshot = rig.host.snapshot()
    assert (snapshot.writable, snapshot.budget) == (3, 3)
    assert sorted(node.writable for node in snapshot.nodes) == [1, 2]
    assert rig.counters.mkwrite_denied_budget == 5


def test_a_closed_node_cuts_its_own_writable_pages() -> None:
    """Those of the other stay writable; new ones are made there alone."""
    rig = two_nodes(budget_pages=6)
    for vpn in range(4):
        rig.put(rig.a, vpn, 7)
    rig.read_telemetry(CRITICAL, node=1)
    rig.drive(rig.host.ager(rig.now))
    assert [rig.host.state(rig.a, vpn) for vpn in range(4)] == [State.RW, State.RO] * 2
    assert rig.put(rig.a, 5, 7).kind is AccessKind.DRAM
    assert rig.put(rig.a, 4, 7).kind is AccessKind.NODE
    assert rig.counters.mkwrite_denied_closed == 1


def test_write_credits_are_each_devices_own() -> None:
    """A grant of one pays for pages there alone."""
    rig = two_nodes(budget=Budget.TOKENS)
    request = rig.host.credit_request(rig.now, 1)
    assert request is not None
    rig.host.credits_granted(request.number, 2, 1)
    kinds = [rig.put(rig.a, vpn, 7).kind for vpn in range(8)]
    assert [kind is AccessKind.NODE for kind in kinds] == [False, True] * 2 + [False] * 4
    assert rig.counters.mkwrite_denied_credits == 6
    assert rig.host.snapshot().budget == 2


@pytest.mark.parametrize("on_bus_error", OnBusError)
def test_both_devices_refuse_stores_of_one_space(on_bus_error: OnBusError) -> None:
    """One batch, a refusal from each: killed once, or each page rescued."""
    rig = two_nodes(budget_pages=8, on_bus_error=on_bus_error)
    for vpn in range(4):
        rig.put(rig.a, vpn, 7)
    for device in rig.performer.devices:
        device.answers.append(NodeStatus.NO_MORE_WRITES)
    pages, scratch = [(rig.a, vpn) for vpn in range(4)], rig.performer.scratch[:4]
    for frame in scratch:
        rig.performer.frames[frame] = 9
    answers = rig.drive(rig.host.store(pages, scratch, rig.now))
    assert rig.counters.stores_refused == 2
    assert not any(rig.host.is_open(node) for node in (0, 1))
    if on_bus_error is OnBusError.KILL:
        assert {answer.kind for answer in answers} == {AccessKind.BUS_ERROR}
        assert rig.host.killed(rig.a)
        assert rig.counters.bus_error_kills == 1
    else:
        assert [rig.get(*page) for page in pages] == [9] * 4
        assert rig.counters.bus_error_rescues == 2


def test_each_node_trims_its_own_pages() -> None:
    """The same DPA of two devices is two pages."""
    rig = two_nodes()
    for vpn in range(8):
        rig.drive(rig.host.free(rig.a, vpn, noticed=True))
    rig.drive(rig.host.trimmer(rig.now, force=True))
    trims = rig.performer.of_kind(NodeTrim)
    assert [(trim.node, trim.ranges) for trim in trims] == [(node, ((0, 4 * PAGE_BYTES),)) for node in (0, 1)]
    assert not any(device.device for device in rig.performer.devices)


def test_balloon_and_release_are_of_one_node() -> None:
    """One region is asked to shrink and compresses badly; the other knows nothing of it."""
    rig = two_nodes(balloon_min_pages=1)
    rig.read_telemetry(node=0, ratio_milli=1500, stored_pages=4)
    rig.read_telemetry(node=1, stored_pages=4, asked_back_to_bytes=PAGE_BYTES)
    rig.turn()
    nodes = rig.host.snapshot().nodes
    assert [node.balloon_size for node in nodes] == [NODE_PAGES // 2, 0]
    assert [node.used for node in nodes] == [4, 1]
    assert rig.host.release_ready(0) is None
    assert rig.host.release_ready(1) == PAGE_BYTES
    assert rig.host.resized(PAGE_BYTES, 1) == 0
    assert rig.host.resized(PAGE_BYTES, 0) == 3
    rig.host.check()


def test_poison_of_one_device_is_looked_for_there() -> None:
    """Both have a page at this DPA; only one is bad."""
    rig = two_nodes()
    rig.performer.devices[1].poisoned.add(0)
    rig.drive(rig.host.poison_told([0], 1))
    assert [rig.host.state(rig.a, vpn) for vpn in (0, 1)] == [State.ENTRY, State.LOST]


def test_boost_follows_the_node_in_the_worst_state() -> None:
    """Free frames are what a closed node's pages are promoted into."""
    rig = Rig(nodes=2)
    rig.host.reading(a_reading(CRITICAL), 0, 1)
    assert rig.host._mm.pressure == rig.host.snapshot().pressure == 1000


@pytest.mark.parametrize("nodes", [0, 65])
def test_as_many_nodes_as_can_be(nodes: int) -> None:
    """A clear error."""
    with pytest.raises(SettingError, match="1 to 64 devices"):
        PolicySettings(dram_pages=16, nodes=nodes)
