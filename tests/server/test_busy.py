"""Too much at one time: DEVICE_BUSY, bounded queues, and control calls that never wait behind data."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from cramwire.v1 import device_pb2, memory_pb2, operator_pb2
from cxldev.codec import PageCodec
from cxldevd.errors import DeviceBusy
from cxldevd.in_flight import InFlight
from cxldevd.pools import CountedPool
from cxldevd.slots import Slots
from server_helpers import DEADLINE_S, PAGE, SECOND, Bench, Host, bench_of, prose, refused

if TYPE_CHECKING:
    from cramwire.v1 import types_pb2

HOUR = 3600 * SECOND


def slow(bench: Bench, wall_ns: int = HOUR) -> None:
    """From now on every data command takes this long, by the bench's clock."""
    bench.inject(latency=operator_pb2.LatencyFault(wall_ns=wall_ns))


def start_write(host: Host, pages: int = 1) -> Any:
    """A write whose answer is not waited for."""
    request = memory_pb2.WriteRequest(
        dpas=[page * PAGE for page in range(pages)], data=prose(pages), **host.ref
    )
    return host.bench.memory.Write.future(request, timeout=DEADLINE_S)


def lasting_host(bench: Bench) -> Host:
    """A host whose lease outlives the waits of these tests."""
    return bench.attach(lease_ns=HOUR // 2)


def test_a_latency_fault_is_waited_for_by_the_clock(bench: Bench) -> None:
    """The answer comes when its wall time has passed, not before."""
    host = lasting_host(bench)
    slow(bench, 5 * SECOND)
    write = start_write(host)
    assert bench.clock.until_waited_for(bench.clock.now_ns() + 5 * SECOND)
    assert not write.done()
    bench.clock.advance(5 * SECOND)
    assert write.result().accepted_pages == 1


def test_time_dilation_waits_for_device_time() -> None:
    """So many ns of wall time for each ns of device time."""
    with bench_of(settings={"time_dilation": 1000.0}) as bench:
        host = bench.attach()
        write = start_write(host)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 250_000)
        bench.clock.advance(250_000)
        assert write.result().device_ns == 250


def test_a_caller_that_gives_up_frees_the_worker() -> None:
    """With one worker, the next call runs as soon as the first is cancelled."""
    with bench_of(settings={"workers": 1}) as bench:
        host = lasting_host(bench)
        slow(bench)
        write = start_write(host)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + HOUR)
        bench.clear()
        write.cancel()
        assert host.read(0, 1) == prose(1)


def test_control_calls_do_not_wait_behind_data() -> None:
    """All workers are busy and calls queue behind them; control, events and operators answer."""
    with bench_of(settings={"workers": 2}) as bench:
        host = lasting_host(bench)
        slow(bench)
        writes = [start_write(host) for _ in range(10)]
        assert bench.clock.until_waited_for(bench.clock.now_ns() + HOUR, waiters=2)
        assert bench.device.Identify(device_pb2.IdentifyRequest(), timeout=DEADLINE_S).generation
        telemetry: types_pb2.Telemetry = host.telemetry()
        assert telemetry.stored_pages == 1
        stream = host.watch()
        assert next(stream).HasField("started")
        assert bench.status().telemetry.stored_pages == 1
        bench.clear()
        for call in (stream, *writes):
            call.cancel()


def test_calls_beyond_the_queue_are_told_busy() -> None:
    """The queue is bounded where calls arrive, so the answer does not wait for a worker."""
    with bench_of(settings={"workers": 1, "max_queued_calls": 1}) as bench:
        host = lasting_host(bench)
        slow(bench)
        write = start_write(host)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + HOUR)
        refusal = refused(lambda: host.write(0, prose(1)))
        assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
        bench.clear()
        write.cancel()


def test_bytes_in_flight_are_bounded() -> None:
    """What would pass the limit is told busy, and changes nothing."""
    with bench_of(settings={"max_in_flight_bytes": 8 * PAGE}) as bench:
        host = lasting_host(bench)
        slow(bench)
        write = start_write(host, 6)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + HOUR)
        for call in (lambda: host.write(0, prose(3)), lambda: host.read(0, 3)):
            refusal = refused(call)
            assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
        assert bench.status().counters.written_pages == 6
        bench.clear()
        write.cancel()


def test_a_lone_request_above_the_limit_is_served() -> None:
    """Else it could never be."""
    with bench_of(settings={"max_in_flight_bytes": PAGE}) as bench:
        host = bench.attach()
        assert host.write(0, prose(16)).accepted_pages == 16


def test_commands_in_flight_cost_device_time(bench: Bench) -> None:
    """The latency model hears of the others: a read beside a busy write queues."""
    host = lasting_host(bench)
    read = memory_pb2.ReadRequest(dpas=[100 * PAGE], **host.ref)
    alone = bench.memory.Read(read).device_ns
    slow(bench)
    write = start_write(host, 64)
    assert bench.clock.until_waited_for(bench.clock.now_ns() + HOUR)
    bench.clear()
    assert bench.memory.Read(read).device_ns > alone
    write.cancel()


def test_a_failed_read_leaves_nothing_open(bench: Bench, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the codec: INTERNAL, the ticket is abandoned, and the device goes on."""
    host.write(0, prose(4))

    def fail(_self: PageCodec, *_arguments: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(PageCodec, "expand", fail)
        refusal = refused(lambda: host.read(0, 4))
    assert (refusal.code.name, refusal.reason) == ("INTERNAL", "")
    assert "read failed inside the service (ZeroDivisionError)" in refusal.message
    host.trim(0, 4)
    host.write(0, prose(4, 9))
    assert host.read(0, 4) == prose(4, 9)


# -- the parts alone ------------------------------------------------------------------------------


def test_slots_refuse_one_too_many() -> None:
    """And are given back."""
    slots = Slots(1, "seats")
    with slots.one():
        assert slots.taken == 1
        with pytest.raises(DeviceBusy, match="all 1 seats are taken"), slots.one():
            pass
    assert slots.taken == 0


def test_in_flight_counts_pages() -> None:
    """Of all that hold some."""
    in_flight = InFlight(4 * PAGE)
    with in_flight.hold(3), in_flight.hold(1):
        assert in_flight.pages == 4
        with pytest.raises(DeviceBusy), in_flight.hold(1):
            pass
    assert in_flight.pages == 0


def test_a_counted_pool_knows_what_is_pending() -> None:
    """What runs and what waits."""
    pool = CountedPool(1, "test")
    go = threading.Event()
    first, second = pool.submit(go.wait, DEADLINE_S), pool.submit(int)
    assert pool.pending == 2
    go.set()
    first.result(DEADLINE_S)
    second.result(DEADLINE_S)
    pool.shutdown()
    assert pool.pending == 0
    with pytest.raises(RuntimeError):
        pool.submit(int)
    assert pool.pending == 0
