"""DeviceService: sessions, leases, take-over, telemetry."""

from __future__ import annotations

from cramwire.transport import MESSAGE_BYTES
from cramwire.v1 import device_pb2, types_pb2
from server_helpers import MIB, PAGE, SECOND, Bench, Host, bench_of, noise, prose, refused


def test_identify_tells_what_the_device_is(bench: Bench) -> None:
    """Needs no session."""
    told = bench.device.Identify(device_pb2.IdentifyRequest())
    assert told.model == "cramulator"
    assert told.generation == bench.service.generation
    assert told.physical_capacity_bytes == MIB
    assert told.logical_capacity_bytes == 3 * MIB
    assert (told.page_bytes, told.sector_bytes, told.metadata_bytes) == (PAGE, 64, 16)
    assert told.zratio_milli == 3000
    assert told.exhaustion_mode == types_pb2.EXHAUSTION_MODE_REFUSE
    assert (told.limits.pages_per_request, told.limits.ranges_per_trim) == (1024, 127)
    assert told.limits.message_bytes == MESSAGE_BYTES
    assert told.default_lease_ns == 10 * SECOND
    assert told.watermarks.high_bytes == MIB // 2
    assert told.watermarks.critical_bytes == MIB * 50 // 1000


def test_attach_gives_a_region(bench: Bench) -> None:
    """With a session, the generation, a lease, and the telemetry of the region."""
    request = device_pb2.AttachRequest(
        host="a", logical_bytes=MIB, guaranteed_media_bytes=PAGE, limit_media_bytes=2 * PAGE, lease_ns=SECOND
    )
    made = bench.device.Attach(request)
    assert len(made.session) == 32
    assert made.generation == bench.service.generation
    assert made.lease_ns == SECOND
    assert made.telemetry.region == types_pb2.RegionTelemetry(
        host="a",
        logical_bytes=MIB,
        guaranteed_media_bytes=PAGE,
        limit_media_bytes=2 * PAGE,
        room_bytes=2 * PAGE,
    )


def test_write_credits_are_granted(bench: Bench, host: Host) -> None:
    """Beside those that are held; the region's telemetry says what the device keeps media for."""
    request = device_pb2.GrantCreditsRequest(number=1, wanted_credits=10, **host.ref)
    assert bench.device.GrantCredits(request).granted_credits == 10
    request = device_pb2.GrantCreditsRequest(number=2, writable_pages=4, unspent_credits=3, **host.ref)
    granted = bench.device.GrantCredits(request)
    assert (granted.granted_credits, granted.telemetry.region.credit_pages) == (0, 7)


def test_a_second_attach_needs_to_take_over(bench: Bench, host: Host) -> None:
    """Without, it is refused; with, the first session ends and its region is trimmed."""
    host.write(0, prose(4))
    assert refused(bench.attach).reason == "ALREADY_ATTACHED"
    assert host.read(0, 4) == prose(4)
    second = bench.attach(take_over=True)
    assert second.session != host.session
    assert second.read(0, 4) == bytes(4 * PAGE)
    assert refused(host.telemetry).reason == "SESSION_ENDED"


def test_detach_gives_the_media_back(bench: Bench, host: Host) -> None:
    """At once; the session is over."""
    host.write(0, noise(4))
    assert host.detach().released_media_bytes == 4 * (PAGE + 16)
    assert bench.status().telemetry.media_used_bytes == 0
    refusal = refused(host.telemetry)
    assert (refusal.code.name, refusal.reason) == ("FAILED_PRECONDITION", "SESSION_ENDED")


def test_detach_does_not_wait_for_the_trim_queue() -> None:
    """Whatever the TRIM delay says."""
    with bench_of(trim_delay_ns=3600 * SECOND) as bench:
        host = bench.attach()
        host.write(0, noise(4))
        host.trim(0, 2)
        assert host.detach().released_media_bytes == 4 * (PAGE + 16)
        assert bench.status().telemetry.media_used_bytes == 0


