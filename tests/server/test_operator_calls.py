"""FaultService and OracleService: faults armed and cleared live, and what only operators may see."""

from __future__ import annotations

import pytest

from cramwire.v1 import operator_pb2
from server_helpers import MIB, PAGE, SECOND, Bench, Host, noise, prose, refused


def test_exhaustion_takes_and_gives_back(bench: Bench, host: Host) -> None:
    """Held-back media is reserved; clearing it lets writes go on."""
    armed = bench.inject(exhaustion=operator_pb2.ExhaustionFault(share_milli=1000))
    assert armed.fault_id == "exhaustion-1"
    assert armed.telemetry.media_free_bytes == 0
    assert bench.status().media.reserved_bytes == MIB
    assert refused(lambda: host.write(0, noise(1))).reason == "NO_MORE_WRITES"
    cleared = bench.clear(armed.fault_id)
    assert cleared.cleared == 1
    assert cleared.telemetry.media_free_bytes == MIB
    assert host.write(0, noise(1)).accepted_pages == 1


def test_ratio_collapse_makes_pages_large(bench: Bench, host: Host) -> None:
    """Pages written from then on take what the ratio gives."""
    bench.inject(ratio_collapse=operator_pb2.RatioCollapseFault(ratio_milli=1000))
    host.write(0, prose(4))
    assert host.telemetry().region.media_used_bytes == 4 * (PAGE + 16)


def test_latency_is_added_to_device_time(bench: Bench, host: Host) -> None:
    """And counted as fired."""
    before = host.write(0, prose(1)).device_ns
    bench.inject(latency=operator_pb2.LatencyFault(device_ns=5_000))
    assert host.write(0, prose(1)).device_ns == before + 5_000
    (armed,) = bench.faults.ListFaults(operator_pb2.ListFaultsRequest()).faults
    assert armed.fired == 1


def test_poison_by_address_and_by_chance(bench: Bench, host: Host) -> None:
    """Done at once, not held; the answer names the pages; a seed repeats them."""
    host.write(0, prose(64))
    done = bench.inject(poison={"host": "host-a", "dpas": [3 * PAGE]})
    assert (done.fault_id, list(done.dpas)) == ("", [3 * PAGE])
    drawn = bench.inject(poison={"host": "host-a", "random_pages": 5, "seed": 11}).dpas
    assert len(set(drawn)) == 5
    host.write(0, prose(64))
    bench.inject(poison={"host": "host-a", "dpas": [3 * PAGE]})
    assert bench.inject(poison={"host": "host-a", "random_pages": 5, "seed": 11}).dpas == drawn
    assert not bench.faults.ListFaults(operator_pb2.ListFaultsRequest()).faults
    assert bench.status().regions[0].poisoned_pages == 6


def test_poison_is_healed_by_a_write(bench: Bench, host: Host) -> None:
    """New bytes are good bytes; a TRIM heals as well."""
    host.write(0, prose(2))
    bench.inject(poison={"host": "host-a", "dpas": [0, PAGE]})
    refusal = refused(lambda: host.read(0, 3))
    assert refusal.pages_poisoned is not None
    assert list(refusal.pages_poisoned.dpas) == [0, PAGE]
    host.write(0, prose(1, 5))
    host.trim(1, 1)
    assert host.read(0, 2) == prose(1, 5) + bytes(PAGE)


