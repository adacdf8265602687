"""Event streams: where they begin, what they tell, how they end."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.refusal import Refusal, read_refusal
from cramwire.v1 import device_pb2, operator_pb2, types_pb2
from cxldev.errors import SessionEnded
from cxldev.events import Missed, RegionAttached, RegionDetached
from cxldev.outcomes import SessionRef
from cxldevd.control_path import ControlPath
from cxldevd.watching import watch_region
from server_helpers import DEADLINE_S, MIB, PAGE, SECOND, Bench, Host, bench_of, noise, prose, refused

if TYPE_CHECKING:
    from collections.abc import Iterator


def started(stream: Any) -> Any:
    """The stream's first item."""
    item = next(stream)
    assert item.HasField("started")
    return item.started


def kinds_until_end(stream: Any) -> tuple[list[str], Refusal]:
    """Kinds of all items of a stream that ends, and how it ends."""
    kinds: list[str] = []
    try:
        for item in stream:
            item_kind = item.event.WhichOneof("kind") or item.WhichOneof("item")
            kinds.append(item_kind)
    except grpc.RpcError as error:
        return kinds, read_refusal(error)
    raise AssertionError("the stream ended without a status")


def events_of(stream: Any) -> Iterator[types_pb2.Event]:
    """Its events alone."""
    return (item.event for item in stream if item.HasField("event"))


def test_a_stream_begins_behind_the_newest(bench: Bench, host: Host) -> None:
    """Unless it is told where; the first item says so, with telemetry."""
    stream = host.watch()
    begin = started(stream)
    assert begin.after_sequence == begin.telemetry.event_sequence == 1
    assert begin.telemetry.region.host == "host-a"
    refused(lambda: host.write(0, noise(256)))
    kinds = [event.WhichOneof("kind") for event in islice(events_of(stream), 2)]
    assert set(kinds) <= {"watermark_crossed", "no_more_writes_entered"}
    stream.cancel()


def test_events_carry_what_happened(bench: Bench, host: Host) -> None:
    """Sequence, generation, wall time, telemetry of that moment, and the levels."""
    stream = host.watch()
    started(stream)
    bench.clock.advance(SECOND)
    bench.inject(exhaustion=operator_pb2.ExhaustionFault(share_milli=800))
    event = next(events_of(stream))
    assert event.generation == host.generation
    assert event.wall_time_ns == bench.clock.wall_ns()
    assert event.watermark_crossed.from_level == types_pb2.WATERMARK_LEVEL_ABOVE_HIGH
    assert event.watermark_crossed.to_level == types_pb2.WATERMARK_LEVEL_MEDIUM
    assert event.telemetry.watermark == types_pb2.WATERMARK_LEVEL_MEDIUM
    assert event.telemetry.event_sequence == event.sequence
    stream.cancel()


def test_no_more_writes_and_recovery_are_told(bench: Bench, host: Host) -> None:
    """Entered, left, and the watermarks on the way."""
    stream = host.watch()
    started(stream)
    refused(lambda: host.write(0, noise(256)))
    host.trim(0, 256)
    kinds = []
    for event in events_of(stream):
        kinds.append(event.WhichOneof("kind"))
        if kinds[-1] == "no_more_writes_left":
            break
    assert kinds.index("no_more_writes_entered") < kinds.index("no_more_writes_left")
    stream.cancel()


def test_hosts_are_told_of_themselves_only(bench: Bench, host: Host) -> None:
    """Not of other hosts, not of the operator; a gap in the numbers is no miss."""
    stream = host.watch()
    started(stream)
    bench.attach("other").detach()
    bench.clear(bench.inject(latency=operator_pb2.LatencyFault(device_ns=1)).fault_id)
    host.write(0, prose(1))
    bench.inject(poison={"host": "host-a", "dpas": [0]})
    refused(lambda: host.read(0, 1))
    item = next(stream)
    assert item.event.poison_found.dpas == [0]
    assert item.event.sequence > 2
    stream.cancel()


def test_operators_are_told_of_everything(bench: Bench, host: Host) -> None:
    """All hosts, and what operators did."""
    stream = bench.watch_all(after=0)
    assert started(stream).after_sequence == 0
    fault = bench.inject(latency=operator_pb2.LatencyFault(device_ns=1)).fault_id
    bench.clear(fault)
    host.detach()
    kinds = [event.WhichOneof("kind") for event in islice(events_of(stream), 4)]
    assert kinds == ["region_attached", "fault_armed", "fault_cleared", "region_detached"]
    stream.cancel()


