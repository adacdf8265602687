"""Who gave a call up may have stored newer bytes since: nothing of the old call may happen after that."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from cramwire.v1 import memory_pb2, operator_pb2, types_pb2
from cxldevd import from_wire
from server_helpers import DEADLINE_S, PAGE, SECOND, Bench, Host, bench_of, dpas, noise, prose, refused
from stall_helpers import Stall, stalled_codec
from transfer_helpers import waits_for

if TYPE_CHECKING:
    import pytest


def start_write(host: Host, data: bytes) -> Any:
    """A write of pages from 0 on whose answer is not waited for."""
    request = memory_pb2.WriteRequest(dpas=dpas(0, len(data) // PAGE), data=data, **host.ref)
    return host.bench.memory.Write.future(request, timeout=DEADLINE_S)


def give_up(bench: Bench, call: Any) -> None:
    """Cancel a call, and wait until the service must have heard of it."""
    call.cancel()
    health_pb2_grpc.HealthStub(bench.host_channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)


def wait_idle(bench: Bench) -> None:
    """Until no call runs."""
    bench.service._requests.wait_idle(DEADLINE_S)


def test_a_write_that_was_given_up_stores_nothing_late(
    bench: Bench, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent again and overwritten since: its bytes must not come back."""
    with stalled_codec(monkeypatch) as stall:
        first = start_write(host, prose(1, 1))
        assert stall.reached.wait(DEADLINE_S)
        give_up(bench, first)
        host.write(0, prose(1, 1))
        host.write(0, prose(1, 2))
        stall.go.set()
        wait_idle(bench)
    assert host.read(0, 1) == prose(1, 2)


def test_a_write_whose_caller_is_gone_is_not_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited behind others until nobody wanted it."""
    with bench_of(settings={"workers": 1}) as bench, stalled_codec(monkeypatch) as stall:
        host = bench.attach()
        first = start_write(host, prose(16, 1))
        assert stall.reached.wait(DEADLINE_S)
        second = start_write(host, prose(16, 2))  # not so small that it would pass by
        waits_for(lambda: bench.service.turns.waiting)
        give_up(bench, second)
        stall.go.set()
        assert first.result().accepted_pages == 16
        assert host.read(0, 16) == prose(16, 1)
        wait_idle(bench)
        assert stall.passed == 1


def test_a_trim_that_was_given_up_trims_nothing_late(
    bench: Bench, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood at the device's lock while its caller went on without it."""
    host.write(0, prose(1))
    stall, ranges = Stall(), from_wire.ranges

    def slowly(given: Any) -> Any:
        stall.pass_by()
        return ranges(given)

    monkeypatch.setattr(from_wire, "ranges", slowly)
    request = memory_pb2.TrimRequest(ranges=[types_pb2.DpaRange(start=0, length=PAGE)], **host.ref)
    trim = bench.memory.Trim.future(request, timeout=DEADLINE_S)
    assert stall.reached.wait(DEADLINE_S)
    give_up(bench, trim)
    stall.go.set()
    wait_idle(bench)
    assert host.read(0, 1) == prose(1)


def test_refused_calls_take_their_time_too(bench: Bench) -> None:
    """A latency fault delays a refused write and a poisoned read as any other; device time is counted."""
    host = bench.attach(lease_ns=60 * SECOND)
    host.write(0, prose(1))
    bench.inject(poison={"host": "host-a", "dpas": [0]})
    small = bench.attach("small", limit_media_bytes=PAGE, lease_ns=60 * SECOND)
    bench.inject(latency=operator_pb2.LatencyFault(device_ns=1_000_000, wall_ns=5 * SECOND))
    unfit = memory_pb2.WriteRequest(dpas=[0, PAGE], data=noise(2), **small.ref)
    lost = memory_pb2.ReadRequest(dpas=[0], **host.ref)
    for start in (partial(bench.memory.Write.future, unfit), partial(bench.memory.Read.future, lost)):
        call = start(timeout=DEADLINE_S)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 5 * SECOND)
        assert not call.done()
        bench.clock.advance(5 * SECOND)
        refusal = refused(call.result)
        detail = refusal.write_refused or refusal.pages_poisoned
        assert detail is not None
        assert detail.device_ns >= 1_000_000
    for operation in ("write", "read"):
        took = bench.service.registry.get_sample_value(
            "cxldev_request_device_seconds_sum", {"operation": operation}
        )
        assert took is not None
        assert took >= 0.001
