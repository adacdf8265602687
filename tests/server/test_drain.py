"""The orderly end: NOT_SERVING, waiters are let go, what runs is finished."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cramwire.refusal import read_refusal
from cramwire.v1 import memory_pb2, operator_pb2
from cxldevd.addresses import Address
from server_helpers import DEADLINE_S, PAGE, SECOND, Bench, bench_of, prose, raw_call, refused

SERVICES = {
    "host": ("", "cramwire.v1.DeviceService", "cramwire.v1.MemoryService"),
    "operator": ("", "cramwire.v1.FaultService", "cramwire.v1.RegionService", "cramwire.v1.OracleService"),
}


def draining(bench: Bench) -> threading.Thread:
    """A drain that goes on beside the test."""
    thread = threading.Thread(target=bench.service.drain)
    thread.start()
    return thread


def test_health_tells_of_every_service(bench: Bench) -> None:
    """On both listeners, by name; of others it knows nothing."""
    for side, channel in (("host", bench.host_channel), ("operator", bench.operator_channel)):
        health = health_pb2_grpc.HealthStub(channel)
        for name in SERVICES[side]:
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        unknown = health_pb2.HealthCheckRequest(service="cramwire.v1.Nothing")
        assert refused(partial(health.Check, unknown)).code.name == "NOT_FOUND"


def test_a_probes_listener_tells_of_health_alone() -> None:
    """`--health`: for probes that speak no TLS. Neither hosts nor operators are served there."""
    with bench_of(settings={"health": Address("127.0.0.1", 0)}) as bench:
        assert bench.service.probed is not None
        channel = bench.channel(bench.service.probed.address)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        for path in ("cramwire.v1.DeviceService/Attach", "cramwire.v1.FaultService/InjectFault"):
            assert refused(partial(raw_call, channel, f"/{path}", b"")).code.name == "UNIMPLEMENTED"
        thread = draining(bench)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        thread.join()


def test_a_drain_says_not_serving_first() -> None:
    """Who watches the health of a service hears of it before the stream ends."""
    with bench_of() as bench:
        watch = health_pb2_grpc.HealthStub(bench.host_channel).Watch(
            health_pb2.HealthCheckRequest(service="cramwire.v1.MemoryService"), timeout=DEADLINE_S
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        thread = draining(bench)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        thread.join()


def test_a_drain_ends_watchers_and_flushes() -> None:
    """With DEVICE_BUSY: come back later. Nobody waits for the grace to pass."""
    with bench_of(trim_delay_ns=3600 * SECOND) as bench:
        host = bench.attach()
        streams: list[Any] = [host.watch(), bench.watch_all()]
        for stream in streams:
            assert next(stream).HasField("started")
        host.write(0, prose(1))
        host.trim(0, 1)
        flush = bench.memory.Flush.future(memory_pb2.FlushRequest(**host.ref), timeout=DEADLINE_S)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 3600 * SECOND)
        thread = draining(bench)
        for stream in streams:
            refusal = refused(partial(list, stream))
            assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
        error = flush.exception()
        assert isinstance(error, grpc.RpcError)
        assert read_refusal(error).reason == "DEVICE_BUSY"
        thread.join()


def test_a_drain_lets_data_calls_finish() -> None:
    """A write that was taken up gets its answer; new calls are turned away."""
    with bench_of() as bench:
        host = bench.attach(lease_ns=60 * SECOND)
        bench.inject(latency=operator_pb2.LatencyFault(wall_ns=5 * SECOND))
        request = memory_pb2.WriteRequest(dpas=[0], data=bytes(PAGE), **host.ref)
        write = bench.memory.Write.future(request, timeout=DEADLINE_S)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 5 * SECOND)
        watch = health_pb2_grpc.HealthStub(bench.host_channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=DEADLINE_S
        )
        next(watch)
        thread = draining(bench)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        bench.clock.advance(5 * SECOND)
        assert write.result().accepted_pages == 1
        thread.join()


def test_a_drain_cuts_off_what_outlasts_the_grace() -> None:
    """A call that would go on for an hour is cancelled; nothing hangs."""
    with bench_of(settings={"drain_grace_ns": SECOND // 20}) as bench:
        host = bench.attach()
        bench.inject(latency=operator_pb2.LatencyFault(wall_ns=3600 * SECOND))
        request = memory_pb2.WriteRequest(dpas=[0], data=bytes(PAGE), **host.ref)
        write = bench.memory.Write.future(request, timeout=DEADLINE_S)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 3600 * SECOND)
        bench.service.drain()
        assert isinstance(write.exception(), grpc.RpcError)


def test_no_thread_is_left_behind() -> None:
    """Services come and go in one process; each takes its threads with it."""
    before = {thread.name for thread in threading.enumerate()}
    with bench_of() as bench:
        host = bench.attach()
        stream = host.watch()
        next(stream)
        host.write(0, prose(4))
    after = {thread.name for thread in threading.enumerate() if thread.name.startswith("cxldevd")}
    assert after <= before
