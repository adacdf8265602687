"""Attach, lease, take-over, resize, detach: who holds a region, and how it ends."""

from __future__ import annotations

import pytest

from cxldev.config import PAGE_BYTES
from cxldev.device import Device, SessionRef
from cxldev.errors import (
    AlreadyAttached,
    GuaranteeCapacity,
    LeaseExpired,
    LogicalCapacity,
    RegionInUse,
    SessionEnded,
    StaleGeneration,
    UnknownSession,
)
from cxldev.events import DetachCause, RegionAttached, RegionDetached, RegionResized
from cxldev.faults import ResetFault
from emulator_helpers import MIB, Bench, random_pages, small_config


def test_attach_tells_what_was_given() -> None:
    """Session, generation, lease and the region."""
    bench = Bench()
    attachment = bench.device.attach(
        session="s", host="h", logical_bytes=8192, guaranteed_media_bytes=10, now_ns=0
    )
    region = attachment.telemetry.region
    assert region is not None
    assert (attachment.session, attachment.generation) == ("s", "g1")
    assert attachment.lease_ns == bench.device.config.default_lease_ns
    assert (region.host, region.logical_bytes, region.guaranteed_media_bytes) == ("h", 8192, 10)
    assert region.limit_media_bytes == MIB
    assert bench.event_kinds() == [RegionAttached("h")]


def test_a_region_begins_as_zeros() -> None:
    """Also where another host's bytes were before."""
    bench = Bench()
    first = bench.attach("first", 8)
    bench.write(first, 0, random_pages(8))
    bench.device.detach(first, bench.now_ns)
    assert bench.read(bench.attach("second", 8), 0, 8) == bytes(8 * PAGE_BYTES)


def test_a_host_has_one_region() -> None:
    """Unless it takes over: then the old session ends and its bytes are gone."""
    bench = Bench()
    old = bench.attach()
    bench.write(old, 0, random_pages(4))
    with pytest.raises(AlreadyAttached):
        bench.attach()
    new = bench.attach(take_over=True)
    assert bench.used() == 0
    assert bench.read(new, 0, 4) == bytes(4 * PAGE_BYTES)
    with pytest.raises(SessionEnded, match="taken over"):
        bench.read(old, 0)
    assert RegionDetached("alpha", DetachCause.TAKEN_OVER) in bench.event_kinds()


def test_take_over_that_is_refused_takes_nothing() -> None:
    """The old session goes on, bytes and all."""
    bench = Bench()
    old = bench.attach()
    data = random_pages(4)
    bench.write(old, 0, data)
    with pytest.raises(LogicalCapacity):
        bench.attach(pages=10_000, take_over=True)
    assert bench.read(old, 0, 4) == data


def test_take_over_counts_without_the_old_region() -> None:
    """A host may take over a region that fills the device."""
    bench = Bench(small_config(max_regions=1))
    bench.attach(pages=768, guarantee=MIB)
    bench.attach(pages=768, guarantee=MIB, take_over=True)


def test_detach_releases_at_once_whatever_is_queued() -> None:
    """The answer says how much came back."""
    bench = Bench(small_config(trim_delay_ns=1_000_000))
    ref = bench.attach()
    bench.write(ref, 0, random_pages(8))
    bench.trim(ref, 0, 4)
    used = bench.used()
    assert used > 0
    assert bench.device.detach(ref, bench.now_ns) == used
    assert bench.used() == 0
    with pytest.raises(SessionEnded, match="detached"):
        bench.device.detach(ref, bench.now_ns)


def test_a_lease_that_runs_out_trims_the_region() -> None:
    """At the very ns, and whichever call comes first finds out; the others never notice."""
    bench = Bench()
    gone, other = bench.attach("gone", lease_ns=1_000_000), bench.attach("other")
    data = random_pages(4)
    bench.write(gone, 0, data)
    bench.write(other, 0, data)
    bench.now_ns += 999_999
    assert bench.read(gone, 0, 4) == data
    bench.now_ns += 1
    assert bench.read(other, 0, 4) == data
    with pytest.raises(LeaseExpired):
        bench.read(gone, 0)
    assert bench.device.counters.leases_expired == 1
    assert RegionDetached("gone", DetachCause.LEASE_EXPIRED) in bench.event_kinds()


def test_only_renew_renews() -> None:
    """Data calls do not."""
    bench = Bench()
    ref = bench.attach(lease_ns=1_000_000)
    bench.now_ns += 600_000
    bench.read(ref, 0)
    assert bench.device.renew(ref, bench.now_ns).lease_ns == 1_000_000
    bench.now_ns += 999_999
    bench.read(ref, 0)
    bench.now_ns += 1
    with pytest.raises(LeaseExpired):
        bench.device.renew(ref, bench.now_ns)


