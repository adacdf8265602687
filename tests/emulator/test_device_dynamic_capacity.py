"""Regions that grow, shrink and change their share while hosts use them; what is taken by force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxldev.config import PAGE_BYTES, StagingConfig
from cxldev.errors import (
    GuaranteeCapacity,
    InvalidField,
    LogicalCapacity,
    NoMoreWrites,
    NotAligned,
    OutOfRange,
    RegionInUse,
    RegionLimit,
    UnknownHost,
)
from cxldev.events import (
    AddCapacity,
    ForcedCapacityRelease,
    RegionResized,
    RegionShareChanged,
    ReleaseCapacity,
)
from emulator_helpers import MIB, Bench, at, random_page, random_pages, small_config, snapshot

if TYPE_CHECKING:
    from cxldev.outcomes import SessionRef


def room_of(bench: Bench, host: str) -> int:
    """What the device says that new pages of a host may take."""
    regions = bench.device.status(bench.now_ns).regions
    (room,) = [one.telemetry.room_bytes for one in regions if one.telemetry.host == host]
    return room


def fill(bench: Bench, ref: SessionRef) -> NoMoreWrites:
    """Incompressible pages until the device takes no more; what it says then."""
    for page in range(512):
        try:
            bench.write(ref, page, random_page(page))
        except NoMoreWrites as refused:
            return refused
    raise AssertionError("the device never refused")


def test_a_region_grows_while_it_is_used() -> None:
    """What it holds stays, the new pages are empty, and its host is told where they are."""
    bench = Bench()
    ref = bench.attach(pages=2)
    bench.write(ref, 0, random_pages(2))
    told = bench.device.capacity.add("alpha", 3 * PAGE_BYTES, bench.now_ns).region
    assert told is not None
    assert told.logical_bytes == 5 * PAGE_BYTES
    assert bench.read(ref, 0, 5) == random_pages(2) + bytes(3 * PAGE_BYTES)
    assert bench.event_kinds()[-1] == AddCapacity("alpha", 2 * PAGE_BYTES, 3 * PAGE_BYTES)
    assert bench.device.counters.capacity_added_bytes == 3 * PAGE_BYTES


def test_a_host_gives_back_what_it_is_asked_for() -> None:
    """The device asks, the host trims and resizes; nothing is taken, however long that takes."""
    bench = Bench()
    ref = bench.attach(pages=8)
    bench.write(ref, 0, random_pages(8))
    bench.device.capacity.release("alpha", 3 * PAGE_BYTES, bench.now_ns)
    assert bench.event_kinds()[-1] == ReleaseCapacity("alpha", 5 * PAGE_BYTES, 3 * PAGE_BYTES, None)
    bench.now_ns += 1_000_000_000
    asked = bench.device.telemetry(ref, bench.now_ns).region
    assert asked is not None
    assert (asked.logical_bytes, asked.asked_back_to_bytes, asked.forced_in_ns) == (
        8 * PAGE_BYTES,
        5 * PAGE_BYTES,
        None,
    )
    with pytest.raises(RegionInUse):
        bench.device.resize(ref, 5 * PAGE_BYTES, bench.now_ns)
    bench.trim(ref, 5, 3)
    given = bench.device.resize(ref, 5 * PAGE_BYTES, bench.now_ns).region
    assert given is not None
    assert given.asked_back_to_bytes is None
    assert bench.event_kinds()[-1] == RegionResized("alpha", 5 * PAGE_BYTES)
    assert bench.read(ref, 0, 5) == random_pages(8)[: 5 * PAGE_BYTES]
    assert bench.device.counters.capacity_released_bytes == 3 * PAGE_BYTES


def test_a_release_that_is_not_answered_is_taken_by_force() -> None:
    """At its time, not before: pages there are lost, their media is free, all else stays as it was."""
    bench = Bench()
    ref = bench.attach(pages=8)
    bench.write(ref, 0, random_pages(5))
    kept = bench.used()
    bench.write(ref, 5, random_pages(3, seed=1))
    bench.device.capacity.release("alpha", 4 * PAGE_BYTES, bench.now_ns, force_after_ns=500)
    assert bench.device.advance(bench.now_ns) == bench.now_ns + 500
    bench.now_ns += 499
    assert bench.read(ref, 4, 4) == random_pages(5)[4 * PAGE_BYTES :] + random_pages(3, seed=1)
    bench.now_ns += 1
    with pytest.raises(OutOfRange):
        bench.read(ref, 4)
    assert bench.read(ref, 0, 4) == random_pages(5)[: 4 * PAGE_BYTES]
    assert bench.event_kinds()[-1] == ForcedCapacityRelease("alpha", 4 * PAGE_BYTES, 4 * PAGE_BYTES, 4)
    assert bench.used() < kept
    assert bench.device.generation == "g1"
    bench.device.audit()


def test_force_comes_at_once_if_no_time_is_given() -> None:
    """And empty pages are not counted as lost."""
    bench = Bench()
    ref = bench.attach(pages=8)
    bench.write(ref, 6, random_page(1))
    bench.device.capacity.release("alpha", 4 * PAGE_BYTES, bench.now_ns, force_after_ns=0)
    assert bench.event_kinds()[-2:] == [
        ReleaseCapacity("alpha", 4 * PAGE_BYTES, 4 * PAGE_BYTES, 0),
        ForcedCapacityRelease("alpha", 4 * PAGE_BYTES, 4 * PAGE_BYTES, 1),
    ]
    assert bench.device.counters.capacity_lost_pages == 1
    assert bench.used() == 0


def test_a_write_under_way_meets_the_cut() -> None:
    """Nothing of it is stored, before the cut or behind it."""
    bench = Bench()
    ref = bench.attach(pages=8)
    data = random_pages(2)
    ticket = bench.device.begin_write(ref, at(0, 7), len(data), bench.now_ns)
    bench.device.capacity.release("alpha", PAGE_BYTES, bench.now_ns, force_after_ns=0)
    with pytest.raises(OutOfRange):
        bench.device.commit_write(ticket, bench.codec.compress(data), bench.now_ns)
    assert bench.used() == 0


def test_staged_and_poisoned_pages_are_cut_as_well() -> None:
    """The books agree afterwards, and the drain finds nothing."""
    bench = Bench(small_config(staging=StagingConfig(8 * PAGE_BYTES, 1_000)))
    ref = bench.attach(pages=8)
    bench.write(ref, 4, random_pages(4))
    bench.device.capacity.release("alpha", 6 * PAGE_BYTES, bench.now_ns, force_after_ns=10)
    bench.now_ns += 20
    bench.device.advance(bench.now_ns)
    bench.device.audit()
    bench.now_ns += 10_000
    bench.device.advance(bench.now_ns)
    bench.device.audit()
    assert (bench.used(), bench.device.counters.drained_pages) == (0, 0)
    assert bench.device.counters.capacity_lost_pages == 4


def test_the_latest_request_wins() -> None:
    """Another release replaces the first, deadline and all; what is added withdraws it."""
    bench = Bench()
    ref = bench.attach(pages=8)
    control = bench.device.capacity
    control.release("alpha", 4 * PAGE_BYTES, bench.now_ns, force_after_ns=10)
    again = control.release("alpha", 2 * PAGE_BYTES, bench.now_ns).region
    assert again is not None
    assert (again.asked_back_to_bytes, again.forced_in_ns) == (6 * PAGE_BYTES, None)
    with pytest.raises(LogicalCapacity, match="asks for all behind"):
        bench.device.resize(ref, 9 * PAGE_BYTES, bench.now_ns)
    control.add("alpha", PAGE_BYTES, bench.now_ns)
    bench.now_ns += 1_000
    after = bench.device.telemetry(ref, bench.now_ns).region
    assert after is not None
    assert (after.logical_bytes, after.asked_back_to_bytes) == (9 * PAGE_BYTES, None)


@pytest.mark.parametrize(
    ("length", "error"),
    [(0, InvalidField), (-PAGE_BYTES, InvalidField), (100, NotAligned), (8 * PAGE_BYTES, InvalidField)],
)
def test_wrong_lengths_change_nothing(length: int, error: type[Exception]) -> None:
    """Nor does an unknown host, or more than the logical capacity."""
    bench = Bench()
    bench.attach(pages=8)
    before = snapshot(bench.device, bench.now_ns)
    with pytest.raises(error):
        bench.device.capacity.release("alpha", length, bench.now_ns)
    with pytest.raises(UnknownHost):
        bench.device.capacity.add("nobody", PAGE_BYTES, bench.now_ns)
    with pytest.raises(LogicalCapacity):
        bench.device.capacity.add("alpha", 3 * MIB, bench.now_ns)
    assert snapshot(bench.device, bench.now_ns) == before


# -- shares -----------------------------------------------------------------------------------------


def test_an_attach_that_breaks_the_sum_is_told_the_numbers() -> None:
    """What it asked for, what is guaranteed, what there is, and what it may ask for."""
    bench = Bench()
    bench.attach("alpha", guarantee=MIB * 3 // 4)
    with pytest.raises(GuaranteeCapacity) as refused:
        bench.attach("beta", guarantee=MIB // 2)
    for number in (MIB // 2, MIB * 3 // 4, MIB, MIB // 4):
        assert str(number) in str(refused.value)
    bench.attach("beta", guarantee=MIB // 4)


def test_a_guarantee_is_kept_against_a_neighbour_that_takes_all_it_can() -> None:
    """The bear is refused while media is free, and is told that none of it is its own."""
    bench = Bench()
    quiet = bench.attach("quiet", pages=128, guarantee=MIB // 2)
    bear = bench.attach("bear", pages=512)
    assert "guaranteed to other regions" in str(fill(bench, bear))
    assert bench.free() >= MIB // 2
    assert room_of(bench, "bear") < PAGE_BYTES
    assert not bench.device.telemetry(bear, bench.now_ns).no_more_writes
    written = (MIB // 2) // (PAGE_BYTES + 16)
    bench.write(quiet, 0, random_pages(written))
    bench.device.audit()


def test_a_limit_that_falls_takes_nothing_away() -> None:
    """But nothing grows until the region is under it."""
    bench = Bench()
    ref = bench.attach(pages=16)
    bench.write(ref, 0, b"".join(random_page(one) for one in range(4)))
    bench.device.capacity.share("alpha", bench.now_ns, limit_media_bytes=2 * PAGE_BYTES)
    assert bench.event_kinds()[-1] == RegionShareChanged("alpha", 0, 2 * PAGE_BYTES)
    assert room_of(bench, "alpha") == 0
    bench.device.audit()
    with pytest.raises(RegionLimit):
        bench.write(ref, 8, random_page(9))
    assert bench.read(ref, 0) == random_page(0)
    bench.trim(ref, 0, 4)
    bench.write(ref, 8, random_page(9))


def test_a_guarantee_that_comes_late_is_met_as_media_comes_back() -> None:
    """That the media is taken now is no refusal: whoever has it may not grow before."""
    bench = Bench()
    bear, late = bench.attach("bear", pages=512), bench.attach("late", pages=64)
    fill(bench, bear)
    bench.device.capacity.share("late", bench.now_ns, guaranteed_media_bytes=MIB // 4)
    with pytest.raises(NoMoreWrites):
        bench.write(late, 0, random_page(1))
    bench.trim(bear, 0, 16)
    with pytest.raises(NoMoreWrites, match="guaranteed to other regions"):
        bench.write(bear, 0, random_page(2))
    bench.write(late, 0, random_page(1))


def test_shares_that_cannot_be_change_nothing() -> None:
    """A guarantee above the limit, a limit above the media, guarantees above the media together."""
    bench = Bench()
    bench.attach("alpha", guarantee=MIB // 2)
    bench.attach("beta")
    before = snapshot(bench.device, bench.now_ns)
    share = bench.device.capacity.share
    with pytest.raises(InvalidField):
        share("alpha", bench.now_ns, limit_media_bytes=MIB // 4)
    with pytest.raises(InvalidField):
        share("beta", bench.now_ns, limit_media_bytes=2 * MIB)
    with pytest.raises(GuaranteeCapacity, match=f"{MIB // 2} can be guaranteed to beta"):
        share("beta", bench.now_ns, guaranteed_media_bytes=MIB * 3 // 4)
    assert snapshot(bench.device, bench.now_ns) == before
