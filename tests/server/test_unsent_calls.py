"""Calls that are opened and never send their request: they hold threads, and must not hold up others."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cramwire.refusal import read_refusal
from cramwire.transport import SERVER_OPTIONS
from cramwire.v1 import device_pb2, memory_pb2, operator_pb2
from cxldevd import pools, service
from server_helpers import DEADLINE_S, Bench, bench_of, prose, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc


@contextmanager
def unsent(channel: grpc.Channel, method: str, count: int) -> Iterator[list[Any]]:
    """So many calls of a method that send nothing. They have arrived when this is entered."""
    done = threading.Event()

    def nothing() -> Iterator[bytes]:
        if not done.wait():
            yield b""

    method_of_bytes = channel.stream_unary(f"/cramwire.v1.{method}", bytes, bytes)
    calls: list[Any] = [method_of_bytes.future(nothing()) for _ in range(count)]
    check_health(channel)
    try:
        yield calls
    finally:
        for call in calls:
            call.cancel()
        done.set()


def check_health(channel: grpc.Channel) -> None:
    """As an orchestrator does."""
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_leases_and_health_go_on_beside_unsent_control_calls(bench: Bench) -> None:
    """More of them than there are control threads."""
    host = bench.attach()
    with unsent(bench.host_channel, "DeviceService/Identify", 80):
        renew = device_pb2.RenewRequest(**host.ref)
        assert bench.device.Renew(renew, timeout=DEADLINE_S).lease_ns
        assert host.write(0, prose(1)).accepted_pages == 1
        check_health(bench.host_channel)
        assert bench.status().telemetry.media_used_bytes > 0


def test_a_few_unsent_control_calls_stop_nobody(bench: Bench) -> None:
    """Eight once did."""
    with unsent(bench.host_channel, "DeviceService/Attach", 16):
        assert bench.device.Identify(device_pb2.IdentifyRequest(), timeout=DEADLINE_S).generation
    with unsent(bench.operator_channel, "FaultService/InjectFault", 16):
        assert bench.status().telemetry.media_used_bytes == 0


@pytest.mark.parametrize("side", ["host", "operator"])
def test_control_calls_beyond_the_bound_are_told_busy(side: str) -> None:
    """At once: what turns them away waits for nobody, however many come."""
    with bench_of(settings={"max_queued_calls": 4}) as bench:
        if side == "host":
            channel, method = bench.host_channel, "DeviceService/Identify"
            call: Any = partial(bench.device.Identify, device_pb2.IdentifyRequest(), timeout=DEADLINE_S)
        else:
            channel, method = bench.operator_channel, "OracleService/GetStatus"
            call = partial(bench.oracle.GetStatus, operator_pb2.GetStatusRequest(), timeout=DEADLINE_S)
        with unsent(channel, method, 16):
            refusal = refused(call)
            assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
            assert "4 calls are queued" in refusal.message


def test_unsent_data_calls_stop_nobody() -> None:
    """Not even other data calls, where there is one worker: who waits for a request has no place."""
    with bench_of(settings={"workers": 1}) as bench:
        host = bench.attach()
        with unsent(bench.host_channel, "MemoryService/Read", 8):
            assert bench.memory.Flush(memory_pb2.FlushRequest(**host.ref), timeout=DEADLINE_S).device_ns >= 0
            assert host.telemetry().region.host == "host-a"
            assert host.write(0, prose(4)).accepted_pages == 4
            assert host.read(0, 4) == prose(4)
        assert host.write(0, prose(1)).accepted_pages == 1


def test_who_is_ended_for_others_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads were taken: UNAVAILABLE, which may be tried again, and no more of them than others need."""
    monkeypatch.setattr(service, "_WAITING_DATA_CALLS", 4)
    monkeypatch.setattr(pools, "GIVEN_UP_S", 0.1)
    with bench_of(settings={"workers": 1}) as bench:
        host = bench.attach()
        places = 1 + service._RECEIVING + 4
        with unsent(bench.host_channel, "MemoryService/Read", places) as calls:
            assert host.write(0, prose(4)).accepted_pages == 4
            ended = [call for call in calls if call.done()]
            assert len(ended) == 1
            refusal = read_refusal(ended[0].exception())
            assert refusal.code.name == "UNAVAILABLE"
            assert "its request did not come" in refusal.message
            assert f"all {places} threads" in refusal.message


def test_a_dead_peer_is_looked_for() -> None:
    """GRPC's servers ask every two hours unless they are told to: its calls would hold threads that long."""
    options = dict(SERVER_OPTIONS)
    assert options["grpc.keepalive_time_ms"] + options["grpc.keepalive_timeout_ms"] <= 30_000
    assert options["grpc.http2.max_pings_without_data"] == 0
