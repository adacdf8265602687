"""MemoryService over a real port: what is written is read, TRIM and FLUSH give media back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from cramwire.v1 import device_pb2, memory_pb2, types_pb2
from cxldev.config import ExhaustionMode, StagingConfig
from server_helpers import MIB, PAGE, SECOND, Bench, Host, bench_of, dpas, noise, prose, refused

pytestmark = pytest.mark.usefixtures("each_transport")


def test_written_pages_are_read_back(host: Host) -> None:
    """Compressible, incompressible and same-filled pages come back as they were."""
    data = prose(4) + noise(3) + bytes(PAGE) + b"\xa5" * PAGE
    assert host.write(10, data).accepted_pages == 9
    assert host.read(10, 9) == data


def test_unwritten_pages_are_zeros(host: Host) -> None:
    """A region is zeros until it is written."""
    assert host.read(0, 3) == bytes(3 * PAGE)


def test_pages_may_be_named_in_any_order(bench: Bench, host: Host) -> None:
    """Data follows the order of the addresses."""
    first, second = prose(1, 1), prose(1, 2)
    request = memory_pb2.WriteRequest(dpas=[5 * PAGE, 2 * PAGE], data=first + second, **host.ref)
    bench.memory.Write(request)
    assert host.read(2, 1) == second
    assert host.read(5, 1) == first


@pytest.mark.parametrize("pages", [1, 16, 64, 256, 1024])
def test_batches_of_all_sizes(pages: int) -> None:
    """Up to the largest request, in one message."""
    with bench_of(physical=8 * MIB) as bench:
        host = bench.attach(pages=1024)
        data = noise(pages // 2) + prose(pages - pages // 2)
        assert host.write(0, data).accepted_pages == pages
        assert host.read(0, pages) == data


def test_device_time_is_reported(host: Host) -> None:
    """Both ways, in ns of the latency model."""
    assert host.write(0, prose(1)).device_ns > 0
    request = memory_pb2.ReadRequest(dpas=[PAGE], **host.ref)
    assert host.bench.memory.Read(request).device_ns > 0


def test_trimmed_pages_are_zeros_and_free(host: Host) -> None:
    """Without a TRIM delay the media is back at once."""
    host.write(0, noise(8))
    assert host.trim(2, 100).trimmed_pages == 6
    assert host.read(0, 8) == noise(8)[: 2 * PAGE] + bytes(6 * PAGE)
    assert host.telemetry().region.stored_pages == 2
    host.trim(0, 256)
    assert host.telemetry().media_used_bytes == 0


def test_flush_waits_for_queued_trims() -> None:
    """With a TRIM delay, FLUSH answers when the media is back, not before."""
    with bench_of(trim_delay_ns=3 * SECOND) as bench:
        host = bench.attach()
        host.write(0, noise(4))
        host.trim(0, 4)
        assert host.telemetry().trim_queued_pages == 4
        flush = bench.memory.Flush.future(memory_pb2.FlushRequest(**host.ref), timeout=30)
        # Both the timer and the FLUSH.
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 3 * SECOND, waiters=2)
        bench.clock.advance(SECOND)
        assert host.telemetry().trim_queued_pages == 4
        assert not flush.done()
        bench.clock.advance(2 * SECOND)
        assert flush.result().released_media_bytes == 4 * (PAGE + 16)
        assert host.telemetry().media_used_bytes == 0


def test_staged_pages_are_drained_behind() -> None:
    """By the timer, with nobody asking; a FLUSH waits for it. What the device set aside is told."""
    staging = StagingConfig(8 * PAGE, SECOND, 1 << 43)
    with bench_of(staging=staging) as bench:
        assert bench.device.Identify(device_pb2.IdentifyRequest()).staging_bytes == 8 * PAGE
        host = bench.attach()
        assert host.write(0, noise(4)).accepted_pages == 4
        assert host.telemetry().media_staged_bytes == 4 * PAGE
        assert host.read(0, 4) == noise(4)
        flush = bench.memory.Flush.future(memory_pb2.FlushRequest(**host.ref), timeout=30)
        due_ns = bench.clock.now_ns() + SECOND + 4
        assert bench.clock.until_waited_for(due_ns, waiters=2)
        bench.clock.advance(SECOND + 4)
        assert flush.result().released_media_bytes == 0
        assert host.telemetry().media_staged_bytes == 0
        assert host.read(0, 4) == noise(4)


def test_flush_with_nothing_queued_answers_at_once(host: Host) -> None:
    """A barrier behind nothing."""
    assert host.flush().released_media_bytes == 0


def test_cancelled_flush_lets_go() -> None:
    """The thread and the slot of a flush whose caller went away are free again."""
    with bench_of(trim_delay_ns=SECOND) as bench:
        host = bench.attach()
        for _ in range(100):  # more than there are slots
            host.write(0, prose(1))
            host.trim(0, 1)
            flush: Any = bench.memory.Flush.future(memory_pb2.FlushRequest(**host.ref), timeout=30)
            flush.cancel()
        assert bench.service.flushes.wait_below(1)
        bench.clock.advance(SECOND)
        assert host.flush().released_media_bytes == 0


def test_flushes_of_one_host_do_not_shut_others_out() -> None:
    """One that has nothing to wait for needs no room; one that waits finds some beside a greedy host."""
    with bench_of(trim_delay_ns=SECOND) as bench:
        greedy, other = bench.attach("greedy"), bench.attach("other")
        for host in (greedy, other):
            host.write(0, prose(1))
        greedy.trim(0, 1)
        due_ns = bench.clock.now_ns() + SECOND
        flushes: list[Any] = [
            bench.memory.Flush.future(memory_pb2.FlushRequest(**greedy.ref), timeout=30) for _ in range(16)
        ]
        assert bench.clock.until_waited_for(due_ns, waiters=17)  # and the timer
        assert refused(greedy.flush).reason == "DEVICE_BUSY"
        assert other.flush().released_media_bytes == 0
        other.trim(0, 1)
        waiting = bench.memory.Flush.future(memory_pb2.FlushRequest(**other.ref), timeout=30)
        assert bench.clock.until_waited_for(due_ns, waiters=18)
        bench.clock.advance(SECOND)
        for flush in (*flushes, waiting):
            assert flush.result().released_media_bytes > 0


def test_flush_keeps_the_callers_deadline() -> None:
    """A flush that would take longer than its caller waits ends with the deadline, and nothing hangs."""
    with bench_of(trim_delay_ns=SECOND) as bench:
        host = bench.attach()
        host.write(0, prose(1))
        host.trim(0, 1)
        refusal = refused(lambda: bench.memory.Flush(memory_pb2.FlushRequest(**host.ref), timeout=0.05))
        assert refusal.code.name == "DEADLINE_EXCEEDED"


# -- exhaustion ---------------------------------------------------------------------------------


def test_no_more_writes_tells_how_far_it_came(bench: Bench) -> None:
    """The pages before the one that does not fit are stored; it and the rest keep their old bytes."""
    host = bench.attach(pages=300)
    old, new = prose(300), noise(300)
    host.write(0, old)
    fitting = MIB // (PAGE + 16)
    refusal = refused(lambda: host.write(0, new))
    assert refusal.code.name == "RESOURCE_EXHAUSTED"
    assert refusal.reason == "NO_MORE_WRITES"
    assert refusal.write_refused is not None
    accepted = refusal.write_refused.accepted_pages
    assert 200 < accepted < fitting
    assert refusal.write_refused.refused_dpa == accepted * PAGE
    assert refusal.write_refused.device_ns > 0
    assert refusal.write_refused.telemetry.no_more_writes
    assert refusal.metadata["accepted_pages"] == str(accepted)
    assert refusal.metadata["refused_dpa"] == str(accepted * PAGE)
    assert refusal.metadata["media_free_bytes"] == str(bench.status().telemetry.media_free_bytes)
    assert host.read(0, accepted) == new[: accepted * PAGE]
    assert host.read(accepted, 300 - accepted) == old[accepted * PAGE :]


def test_writes_go_on_after_trim(host: Host) -> None:
    """Media that comes back can be written again."""
    refused(lambda: host.write(0, noise(256)))
    assert host.telemetry().no_more_writes
    host.trim(0, 256)
    assert not host.telemetry().no_more_writes
    assert host.write(0, noise(200)).accepted_pages == 200


def test_poison_mode_acknowledges_and_poisons() -> None:
    """All pages are acknowledged; those that did not fit are found lost by a read."""
    with bench_of(exhaustion_mode=ExhaustionMode.POISON) as bench:
        host = bench.attach()
        data = noise(256)
        assert host.write(0, data).accepted_pages == 256
        refusal = refused(lambda: host.read(0, 256))
        assert refusal.code.name == "DATA_LOSS"
        assert refusal.reason == "POISONED"
        assert refusal.pages_poisoned is not None
        lost = {dpa // PAGE for dpa in refusal.pages_poisoned.dpas}
        assert lost
        assert refusal.metadata["poisoned_pages"] == str(len(lost))
        for page in set(range(256)) - lost:
            assert host.read(page, 1) == data[page * PAGE : (page + 1) * PAGE]


def test_region_limit_is_the_regions_own(bench: Bench) -> None:
    """A region's limit refuses it alone; others go on."""
    small = bench.attach("small", limit_media_bytes=10 * (PAGE + 16))
    refusal = refused(lambda: small.write(0, noise(12)))
    assert refusal.code.name == "RESOURCE_EXHAUSTED"
    assert refusal.reason == "REGION_LIMIT"
    assert refusal.write_refused is not None
    assert refusal.write_refused.accepted_pages == 10
    assert bench.attach("other").write(0, noise(12)).accepted_pages == 12