def test_advance_says_when_to_come_again() -> None:
    """The next lease to end or TRIM to be released; None where there is neither."""
    bench = Bench(small_config(trim_delay_ns=500))
    assert bench.device.advance(0) is None
    ref = bench.attach(lease_ns=1_000_000)
    assert bench.device.advance(bench.now_ns) == 1_001_000
    bench.write(ref, 0, random_pages(1))
    bench.trim(ref, 0)
    assert bench.device.advance(bench.now_ns) == 1_500
    assert bench.device.advance(1_500) == 1_001_000
    assert bench.device.advance(1_001_000) is None


def test_time_never_goes_backwards() -> None:
    """A caller that read its clock before another got the lock does no harm."""
    bench = Bench()
    ref = bench.attach(lease_ns=1_000_000)
    bench.device.advance(bench.now_ns + 999_000)
    assert bench.device.renew(ref, bench.now_ns).telemetry.region is not None
    assert bench.device.advance(0) == bench.now_ns + 999_000 + 1_000_000


def test_resize_keeps_the_pages() -> None:
    """Growing adds zeros; what still holds data is not cut off."""
    bench = Bench()
    ref = bench.attach(pages=8)
    data = random_pages(8)
    bench.write(ref, 0, data)
    bench.device.resize(ref, 300 * PAGE_BYTES, bench.now_ns)
    assert bench.read(ref, 0, 10) == data + bytes(2 * PAGE_BYTES)
    with pytest.raises(RegionInUse):
        bench.device.resize(ref, 7 * PAGE_BYTES, bench.now_ns)
    bench.trim(ref, 7)
    telemetry = bench.device.resize(ref, 7 * PAGE_BYTES, bench.now_ns)
    assert telemetry.region is not None
    assert telemetry.region.logical_bytes == 7 * PAGE_BYTES
    assert bench.read(ref, 0, 7) == data[: 7 * PAGE_BYTES]
    bench.device.audit()


def test_resizing_a_large_region_copies_only_what_is_there() -> None:
    """Pages at both ends of a region of many table chunks survive."""
    bench = Bench(small_config(physical_capacity_bytes=1 << 30))
    ref = bench.attach(pages=200_000)
    data = random_pages(2)
    bench.write(ref, 0, data)
    bench.write(ref, 199_998, data)
    bench.device.resize(ref, 500_000 * PAGE_BYTES, bench.now_ns)
    assert bench.read(ref, 0, 2) + bench.read(ref, 199_998, 2) == data * 2
    bench.device.audit()


def test_a_resize_to_the_same_size_is_no_event() -> None:
    """Nothing happened."""
    bench = Bench()
    ref = bench.attach(pages=8)
    bench.device.resize(ref, 8 * PAGE_BYTES, bench.now_ns)
    bench.device.resize(ref, 9 * PAGE_BYTES, bench.now_ns)
    assert bench.event_kinds() == [RegionAttached("alpha"), RegionResized("alpha", 9 * PAGE_BYTES)]


def test_capacities_of_all_regions_together() -> None:
    """Logical bytes, number of regions, guarantees."""
    bench = Bench(small_config(max_regions=2))
    bench.attach("one", 700, guarantee=MIB // 2)
    with pytest.raises(LogicalCapacity):
        bench.attach("two", 69)
    with pytest.raises(GuaranteeCapacity):
        bench.attach("two", 68, guarantee=MIB // 2 + 1)
    ref = bench.attach("two", 68, guarantee=MIB // 2)
    with pytest.raises(LogicalCapacity, match="2 regions"):
        bench.attach("three", 1)
    with pytest.raises(LogicalCapacity):
        bench.device.resize(ref, 69 * PAGE_BYTES, bench.now_ns)


def test_sessions_of_another_generation_are_stale() -> None:
    """Whether or not the session is known."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(ResetFault())
    with pytest.raises(StaleGeneration):
        bench.read(ref, 0)
    with pytest.raises(UnknownSession):
        bench.read(SessionRef(ref.session, bench.device.generation), 0)


def test_a_churn_of_sessions_leaves_little_behind() -> None:
    """Tombstones are bounded: the oldest sessions become unknown ones."""
    device = Device(small_config(), generation="g", now_ns=0)
    for number in range(5_000):
        device.attach(session=f"s{number}", host="h", logical_bytes=4096, take_over=True, now_ns=0)
    with pytest.raises(UnknownSession):
        device.renew(SessionRef("s0", "g"), 0)
    with pytest.raises(SessionEnded):
        device.renew(SessionRef("s4998", "g"), 0)
    assert device.renew(SessionRef("s4999", "g"), 0).session == "s4999"