def test_resize_grows_and_shrinks(bench: Bench, host: Host) -> None:
    """Pages that hold data are never cut off."""
    host.write(100, prose(1))
    resized = bench.device.Resize(device_pb2.ResizeRequest(logical_bytes=101 * PAGE, **host.ref))
    assert resized.telemetry.region.logical_bytes == 101 * PAGE
    assert refused(lambda: host.read(101, 1)).reason == "OUT_OF_RANGE"
    bench.device.Resize(device_pb2.ResizeRequest(logical_bytes=500 * PAGE, **host.ref))
    assert host.write(499, prose(1)).accepted_pages == 1


def test_a_lease_that_is_renewed_lasts(bench: Bench, host: Host) -> None:
    """Renew starts it anew; data calls do not."""
    for _ in range(5):
        bench.clock.advance(9 * SECOND)
        assert bench.device.Renew(device_pb2.RenewRequest(**host.ref)).lease_ns == 10 * SECOND
    bench.clock.advance(9 * SECOND)
    host.read(0, 1)
    bench.clock.advance(SECOND)
    assert refused(lambda: host.read(0, 1)).reason == "LEASE_EXPIRED"


def test_a_lease_runs_out_by_itself(bench: Bench, host: Host) -> None:
    """Nobody asks: the timer trims the region, and tells who watches."""
    host.write(0, noise(4))
    other = bench.attach("other", lease_ns=60 * SECOND)
    events = bench.watch_all()
    assert next(events).HasField("started")
    assert bench.clock.until_waited_for(bench.clock.now_ns() + 10 * SECOND)
    bench.clock.advance(10 * SECOND)
    kinds = []
    for item in events:
        kinds.append(item.event.WhichOneof("kind"))
        if kinds[-1] == "region_detached":
            assert item.event.region_detached.host == "host-a"
            assert item.event.region_detached.cause == types_pb2.DETACH_CAUSE_LEASE_EXPIRED
            break
    events.cancel()
    assert bench.status().telemetry.media_used_bytes == 0
    assert other.write(0, prose(1)).accepted_pages == 1
    refusal = refused(host.telemetry)
    assert (refusal.code.name, refusal.reason) == ("FAILED_PRECONDITION", "LEASE_EXPIRED")


def test_a_short_lease_is_kept_though_a_longer_one_was_there_first(bench: Bench) -> None:
    """The timer does not sleep past a deadline that came later and is due sooner."""
    bench.attach("slow", lease_ns=3600 * SECOND)
    bench.attach("quick", lease_ns=SECOND)
    assert bench.clock.until_waited_for(bench.clock.now_ns() + SECOND)


def test_telemetry_is_the_callers_own(bench: Bench, host: Host) -> None:
    """Totals of all, region of one."""
    other = bench.attach("other")
    other.write(0, noise(2))
    told = host.telemetry()
    assert told.media_used_bytes + told.media_free_bytes == told.physical_capacity_bytes
    assert told.media_used_bytes == 2 * (PAGE + 16)
    assert (told.region.host, told.region.media_used_bytes) == ("host-a", 0)


def test_sessions_do_not_outlive_a_reset(bench: Bench, host: Host) -> None:
    """A new generation: nothing is kept, every session of before is stale."""
    host.write(0, prose(4))
    bench.reset()
    refusal = refused(host.telemetry)
    assert (refusal.code.name, refusal.reason) == ("FAILED_PRECONDITION", "STALE_GENERATION")
    again = bench.attach()
    assert again.generation != host.generation
    assert again.read(0, 4) == bytes(4 * PAGE)


def test_seeded_ids_repeat() -> None:
    """Two runs with one seed give out the same generations and sessions; without, they differ."""

    def ids(settings: dict[str, int]) -> tuple[str, str, str]:
        with bench_of(settings=settings) as bench:
            host = bench.attach()
            bench.reset()
            return host.generation, host.session, bench.service.generation

    assert ids({"seed": 7}) == ids({"seed": 7})
    assert ids({"seed": 7}) != ids({"seed": 8})
    assert ids({}) != ids({})