def test_faults_are_listed_as_they_were_asked_for(bench: Bench) -> None:
    """In order, with when and how often."""
    bench.clock.advance(SECOND)
    asked = [
        operator_pb2.Fault(exhaustion=operator_pb2.ExhaustionFault(bytes=4096)),
        operator_pb2.Fault(exhaustion=operator_pb2.ExhaustionFault(share_milli=10)),
        operator_pb2.Fault(ratio_collapse=operator_pb2.RatioCollapseFault(ratio_milli=1200)),
        operator_pb2.Fault(latency=operator_pb2.LatencyFault(device_ns=1, wall_ns=0)),
    ]
    ids = [bench.faults.InjectFault(operator_pb2.InjectFaultRequest(fault=fault)).fault_id for fault in asked]
    assert ids == ["exhaustion-1", "exhaustion-2", "ratio-collapse-3", "latency-4"]
    armed = bench.faults.ListFaults(operator_pb2.ListFaultsRequest()).faults
    assert sorted(one.fault_id for one in armed) == sorted(ids)
    by_id = {one.fault_id: one.fault for one in armed}
    assert [by_id[one] for one in ids] == asked
    assert {one.armed_wall_time_ns for one in armed} == {bench.clock.wall_ns()}
    assert bench.status().faults == armed
    assert bench.clear().cleared == 4


def test_faults_outlive_a_reset(bench: Bench) -> None:
    """Power-on of the device is not power-on of the bench."""
    bench.inject(exhaustion=operator_pb2.ExhaustionFault(bytes=MIB // 2))
    bench.reset()
    assert bench.status().media.reserved_bytes == MIB // 2
    assert bench.status().counters.resets == 1


def test_status_adds_up(bench: Bench, host: Host) -> None:
    """Used = sectors + metadata + staged + reserved, and pages by sectors are the stored pages."""
    host.write(0, prose(10) + noise(5) + bytes(3 * PAGE))
    bench.inject(exhaustion=operator_pb2.ExhaustionFault(bytes=12_345))
    status = bench.status()
    media = status.media
    used = media.sectors_bytes + media.metadata_bytes + media.staged_bytes + media.reserved_bytes
    assert used == status.telemetry.media_used_bytes
    assert media.metadata_bytes == 18 * 16
    assert media.reserved_bytes == 12_345
    assert sum(media.pages_by_sectors) == 18
    assert media.pages_by_sectors[0] == 3
    assert media.pages_by_sectors[64] == 5
    assert sum(i * pages for i, pages in enumerate(media.pages_by_sectors)) * 64 == media.sectors_bytes
    assert status.identity.generation == status.telemetry.generation == host.generation
    (region,) = status.regions
    assert region.telemetry.host == "host-a"
    assert region.lease_ns == region.lease_remaining_ns == 10 * SECOND
    assert status.counters.written_pages == 18
    assert status.counters.capacity_identity_checks > 0


@pytest.mark.parametrize(
    ("data", "kind", "sectors"),
    [
        (b"", operator_pb2.PAGE_KIND_EMPTY, 0),
        (bytes(PAGE), operator_pb2.PAGE_KIND_SAME_FILLED, 0),
        (b"8 bytes." * 512, operator_pb2.PAGE_KIND_SAME_FILLED, 0),
        (noise(1), operator_pb2.PAGE_KIND_RAW, 64),
        (prose(1), operator_pb2.PAGE_KIND_COMPRESSED, 1),
    ],
    ids=["empty", "zeros", "one word", "noise", "prose"],
)
def test_the_oracle_describes_pages(bench: Bench, host: Host, data: bytes, kind: int, sectors: int) -> None:
    """What the media holds, page by page."""
    if data:
        host.write(5, data)
    request = operator_pb2.DescribePagesRequest(host="host-a", dpas=[5 * PAGE])
    (page,) = bench.oracle.DescribePages(request).pages
    assert (page.dpa, page.kind, page.sectors) == (5 * PAGE, kind, sectors)
    assert (page.compressed_bytes > 0) == (sectors > 0)


def test_the_oracle_sees_poison_that_nobody_has_read(bench: Bench, host: Host) -> None:
    """Hosts find out by reading."""
    host.write(0, prose(1))
    bench.inject(poison={"host": "host-a", "dpas": [0]})
    (page,) = bench.oracle.DescribePages(operator_pb2.DescribePagesRequest(host="host-a", dpas=[0])).pages
    assert page.kind == operator_pb2.PAGE_KIND_POISONED
