"""RegionService: operators grow, shrink and re-share regions; hosts hear of it."""

from __future__ import annotations

from cramwire.v1 import operator_pb2_grpc
from cramwire.v1.operator_pb2 import AddCapacityRequest, ReleaseCapacityRequest, ShareMediaRequest
from server_helpers import DEADLINE_S, MIB, PAGE, SECOND, Bench, Host, prose, refused


def regions(bench: Bench) -> operator_pb2_grpc.RegionServiceStub:
    """The operator's side."""
    return operator_pb2_grpc.RegionServiceStub(bench.operator_channel)


def test_capacity_is_added_and_asked_back(bench: Bench, host: Host) -> None:
    """The answer is the region as it is then; the host's telemetry says the same."""
    before = host.telemetry().region.logical_bytes
    request = AddCapacityRequest(host="host-a", length_bytes=4 * PAGE)
    assert regions(bench).AddCapacity(request).region.logical_bytes == before + 4 * PAGE
    asked = (
        regions(bench).ReleaseCapacity(ReleaseCapacityRequest(host="host-a", length_bytes=8 * PAGE)).region
    )
    assert asked.asked_back_to_bytes == before - 4 * PAGE
    assert not asked.HasField("forced_in_ns")
    assert host.telemetry().region == asked


def test_the_timer_takes_what_is_not_given_back(bench: Bench, host: Host) -> None:
    """Nobody needs to call: the deadline is the service's own."""
    pages = host.telemetry().region.logical_bytes // PAGE
    host.write(pages - 2, prose(2))
    request = ReleaseCapacityRequest(host="host-a", length_bytes=2 * PAGE, force_after_ns=SECOND)
    assert regions(bench).ReleaseCapacity(request).region.forced_in_ns == SECOND
    due_ns = bench.clock.now_ns() + SECOND
    assert bench.clock.until_waited_for(due_ns, timeout_s=DEADLINE_S)
    stream = bench.watch_all(after=bench.status().telemetry.event_sequence)
    bench.clock.advance(SECOND)
    taken = next(item.event for item in stream if item.HasField("event"))
    assert taken.forced_capacity_release.lost_pages == 2
    assert taken.forced_capacity_release.range.start == (pages - 2) * PAGE
    assert taken.telemetry.region.logical_bytes == (pages - 2) * PAGE
    assert refused(lambda: host.read(pages - 2, 1)).reason == "OUT_OF_RANGE"
    assert bench.status().counters.capacity_lost_pages == 2


def test_shares_are_changed_live_or_refused_with_the_numbers(bench: Bench, host: Host) -> None:
    """One of the two, or both."""
    share = regions(bench).ShareMedia
    changed = share(ShareMediaRequest(host="host-a", guaranteed_media_bytes=MIB // 4)).region
    assert (changed.guaranteed_media_bytes, changed.limit_media_bytes) == (MIB // 4, MIB)
    changed = share(ShareMediaRequest(host="host-a", limit_media_bytes=MIB // 2)).region
    assert (changed.guaranteed_media_bytes, changed.limit_media_bytes) == (MIB // 4, MIB // 2)
    assert host.telemetry().region == changed
    refusal = refused(lambda: share(ShareMediaRequest(host="host-a", guaranteed_media_bytes=2 * MIB)))
    assert refusal.reason == "INVALID_FIELD"
    assert refused(lambda: share(ShareMediaRequest(host="nobody"))).reason == "UNKNOWN_HOST"
