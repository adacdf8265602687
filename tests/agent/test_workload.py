"""Changes of a source against the policy, over a device in memory: every byte checked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from agent_helpers import NS_PER_S, PAGE, Rig, noise, prose, rig_of
from cramagent.accesses import OutOfMemory
from cramagent.behind import Behind
from cramagent.clock import SYSTEM_CLOCK
from cramagent.policy.effects import NodeStatus
from cramagent.policy.folio import Folio
from cramagent.policy.host import Backend, PageKind
from cramagent.policy.settings import OnBusError
from cramagent.policy.states import State
from cramagent.sources import Exit, Fork, Free, Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cramagent.policy.effects import NodeWritten


def fill(rig: Rig, pages: int, space: int = 0) -> None:
    """Store pages 0.. of a space with prose of their own numbers; the source has them, too."""
    for first in range(0, pages, 32):
        vpns = tuple(range(first, min(first + 32, pages)))
        for vpn in vpns:
            rig.source.now[space, vpn] = prose(vpn)
        rig.workload.apply(Store(space, vpns, b"".join(prose(vpn) for vpn in vpns)))
        rig.background()


def on_node(rig: Rig, space: int = 0) -> list[int]:
    """Vpns whose bytes the device holds."""
    host_space = rig.workload.spaces[space]
    return [
        vpn for vpn in rig.host.mapped(host_space) if rig.host.peek(host_space, vpn).backend is Backend.NODE
    ]


def read(rig: Rig, *vpns: int, space: int = 0) -> list[tuple[int, int]]:
    """Read pages through the policy; the ones that met a bus error."""
    return rig.accesses.load([(space, vpn) for vpn in vpns])


def test_pages_beyond_dram_are_demoted_and_read_back(rig: Rig) -> None:
    """Four times the DRAM, all of it read twice, not one byte wrong."""
    fill(rig, 256)
    assert len(on_node(rig)) > 150
    for first in range(0, 256, 16):
        assert read(rig, *range(first, first + 16)) == []
    assert rig.tally.verified == 256
    assert rig.tally.mismatched == 0
    assert rig.host.counters.read_faults > 0


def test_one_wrong_byte_on_the_device_is_found(rig: Rig) -> None:
    """By the read itself, with space, vpn and state."""
    fill(rig, 256)
    vpn = on_node(rig)[0]
    dpa = rig.host.peek(rig.workload.spaces[0], vpn).where
    page = bytearray(rig.node.pages[dpa])
    page[1234] ^= 1
    rig.node.pages[dpa] = bytes(page)
    read(rig, vpn)
    (found,) = rig.accesses.mismatches
    assert (found.space, found.vpn, found.state, found.found_by) == (0, vpn, "RO", "read")
    assert rig.tally.mismatched == 1


@pytest.mark.parametrize("where", ["dram", "node", "zswap", "swapfile"])
def test_one_wrong_byte_anywhere_is_found_at_the_end(tmp_path: Path, where: str) -> None:
    """The last look reads every place."""
    with rig_of(tmp_path, zswap_bytes=8 * PAGE, node_pages=64) as rig:
        for first in range(0, 256, 16):
            vpns = tuple(range(first, first + 16))
            rig.workload.apply(Store(0, vpns, b"".join(noise(vpn) for vpn in vpns)))
            rig.background()
        host_space = rig.workload.spaces[0]
        places = {vpn: rig.host.peek(host_space, vpn) for vpn in rig.host.mapped(host_space)}
        vpn = next(vpn for vpn, place in places.items() if place.backend.value == where)
        # The truth is changed instead of the bytes: the same difference, in any place.
        rig.truth.remember(0, vpn, 1)
        found = rig.verifier.verify()
        assert found.compared == 256
        assert [(wrong.vpn, wrong.found_by) for wrong in rig.accesses.mismatches] == [(vpn, "verify")]


def test_a_page_that_the_policy_forgot_is_found(rig: Rig) -> None:
    """The truth knows of it; the host says that nothing is there."""
    fill(rig, 8)
    rig.performer.drive(rig.host.free(rig.workload.spaces[0], 3, noticed=True))
    rig.verifier.verify()
    assert [(wrong.vpn, wrong.state) for wrong in rig.accesses.mismatches] == [(3, "NONE")]


def test_forked_spaces_keep_their_own_bytes(rig: Rig) -> None:
    """A child's stores are its own, its parent's too; both read right from DRAM and from the device."""
    fill(rig, 200)
    rig.workload.apply(Fork(0, 1))
    rig.workload.apply(Store(1, (5, 100), noise(5) + noise(100)))
    rig.workload.apply(Store(0, (6, 101), noise(6) + noise(101)))
    rig.background(3)
    for space in (0, 1):
        for first in range(0, 200, 20):
            assert read(rig, *range(first, first + 20), space=space) == []
    # Both mappers of one device page in one batch: the device is asked for it once.
    shared = [vpn for vpn in on_node(rig) if vpn in on_node(rig, 1)][:4]
    assert rig.accesses.load([(space, vpn) for vpn in shared for space in (0, 1)]) == []
    assert rig.tally.mismatched == 0
    rig.workload.apply(Exit(1, noticed=False))
    rig.background(5)
    assert rig.verifier.verify().compared == 200
    assert rig.tally.mismatched == 0


def test_freed_pages_are_zeros_again(rig: Rig) -> None:
    """And their device pages come back by TRIM, once the reaper found the unnoticed ones."""
    fill(rig, 200)
    gone = tuple(on_node(rig)[:40])
    rig.workload.apply(Free(0, gone[:20], noticed=True))
    rig.workload.apply(Free(0, gone[20:], noticed=False))
    rig.background(5)
    assert rig.host.counters.reaped == 20
    assert rig.host.counters.trimmed_pages >= 40
    assert read(rig, *gone[:8]) == []
    assert rig.tally.mismatched == 0


def test_loads_and_promotions_of_a_batch_are_one_read(tmp_path: Path) -> None:
    """Reads and stores drawn together; each byte is compared, poison too costs only whose page it is."""
    free = {"low_watermark_milli": 400, "high_watermark_milli": 500}
    with rig_of(tmp_path, write_share=0.5, settings=free) as rig:
        fill(rig, 200)
        rig.background(5)
        rig.node.reads.clear()
        drawn = rig.workload.draw(20)
        assert rig.tally.reads + rig.tally.writes == drawn + 200
        assert rig.tally.writes > 200
        assert len(rig.node.reads) == 1
        lost = {rig.host.peek(rig.workload.spaces[0], vpn).where for vpn in on_node(rig)[:3]}
        rig.node.poisoned |= lost
        for _ in range(10):
            rig.workload.draw(20)
            rig.background()
        assert rig.host.counters.pages_lost == 3
        while rig.workload.restore():
            pass
        assert rig.tally.restored == 3
        assert rig.verifier.verify().compared == 200
        assert rig.tally.mismatched == 0


def test_a_batch_waits_for_kswapds_write_rather_than_read_in_parts(tmp_path: Path) -> None:
    """Where fewer frames are free than it has stores: then all its promotions are one read."""
    free = {"low_watermark_milli": 400, "high_watermark_milli": 500}
    with rig_of(tmp_path, settings=free) as rig:
        fill(rig, 200)
        rig.background(5)

        def promote(count: int) -> None:
            vpns = on_node(rig)[:count]
            rig.accesses.store(0, vpns, b"".join(prose(vpn) for vpn in vpns))

        def behind(dpas: Sequence[int], data: bytes) -> Behind[NodeWritten]:
            return Behind(SYSTEM_CLOCK, partial(rig.node.write, dpas, data), lambda _: None)

        promote(rig.host.free_frames - 5)
        rig.node.write_behind = behind  # type: ignore[method-assign]
        rig.performer.begin(rig.host.kswapd(100 * NS_PER_S))
        assert rig.host.free_frames == 5
        rig.node.reads.clear()
        promote(20)
        assert rig.node.reads == [20]
        rig.performer.settle()
        assert rig.verifier.verify().compared == 200
        assert rig.tally.mismatched == 0


def test_loads_of_a_space_that_a_store_kills_say_nothing(tmp_path: Path) -> None:
    """They were to be read behind the stores of their batch: by then its pages are nobody's."""
    settings = {"budget_pages": 200, "on_bus_error": OnBusError.KILL}
    with rig_of(tmp_path, write_share=0.5, settings=settings) as rig:
        fill(rig, 200)
        vpns = on_node(rig)
        for first in range(0, len(vpns), 32):
            # Writable already: no promotion takes the loads along before the store is refused.
            some = vpns[first : first + 32]
            rig.accesses.store(0, some, b"".join(prose(vpn) for vpn in some))
        for _ in range(20):
            rig.node.refuse_write = NodeStatus.NO_MORE_WRITES
            rig.workload.draw(60)
            if rig.tally.killed:
                break
        assert rig.tally.killed == 1
        assert rig.tally.mismatched == 0
        assert rig.host.counters.stores_refused == 1


