"""Writeback: coldest first, when pressure closes the node; through bounce frames, needing no memory."""

from __future__ import annotations

from cramagent.policy.effects import NodeLoad, NodeTrim
from cramagent.policy.host import Backend
from cramagent.policy.states import State
from policy_helpers import CRITICAL, HIGH, NODE_PAGES, NodeStatus, Rig


def where(rig: Rig, pages: list[tuple[int, int]]) -> list[Backend]:
    """Where each page is."""
    return [rig.host.peek(*page).backend for page in pages]


def test_an_open_node_is_left_alone() -> None:
    """Writeback is for a node that pressure has closed."""
    rig = Rig()
    pages = rig.fill(4)
    rig.drive(rig.host.writeback(rig.now))
    assert where(rig, pages) == [Backend.NODE] * 4


def test_a_closed_node_is_written_back_until_it_opens() -> None:
    """A batch per reading; when the device has recovered it stops, and nothing is lost."""
    rig = Rig(dram_pages=64, writeback_batch_pages=3)
    pages = rig.fill(10)
    for _ in range(2):
        rig.read_telemetry(CRITICAL)
        rig.turn()
    rig.read_telemetry(HIGH)
    rig.turn()
    assert where(rig, pages).count(Backend.ZSWAP) == rig.counters.writebacks == 6
    assert [rig.get(*page) for page in pages] == [100 + vpn for _, vpn in pages]


def test_without_a_new_reading_it_pauses() -> None:
    """Media comes back by TRIM and shows in a reading: wait for one, or for `writeback_pause_ns`."""
    rig = Rig(dram_pages=64, writeback_batch_pages=2)
    rig.fill(10)
    rig.read_telemetry(CRITICAL)
    rig.turn()
    rig.turn(ms=1)
    assert rig.counters.writebacks == 2
    rig.turn(ms=50)
    assert rig.counters.writebacks == 4


def test_freed_media_is_trimmed_at_once() -> None:
    """The device is out of room: no waiting for the TRIM interval."""
    rig = Rig(dram_pages=64, writeback_batch_pages=4)
    rig.fill(8)
    rig.read_telemetry(CRITICAL)
    rig.turn()
    assert len(rig.performer.of_kind(NodeTrim)) == 1
    assert len(rig.performer.device) == 4


def test_the_coldest_go_first() -> None:
    """Pages read since the last look get a second chance."""
    rig = Rig(dram_pages=64, writeback_batch_pages=2)
    pages = rig.fill(4)
    rig.get(*pages[0])
    rig.get(*pages[2])
    rig.read_telemetry(CRITICAL)
    rig.turn()
    assert where(rig, pages) == [Backend.NODE, Backend.ZSWAP, Backend.NODE, Backend.ZSWAP]


def test_pages_in_use_go_too_if_there_are_no_others() -> None:
    """The device is out of room: a second chance for everyone would help no one."""
    rig = Rig(dram_pages=64, writeback_batch_pages=2)
    pages = rig.fill(4)
    for page in pages:
        rig.get(*page)
    rig.read_telemetry(CRITICAL)
    rig.turn()
    assert rig.counters.writebacks == 2


def test_it_needs_no_free_frame() -> None:
    """DRAM is full to the last frame; the bounce frames are apart."""
    rig = Rig(dram_pages=32, zswap_pages=6, swapfile_pages=0)
    pages = rig.fill(6)
    for vpn in range(100, 100 + rig.host.snapshot().dram_frames):
        rig.put(rig.a, vpn, vpn)
    rig.drive(rig.host.writeback_all(rig.now))
    assert where(rig, pages) == [Backend.ZSWAP] * 6
    frames = {frame for effect in rig.performer.of_kind(NodeLoad) for frame in effect.frames}
    assert min(frames) >= rig.host.snapshot().dram_frames


def test_what_no_tier_has_room_for_stays() -> None:
    """On the device, counted, readable."""
    rig = Rig(dram_pages=64, zswap_pages=1, swapfile_pages=2)
    pages = rig.fill(5)
    rig.drive(rig.host.writeback_all(rig.now))
    assert sorted(place.value for place in where(rig, pages)) == [
        "node",
        "node",
        "swapfile",
        "swapfile",
        "zswap",
    ]
    assert rig.counters.writeback_no_room > 0
    assert [rig.get(*page) for page in pages] == [100, 101, 102, 103, 104]


def test_writable_pages_are_protected_first() -> None:
    """The ager makes them R/O under pressure, so that writeback finds an entry."""
    rig = Rig(dram_pages=64, budget_pages=2)
    pages = rig.fill(2)
    for page in pages:
        rig.put(*page, 7)
    rig.drive(rig.host.writeback(rig.now))
    rig.read_telemetry(CRITICAL)
    rig.turn()
    rig.turn(ms=50)
    assert [rig.state(*page) for page in pages] == [State.SWAPPED] * 2
    assert [rig.get(*page) for page in pages] == [7, 7]


def test_zombies_are_reaped_not_written_back() -> None:
    """Their bytes are missed by no one."""
    rig = Rig(dram_pages=64)
    rig.fill(4)
    rig.drive(rig.host.exit_space(rig.a, noticed=False))
    rig.drive(rig.host.writeback_all(rig.now))
    assert rig.counters.writebacks == 0
    assert rig.counters.reaped == 4
    assert rig.host.snapshot().node_free == NODE_PAGES
    assert not rig.performer.of_kind(NodeLoad)


def test_poison_met_on_the_way() -> None:
    """Only its owners suffer; the rest of the chunk moves."""
    rig = Rig(dram_pages=64)
    pages = rig.fill(3)
    rig.performer.poisoned.add(rig.host.peek(*pages[1]).where)
    rig.drive(rig.host.writeback_all(rig.now))
    assert where(rig, pages) == [Backend.ZSWAP, Backend.LOST, Backend.ZSWAP]
    assert rig.counters.pages_lost_poison == 1


def test_the_device_does_not_answer() -> None:
    """Nothing moved, nothing lost; it goes on later."""
    rig = Rig(dram_pages=64)
    pages = rig.fill(3)
    rig.performer.answers.append(NodeStatus.UNAVAILABLE)
    rig.drive(rig.host.writeback_all(rig.now))
    assert where(rig, pages) == [Backend.NODE] * 3
    rig.drive(rig.host.writeback_all(rig.now))
    assert where(rig, pages) == [Backend.ZSWAP] * 3


def test_draining_with_a_tiny_trim_buffer() -> None:
    """Pages that find the buffer full wait as zombies; TRIM and reaping go on in turns until all is empty."""
    rig = Rig(dram_pages=64, trim_buffer_pages=1)
    pages = rig.fill(6)
    assert rig.drive(rig.host.writeback_all(rig.now)) == 6
    assert where(rig, pages) == [Backend.ZSWAP] * 6
    assert rig.host.snapshot().node_free == NODE_PAGES
    assert rig.performer.device == {}
