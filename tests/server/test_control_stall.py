"""A control path that stands still while the data path runs; leases run by the device's clock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from cramwire.v1 import device_pb2, operator_pb2
from server_helpers import DEADLINE_S, PAGE, SECOND, Bench, Host, bench_of, noise, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600 * SECOND


def stall(bench: Bench, delay_ns: int = 0, **scope: Any) -> str:
    """Arm it; its id."""
    fault = operator_pb2.ControlStallFault(delay_ns=delay_ns)
    return bench.inject(control_stall=fault, scope=operator_pb2.FaultScope(**scope)).fault_id


def renewing(host: Host) -> Any:
    """A Renew whose answer is not waited for."""
    return host.bench.device.Renew.future(device_pb2.RenewRequest(**host.ref), timeout=DEADLINE_S)


def stalled(bench: Bench, count: int) -> None:
    """Wait until so many commands are held up."""
    while True:
        (one,) = bench.faults.ListFaults(operator_pb2.ListFaultsRequest(), timeout=DEADLINE_S).faults
        if one.fired >= count:
            return


@pytest.fixture
def over(each_transport: str) -> Iterator[Bench]:
    """A bench for each transport of the data path."""
    with bench_of() as made:
        yield made


def test_the_data_path_runs_on(over: Bench) -> None:
    """Control calls wait, and are carried out when the fault is cleared."""
    host = over.attach(lease_ns=HOUR)
    host.write(0, noise(1))
    stall(over)
    request = device_pb2.GetTelemetryRequest(**host.ref)
    calls: list[Any] = [renewing(host), over.device.GetTelemetry.future(request, timeout=DEADLINE_S)]
    stalled(over, 2)
    host.write(1, noise(3))
    assert host.read(1, 3) == noise(3)
    assert host.trim(0, 4).trimmed_pages == 4
    assert not any(call.done() for call in calls)
    over.clear()
    assert calls[0].result().lease_ns == HOUR
    assert calls[1].result().telemetry.region.stored_pages == 0


def test_a_lease_runs_out_meanwhile(bench: Bench) -> None:
    """The Renew that waits is too late: it is judged by when it is taken up."""
    host = bench.attach(lease_ns=10 * SECOND)
    stall(bench)
    call = renewing(host)
    stalled(bench, 1)
    bench.clock.advance(10 * SECOND)
    assert refused(partial(host.write, 0, noise(1))).reason == "LEASE_EXPIRED"
    bench.clear()
    assert refused(call.result).reason == "LEASE_EXPIRED"


def test_a_slow_control_path_takes_its_time(bench: Bench) -> None:
    """So much later, by the device's clock, and in time for the lease."""
    host = bench.attach(lease_ns=10 * SECOND)
    stall(bench, delay_ns=5 * SECOND)
    call = renewing(host)
    assert bench.clock.until_waited_for(bench.clock.now_ns() + 5 * SECOND)
    assert not call.done()
    bench.clock.advance(5 * SECOND)
    call.result()
    bench.clock.advance(9 * SECOND)
    assert host.write(0, noise(1)).accepted_pages == 1


def test_it_ends_by_itself(bench: Bench) -> None:
    """What waited is carried out when its time is over; nobody has to clear it."""
    host = bench.attach(lease_ns=HOUR)
    stall(bench, duration_ns=5 * SECOND)
    call = renewing(host)
    stalled(bench, 1)
    bench.clock.advance(5 * SECOND)
    assert call.result().lease_ns == HOUR


def test_an_attach_that_was_given_up_does_not_happen(bench: Bench) -> None:
    """Nobody holds a region that nobody waits for."""
    stall(bench)
    request = device_pb2.AttachRequest(host="host-a", logical_bytes=PAGE)
    call: Any = bench.device.Attach.future(request, timeout=DEADLINE_S)
    stalled(bench, 1)
    call.cancel()
    # The device hears of it a moment later.
    while bench.service._requests.running_now().get("attach"):
        assert not call.running()
    bench.clear()
    assert bench.attach().session


def test_only_one_host_or_one_command(bench: Bench) -> None:
    """However many calls of the stalled host wait, the other's are answered."""
    slow, other = bench.attach("slow"), bench.attach("other")
    first = stall(bench, host="slow")
    calls = [renewing(slow) for _ in range(50)]
    stalled(bench, 50)
    assert renewing(other).result().lease_ns
    bench.clear(first)
    assert all(call.result().lease_ns for call in calls)
    stall(bench, operations=[operator_pb2.OPERATION_RESIZE])
    assert renewing(slow).result().lease_ns
    assert bench.device.Identify(device_pb2.IdentifyRequest(), timeout=DEADLINE_S).generation
    resize = device_pb2.ResizeRequest(logical_bytes=PAGE, **slow.ref)
    call = bench.device.Resize.future(resize, timeout=DEADLINE_S)
    stalled(bench, 1)
    bench.clear()
    assert call.result().telemetry.region.logical_bytes == PAGE


def test_event_streams_stand_still_too(bench: Bench) -> None:
    """What happens meanwhile is told afterwards, in order; the operator's stream goes on."""
    host = bench.attach(pages=8, lease_ns=HOUR)
    stream, overlooking = host.watch(), bench.watch_all()
    assert next(stream).HasField("started")
    assert next(overlooking).HasField("started")
    stall(bench, operations=[operator_pb2.OPERATION_WATCH])
    for pages in (7, 6):
        resize = device_pb2.ResizeRequest(logical_bytes=pages * PAGE, **host.ref)
        bench.device.Resize(resize, timeout=DEADLINE_S)
    seen = [next(overlooking).event for _ in range(3)]
    assert [event.region_resized.logical_bytes for event in seen[1:]] == [7 * PAGE, 6 * PAGE]
    late = host.watch()
    stalled(bench, 2)
    bench.clear()
    told = [next(stream).event for _ in range(2)]
    assert [event.sequence for event in told] == [event.sequence for event in seen[1:]]
    assert next(late).HasField("started")