def test_poison_is_a_bus_error_and_the_page_is_stored_anew(rig: Rig) -> None:
    """Counted once as lost, recorded, freed, and brought back from the source."""
    fill(rig, 200)
    vpn = on_node(rig)[0]
    rig.node.poisoned.add(rig.host.peek(rig.workload.spaces[0], vpn).where)
    assert rig.workload.draw(200) > 0
    assert rig.host.counters.pages_lost == 1
    assert [(loss.first_vpn, loss.pages, loss.cause) for loss in rig.losses.runs] == [(vpn, 1, "poison")]
    assert rig.workload.restore()
    assert not rig.workload.restore()
    assert rig.tally.restored == 1
    assert read(rig, vpn) == []
    assert rig.tally.mismatched == 0


def test_a_lost_session_loses_device_pages_only(rig: Rig) -> None:
    """Every one of them is recorded and restored; what was in DRAM or in swap is right."""
    fill(rig, 200)
    lost = on_node(rig)
    rig.host.node_lost()
    assert rig.workload.tell_losses() == len(lost)
    assert sum(loss.pages for loss in rig.losses.runs) == len(lost)
    found = rig.verifier.verify()
    assert (found.compared, found.lost) == (200 - len(lost), len(lost))
    for first in range(0, 200, 50):
        for space, vpn in read(rig, *range(first, first + 50)):
            rig.workload._lose(space, vpn)
    while rig.workload.restore():
        pass
    assert rig.tally.restored == len(lost)
    assert rig.verifier.verify().compared == 200
    assert rig.tally.mismatched == 0
    assert sum(loss.pages for loss in rig.losses.runs) == len(lost)


