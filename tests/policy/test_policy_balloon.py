"""The balloon: its target, its steps, its hysteresis."""

from __future__ import annotations

import pytest

from cramagent.policy.balloon import target_pages
from cramagent.policy.host import Backend
from policy_helpers import NODE_PAGES, PAGE_BYTES, Rig


def a_rig(**settings: int) -> Rig:
    """Steps of 8 pages; four stored pages are sample enough."""
    return Rig(dram_pages=128, balloon_step_bytes=8 * PAGE_BYTES, balloon_min_pages=4, **settings)


def observe(rig: Rig, ratio: int, *, stored: int = 100) -> None:
    """A reading with this ratio (zratio 3000)."""
    rig.read_telemetry(ratio_milli=ratio, stored_pages=stored)


@pytest.mark.parametrize(
    ("ratio", "target"), [(3000, 0), (4000, 0), (2999, 0), (2250, 16), (1500, 32), (1000, 42), (996, 42)]
)
def test_target(ratio: int, target: int) -> None:
    """Logical * (zratio - ratio) / zratio, of 64 pages at 3:1."""
    assert target_pages(64, ratio, 3000) == target


def test_it_inflates_by_steps_from_free_pages() -> None:
    """Eight pages a turn until the target; nothing is written back while pages are free."""
    rig = a_rig()
    pages = rig.fill(10)
    observe(rig, 2000)
    sizes = []
    for _ in range(4):
        rig.drive(rig.host.balloon(rig.now))
        sizes.append(rig.host.snapshot().balloon_size)
    assert sizes == [8, 16, 21, 21]
    assert rig.host.snapshot().balloon_target == 21
    assert rig.counters.balloon_inflated == 21
    assert all(rig.host.peek(*page).backend is Backend.NODE for page in pages)


def test_then_the_shrinker_writes_back_the_coldest() -> None:
    """A full node: pages are written back, and come into the balloon once they are TRIMmed."""
    rig = a_rig()
    pages = rig.fill(NODE_PAGES)
    observe(rig, 1500)
    for _ in range(12):
        rig.drive(rig.host.balloon(rig.now))
        rig.drive(rig.host.trimmer(rig.now, force=True))
    gauges = rig.host.snapshot()
    assert (gauges.balloon_size, gauges.node_used) == (32, 32)
    assert rig.counters.writebacks == rig.counters.writebacks_balloon == 32
    assert [rig.get(*page) for page in pages] == [100 + vpn for _, vpn in pages]


def test_ballooned_pages_cannot_be_filled() -> None:
    """That is what it is for."""
    rig = a_rig()
    observe(rig, 1500)
    for _ in range(4):
        rig.drive(rig.host.balloon(rig.now))
    pages = rig.fill(NODE_PAGES, evict=False)
    rig.evict(*pages)
    assert len(rig.performer.device) == 32
    assert rig.counters.demote_denied_full == 32


def test_the_latest_target_wins() -> None:
    """A worse ratio raises the target at once, in the middle of converging too."""
    rig = a_rig()
    observe(rig, 2000)
    rig.drive(rig.host.balloon(rig.now))
    observe(rig, 1500)
    assert rig.host.snapshot().balloon_target == 32


def test_it_deflates_with_hysteresis() -> None:
    """A recovery of less than 10 % above the ratio that asked does nothing; then it deflates by steps."""
    rig = a_rig()
    observe(rig, 2000)
    for _ in range(3):
        rig.drive(rig.host.balloon(rig.now))
    observe(rig, 2199)
    assert rig.host.snapshot().balloon_target == 21
    observe(rig, 2200)
    assert rig.host.snapshot().balloon_target == 17
    observe(rig, 3000)
    sizes = []
    for _ in range(4):
        rig.drive(rig.host.balloon(rig.now))
        sizes.append(rig.host.snapshot().balloon_size)
    assert sizes == [13, 5, 0, 0]
    assert rig.counters.balloon_deflated == 21
    assert rig.host.snapshot().node_free == NODE_PAGES


def test_a_small_sample_says_nothing() -> None:
    """Under `balloon_min_pages` the target stays; with nothing stored there is nothing to hold against."""
    rig = a_rig()
    observe(rig, 1000, stored=3)
    assert rig.host.snapshot().balloon_target == 0
    observe(rig, 1500, stored=4)
    observe(rig, 3000, stored=3)
    assert rig.host.snapshot().balloon_target == 32
    observe(rig, 0, stored=0)
    assert rig.host.snapshot().balloon_target == 0


def test_a_new_session_begins_without_a_balloon() -> None:
    """The old region's ratio says nothing of the new one."""
    rig = a_rig()
    observe(rig, 1500)
    rig.drive(rig.host.balloon(rig.now))
    rig.host.node_lost()
    rig.drive(rig.host.balloon(rig.now))
    rig.performer.new_session()
    rig.host.node_attached(NODE_PAGES * PAGE_BYTES)
    rig.drive(rig.host.balloon(rig.now))
    assert rig.host.snapshot().balloon_size == 0
    assert rig.host.snapshot().node_free == NODE_PAGES


def test_it_is_given_back_once_the_ratio_is_what_was_sold() -> None:
    """Whatever the hysteresis: 10 % above a ratio just under the sold one may never come."""
    rig = a_rig()
    observe(rig, 2900)
    assert rig.host.snapshot().balloon_target == 2
    observe(rig, 2999)
    assert rig.host.snapshot().balloon_target == 2
    observe(rig, 3000)
    assert rig.host.snapshot().balloon_target == 0


@pytest.mark.parametrize("stored", [100, 1])
def test_a_region_of_another_size_has_another_target(stored: int) -> None:
    """At once, though the ratio is the same and the sample may be small: it is a share of the region."""
    rig = a_rig()
    observe(rig, 1500)
    size = NODE_PAGES // 2 * PAGE_BYTES
    rig.host.resized(size)
    rig.read_telemetry(ratio_milli=1500, stored_pages=stored, logical_bytes=size)
    assert rig.host.snapshot().balloon_target == 16