def test_a_watcher_that_comes_back_gets_what_it_missed(bench: Bench, host: Host) -> None:
    """It names the last event that it has."""
    stream = host.watch()
    begin = started(stream).after_sequence
    stream.cancel()
    refused(lambda: host.write(0, noise(256)))
    newest = host.telemetry().event_sequence
    again = host.watch(after=begin)
    assert started(again).after_sequence == begin
    sequences = [event.sequence for event in islice(events_of(again), newest - begin)]
    assert sequences == list(range(begin + 1, newest + 1))
    again.cancel()


def test_a_watcher_that_comes_back_too_late_is_told_so() -> None:
    """Exactly which events are gone."""
    with bench_of(event_log_entries=4) as bench:
        host = bench.attach()
        for _ in range(5):
            bench.attach("other").detach()
        stream = bench.watch_all(after=2)
        started(stream)
        missed = next(stream).missed
        assert (missed.first_sequence, missed.last_sequence) == (3, 7)
        sequences = [event.sequence for event in islice(events_of(stream), 4)]
        assert sequences == [8, 9, 10, 11]
        assert host.telemetry().event_sequence == 11
        stream.cancel()


def test_a_slow_reader_costs_nothing_and_is_told_what_it_missed() -> None:
    """It does not read while the device tells much more than the log holds; others go on."""
    with bench_of(event_log_entries=16) as bench:
        host = bench.attach(pages=600)
        # A window that a few events fill, so that the stream is stuck as soon as its reader stops.
        tight = bench.channel(
            bench.service.address, [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
        )
        watch = tight.unary_stream(
            "/cramwire.v1.DeviceService/WatchEvents",
            request_serializer=device_pb2.WatchEventsRequest.SerializeToString,
            response_deserializer=device_pb2.WatchEventsResponse.FromString,
        )
        stream: Any = watch(device_pb2.WatchEventsRequest(**host.ref), timeout=DEADLINE_S)
        started(stream)
        ref = SessionRef(host.session, host.generation)
        for step in range(3000):
            with bench.service.runtime.device() as (device, now_ns):
                device.resize(ref, (512 + step % 2) * PAGE, now_ns)  # one event of 100 bytes each
        newest = host.telemetry().event_sequence
        seen: list[int] = []
        missed: list[int] = []
        for item in stream:
            if item.HasField("missed"):
                missed += range(item.missed.first_sequence, item.missed.last_sequence + 1)
            else:
                seen.append(item.event.sequence)
            if (seen + missed) and max(seen + missed) == newest:
                break
        assert missed
        assert seen[-16:] == list(range(newest - 15, newest + 1))
        stream.cancel()


def test_a_reset_ends_host_streams_after_telling_it(bench: Bench, host: Host) -> None:
    """DeviceReset is the last event; then STALE_GENERATION."""
    stream = host.watch()
    started(stream)
    bench.reset()
    kinds, end = kinds_until_end(stream)
    assert kinds == ["device_reset"]
    assert end.reason == "STALE_GENERATION"


def test_operators_streams_go_on_over_resets(bench: Bench, host: Host) -> None:
    """With another `started` for each generation, and none skipped."""
    stream = bench.watch_all()
    started(stream)
    bench.reset()
    bench.attach("between")
    bench.reset()
    bench.attach("after")
    told: list[str] = []
    for item in stream:
        told.append(item.event.WhichOneof("kind") if item.HasField("event") else "started")
        if told.count("region_attached") == 2:
            break
    assert told == [
        "device_reset",
        "started",
        "region_attached",
        "device_reset",
        "started",
        "region_attached",
    ]
    stream.cancel()


def test_detach_ends_the_stream(bench: Bench, host: Host) -> None:
    """RegionDetached, then SESSION_ENDED."""
    stream = host.watch()
    started(stream)
    host.detach()
    kinds, end = kinds_until_end(stream)
    assert (kinds, end.reason) == (["region_detached"], "SESSION_ENDED")


def test_a_take_over_ends_the_old_stream_only(bench: Bench, host: Host) -> None:
    """The old session's stream says who ended it; it tells nothing of the new session."""
    stream = host.watch()
    started(stream)
    second = bench.attach(take_over=True)
    fresh = second.watch()
    started(fresh)
    detached = next(stream).event.region_detached
    assert detached.cause == types_pb2.DETACH_CAUSE_TAKEN_OVER
    kinds, end = kinds_until_end(stream)
    assert (kinds, end.reason) == ([], "SESSION_ENDED")
    refused(lambda: second.write(0, noise(256)))
    assert next(events_of(fresh)).WhichOneof("kind") == "watermark_crossed"
    fresh.cancel()


def test_a_new_session_may_read_what_came_before_it(bench: Bench, host: Host) -> None:
    """The end of the host's earlier session is no end of this one's stream."""
    bench.attach(take_over=True)
    second = bench.attach(take_over=True)
    stream = second.watch(after=0)
    started(stream)
    kinds = [event.WhichOneof("kind") for event in islice(events_of(stream), 5)]
    assert kinds == ["region_attached", "region_detached"] * 2 + ["region_attached"]
    stream.cancel()


def test_an_expired_lease_ends_the_stream(bench: Bench, host: Host) -> None:
    """RegionDetached with its cause, then LEASE_EXPIRED; nobody has to ask."""
    stream = host.watch()
    started(stream)
    assert bench.clock.until_waited_for(bench.clock.now_ns() + 10 * SECOND)
    bench.clock.advance(10 * SECOND)
    item = next(stream)
    assert item.event.region_detached.cause == types_pb2.DETACH_CAUSE_LEASE_EXPIRED
    kinds, end = kinds_until_end(stream)
    assert (kinds, end.reason) == ([], "LEASE_EXPIRED")


class Reader:
    """A caller that stays, for streams that are looked at step by step."""

    def is_active(self) -> bool:
        """For ever."""
        return True

    def add_callback(self, callback: Any) -> bool:
        """It never goes, so it is never told."""
        return True


def stepwise(host: Host, after: int | None) -> Iterator[Any]:
    """A host's stream behind its beginning. The device is looked at when the next item is asked for."""
    ref = SessionRef(host.session, host.generation)
    reader: Any = Reader()
    runtime = host.bench.service.runtime
    stream = watch_region(runtime, ControlPath(runtime), ref, after, reader)
    next(stream)
    return stream


def test_the_end_of_an_earlier_session_is_told_as_history(bench: Bench, host: Host) -> None:
    """A stream that reads it when its own session is over, too, goes on to its own end."""
    second = bench.attach(take_over=True)
    stream = stepwise(second, after=0)
    second.detach()
    told = [type(item.event.kind) for item in islice(stream, 4)]
    assert told == [RegionAttached, RegionDetached, RegionAttached, RegionDetached]
    with pytest.raises(SessionEnded):
        next(stream)


def test_a_late_reader_is_not_told_of_the_next_session() -> None:
    """The end of its own session fell out of the log: the stream ends with what was missed."""
    with bench_of(event_log_entries=4) as bench:
        host = bench.attach()
        stream = stepwise(host, after=None)
        host.detach()
        for _ in range(4):
            bench.attach().detach()
        assert isinstance(next(stream), Missed)
        with pytest.raises(SessionEnded):
            next(stream)


def test_watchers_of_one_host_leave_room_for_others() -> None:
    """A quarter of the streams is the most that one may have."""
    with bench_of(settings={"max_watchers": 12}) as bench:
        host = bench.attach()
        streams = [host.watch() for _ in range(3)]
        for stream in streams:
            started(stream)
        refusal = refused(lambda: next(host.watch()))
        assert refusal.reason == "DEVICE_BUSY"
        assert "one host" in refusal.message
        other = bench.attach("other").watch()
        started(other)
        for stream in (*streams, other):
            stream.cancel()


def test_watchers_are_bounded_on_each_listener() -> None:
    """One more than allowed is told DEVICE_BUSY; a slot that is given back is free again."""
    with bench_of(settings={"max_watchers": 2}) as bench:
        host = bench.attach()
        open_streams = [host.watch(), host.watch()]
        for stream in open_streams:
            started(stream)
        refusal = refused(lambda: next(host.watch()))
        assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
        overview = bench.watch_all()
        started(overview)  # hosts do not take the operators' slots
        open_streams[0].cancel()
        bench.service.host_watchers.wait_below(2)
        again = host.watch()
        started(again)
        for stream in (*open_streams, overview, again):
            stream.cancel()


def test_watchers_do_not_hold_up_data(bench: Bench, host: Host) -> None:
    """More streams than there are workers, and writes go on."""
    streams = [host.watch() for _ in range(32)]
    for stream in streams:
        started(stream)
    assert host.write(0, prose(16)).accepted_pages == 16
    assert host.read(0, 16) == prose(16)
    for stream in streams:
        stream.cancel()


def test_all_sixty_four_watchers_are_told(bench: Bench, host: Host) -> None:
    """Each on its own cursor."""
    streams = [host.watch() for _ in range(64)]
    for stream in streams:
        started(stream)
    bench.inject(exhaustion=operator_pb2.ExhaustionFault(bytes=MIB))
    for stream in streams:
        assert next(stream).event.HasField("watermark_crossed")
        stream.cancel()


def test_page_addresses_in_poison_events_are_the_regions(bench: Bench, host: Host) -> None:
    """As the host knows them."""
    host.write(7, prose(2))
    bench.inject(poison={"host": "host-a", "dpas": [8 * PAGE]})
    stream = host.watch()
    started(stream)
    refused(lambda: host.read(7, 2))
    event = next(stream).event
    assert event.poison_found.dpas == [8 * PAGE]
    assert event.telemetry.region.host == "host-a"
    stream.cancel()