def test_a_child_inherits_lost_pages_and_loses_none_of_its_own(rig: Rig) -> None:
    """They were lost once, before it was born; it is given them back as its parent is."""
    fill(rig, 200)
    count = len(on_node(rig))
    rig.host.node_lost()
    rig.workload.apply(Fork(0, 1))
    rig.source.now.update({(1, vpn): prose(vpn) for vpn in range(200)})
    for _ in range(4):
        rig.workload.draw(256)
    while rig.workload.restore():
        pass
    assert rig.host.counters.pages_lost == sum(loss.pages for loss in rig.losses.runs) == count
    assert rig.tally.restored == 2 * count
    assert rig.verifier.verify().compared == 400
    assert rig.tally.mismatched == 0


def test_a_page_that_the_source_no_longer_has_stays_lost(rig: Rig) -> None:
    """Counted, and not asked for again."""
    fill(rig, 200)
    vpn = on_node(rig)[0]
    del rig.source.now[0, vpn]
    rig.node.poisoned.add(rig.host.peek(rig.workload.spaces[0], vpn).where)
    rig.workload.draw(200)
    assert rig.workload.restore()
    assert rig.tally.unrestored == 1
    assert rig.host.state(rig.workload.spaces[0], vpn) is State.NONE


def writable(rig: Rig) -> int:
    """A page that is mapped writable on the device; its vpn."""
    vpn = on_node(rig)[0]
    rig.workload.apply(Store(0, (vpn,), noise(1)))
    assert rig.host.state(rig.workload.spaces[0], vpn) is State.RW
    return vpn