def test_a_refusal_names_no_more_pages_than_the_metadata_holds() -> None:
    """A read of 1024 lost pages names the first of them; a read without those names the rest."""
    with bench_of(physical=8 * MIB) as bench:
        host = bench.attach(pages=1024)
        host.write(0, noise(1024))
        bench.inject(poison={"host": "host-a", "dpas": dpas(0, 1024)})
        plain = bench.channel(bench.service.address, ())  # with gRPC's own limits
        read = plain.unary_unary(
            "/cramwire.v1.MemoryService/Read",
            request_serializer=memory_pb2.ReadRequest.SerializeToString,
            response_deserializer=memory_pb2.ReadResponse.FromString,
        )
        wanted = dpas(0, 1024)
        while wanted:
            request = memory_pb2.ReadRequest(dpas=wanted, **host.ref)
            refusal = refused(partial(read, request))
            assert refusal.pages_poisoned is not None
            assert refusal.metadata["poisoned_pages"] == str(len(wanted))
            wanted = [dpa for dpa in wanted if dpa not in set(refusal.pages_poisoned.dpas)]


def test_regions_are_apart(bench: Bench) -> None:
    """The same address of two hosts is two pages; a TRIM of one leaves the other alone."""
    one, other = bench.attach("one"), bench.attach("other")
    one.write(0, prose(4, 1))
    other.write(0, prose(4, 2))
    bench.memory.Trim(
        memory_pb2.TrimRequest(ranges=[types_pb2.DpaRange(start=0, length=4 * PAGE)], **one.ref)
    )
    assert one.read(0, 4) == bytes(4 * PAGE)
    assert other.read(0, 4) == prose(4, 2)