def test_a_refused_store_kills_the_space(tmp_path: Path) -> None:
    """`kill`: its pages are gone, the source begins anew, no byte is called wrong."""
    with rig_of(tmp_path, settings={"budget_pages": 8}) as rig:
        fill(rig, 200)
        vpn = writable(rig)
        rig.node.answers = [NodeStatus.NO_MORE_WRITES]
        rig.workload.apply(Store(0, (vpn,), noise(2)))
        assert rig.source.killed_spaces == [0]
        assert rig.workload.begin_anew
        assert rig.host.counters.bus_error_kills == 1
        assert list(rig.host.mapped(rig.workload.spaces[0])) == []
        fill(rig, 200)
        assert rig.verifier.verify().compared == 200
        assert rig.tally.mismatched == 0


def test_a_refused_store_is_rescued(tmp_path: Path) -> None:
    """`rescue`: the store is applied in DRAM."""
    with rig_of(tmp_path, settings={"budget_pages": 8, "on_bus_error": OnBusError.RESCUE}) as rig:
        fill(rig, 200)
        vpn = writable(rig)
        rig.node.answers = [NodeStatus.NO_MORE_WRITES]
        rig.workload.apply(Store(0, (vpn,), noise(2)))
        assert rig.host.state(rig.workload.spaces[0], vpn) is State.DRAM
        assert read(rig, vpn) == []
        assert rig.host.counters.bus_error_rescues == 1
        assert rig.tally.mismatched == 0


@pytest.mark.parametrize("happened", [True, False])
def test_an_unanswered_store_is_repeated(tmp_path: Path, happened: bool) -> None:
    """Whether it happened or not: old and new are both right until it is repeated, then only new."""
    with rig_of(tmp_path, settings={"budget_pages": 8}) as rig:
        fill(rig, 200)
        vpn = writable(rig)
        if happened:
            rig.node.pages[rig.host.peek(rig.workload.spaces[0], vpn).where] = noise(2)
        rig.node.answers = [NodeStatus.UNAVAILABLE]
        rig.source.now[0, vpn] = noise(2)
        rig.workload.apply(Store(0, (vpn,), noise(2)))
        rig.host.node_reachable()
        assert rig.tally.deferred == 1
        assert rig.verifier.verify().compared == 200
        assert not rig.workload.restore([0])
        assert rig.workload.restore()
        assert not rig.truth.matches(0, vpn, noise(1))
        assert rig.verifier.verify().compared == 200
        assert rig.tally.mismatched == 0


def test_a_deferred_store_of_a_page_that_went_away(tmp_path: Path) -> None:
    """Its program unmapped it meanwhile: no `Free` will ever tell, so it is freed now."""
    with rig_of(tmp_path, settings={"budget_pages": 8}) as rig:
        fill(rig, 200)
        vpn = writable(rig)
        rig.node.answers = [NodeStatus.UNAVAILABLE]
        rig.workload.apply(Store(0, (vpn,), noise(2)))
        rig.host.node_reachable()
        del rig.source.now[0, vpn]
        assert rig.workload.restore()
        assert not rig.workload.restore()
        assert rig.host.state(rig.workload.spaces[0], vpn) is State.NONE
        assert not rig.truth.has(0, vpn)
        assert rig.verifier.verify().compared == 199
        assert rig.tally.mismatched == 0


def test_a_newer_store_takes_the_place_of_a_deferred_one(tmp_path: Path) -> None:
    """What was deferred is not stored over it."""
    with rig_of(tmp_path, settings={"budget_pages": 8}) as rig:
        fill(rig, 200)
        vpn = writable(rig)
        rig.node.answers = [NodeStatus.UNAVAILABLE]
        rig.workload.apply(Store(0, (vpn,), noise(2)))
        rig.host.node_reachable()
        rig.workload.apply(Store(0, (vpn,), noise(3)))
        stores = rig.tally.writes
        assert not rig.workload.restore()
        assert rig.tally.writes == stores
        assert not rig.truth.matches(0, vpn, noise(2))
        assert rig.verifier.verify().compared == 200
        assert rig.tally.mismatched == 0


@pytest.mark.parametrize("happened", [True, False])
def test_a_read_settles_an_unanswered_store(tmp_path: Path, happened: bool) -> None:
    """Seen new it stays new, seen old it stays old: bytes that go to and fro are wrong."""
    with rig_of(tmp_path, settings={"budget_pages": 8}) as rig:
        fill(rig, 200)
        vpn = writable(rig)
        dpa = rig.host.peek(rig.workload.spaces[0], vpn).where
        rig.node.answers = [NodeStatus.UNAVAILABLE]
        rig.workload.apply(Store(0, (vpn,), noise(2)))
        rig.host.node_reachable()
        for number in (2, 1) if happened else (1, 2):
            assert rig.tally.mismatched == 0
            rig.node.pages[dpa] = noise(number)
            read(rig, vpn)
        assert rig.tally.mismatched == 1


def test_a_store_that_found_no_memory_was_never_sent(tmp_path: Path) -> None:
    """Nothing is in doubt: only the old bytes are right until it is repeated."""
    wanted = {"budget_pages": 8, "on_bus_error": OnBusError.RESCUE}
    with rig_of(tmp_path, settings=wanted, zswap_bytes=PAGE, swap_bytes=PAGE) as rig:
        fill(rig, 200)
        vpn = writable(rig)
        rig.node.answers = [NodeStatus.NO_MORE_WRITES]
        frames = rig.host._mm.frames
        while (frame := frames.take()) is not None:
            frames.place(Folio(Backend.DRAM, frame, PageKind.KERNEL), frame)
        for folio in frames.table:
            assert folio is not None
            folio.in_flight = True
        failed, later = rig.accesses.store(0, [vpn], noise(2))
        assert (failed, later) == ([], [vpn])
        assert rig.truth.matches(0, vpn, noise(1))
        assert not rig.truth.matches(0, vpn, noise(2))
        for frame, folio in enumerate(frames.table):
            assert folio is not None
            folio.in_flight = False
            if not folio.mappers:
                frames.release(frame)


def test_nowhere_left_to_go_is_out_of_memory(tmp_path: Path) -> None:
    """DRAM, node, zswap and swap file full: one line, and what is there is still right."""
    with rig_of(tmp_path, node_pages=16, zswap_bytes=PAGE, swap_bytes=16 * PAGE) as rig:
        everything = Store(0, tuple(range(200)), b"".join(noise(vpn) for vpn in range(200)))
        with pytest.raises(OutOfMemory, match="raise --dram"):
            rig.workload.apply(everything)
        assert rig.verifier.verify().compared >= 16 + 16
        assert rig.tally.mismatched == 0


def test_while_the_device_is_silent_dram_and_swap_go_on(rig: Rig) -> None:
    """Device pages stall and are left alone; new pages go to the tiers; later all are right."""
    fill(rig, 120)
    rig.host.node_unreachable()
    fill_more = tuple(range(120, 184))
    rig.workload.apply(Store(0, fill_more, b"".join(prose(vpn) for vpn in fill_more)))
    stalled = on_node(rig)[0]
    assert read(rig, stalled) == []
    assert rig.host.counters.stalls >= 1
    assert read(rig, *fill_more) == []
    rig.host.node_reachable()
    assert rig.verifier.verify().compared == 184
    assert rig.tally.mismatched == 0


def test_pages_that_nobody_can_read_now_are_told_apart(rig: Rig) -> None:
    """At the end a silent device's pages are neither right nor wrong nor lost."""
    fill(rig, 200)
    count = len(on_node(rig))
    rig.node.answers = [NodeStatus.UNAVAILABLE]
    found = rig.verifier.verify()
    assert (found.compared, found.lost, found.unread) == (200 - count, 0, count)


def test_a_session_that_ends_under_the_last_look_is_a_loss(rig: Rig) -> None:
    """Not a mismatch."""
    fill(rig, 200)
    count = len(on_node(rig))
    rig.node.answers = [NodeStatus.GONE]
    found = rig.verifier.verify()
    assert (found.compared, found.lost, found.unread) == (200 - count, count, 0)
    assert rig.host.counters.pages_lost == count
