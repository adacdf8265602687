"""Commands whose host hears nothing: no answer, or no connection any more. Over every transport."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.refusal import read_refusal
from cramwire.v1 import device_pb2, device_pb2_grpc, memory_pb2, memory_pb2_grpc, operator_pb2, types_pb2
from cxldevd.addresses import Address
from server_helpers import DEADLINE_S, PAGE, PATIENT, SECOND, Bench, Host, bench_of, dpas, noise, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON_S = 0.2
"""The deadline of calls that are not answered."""
HOUR = 3600 * SECOND


@pytest.fixture
def over(each_transport: str) -> Iterator[Bench]:
    """A bench for each transport."""
    with bench_of() as made:
        yield made


def unanswered(bench: Bench, *, carried_out: bool = False, **scope: Any) -> str:
    """Arm it; its id."""
    fault = operator_pb2.UnansweredCommandFault(carried_out=carried_out)
    return bench.inject(unanswered_command=fault, scope=operator_pb2.FaultScope(**scope)).fault_id


def dropping(bench: Bench, *, carried_out: bool = False, **scope: Any) -> str:
    """Arm it; its id."""
    fault = operator_pb2.DroppedConnectionFault(carried_out=carried_out)
    return bench.inject(dropped_connection=fault, scope=operator_pb2.FaultScope(**scope)).fault_id


def write_of(host: Host, data: bytes) -> memory_pb2.WriteRequest:
    """A write from page 0 on."""
    return memory_pb2.WriteRequest(dpas=dpas(0, len(data) // PAGE), data=data, **host.ref)


def fired(bench: Bench) -> int:
    """How often the one fault that is armed fired."""
    (one,) = bench.faults.ListFaults(operator_pb2.ListFaultsRequest(), timeout=DEADLINE_S).faults
    return one.fired


def let_go(bench: Bench) -> None:
    """Wait until no call is held. A lane's host gives up without a sound: the clock must run."""
    end = time.monotonic() + DEADLINE_S
    while bench.service.losses.held:
        assert time.monotonic() < end
        # In small steps: on a fast machine, a lease of an hour would run out meanwhile.
        bench.clock.advance(SECOND // 1000)


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_write_without_an_answer(over: Bench, carried_out: bool) -> None:
    """Its deadline ends it. Whether it was carried out shows in what is read later."""
    host = over.attach(lease_ns=HOUR)
    host.write(0, noise(2, 1))
    unanswered(over, carried_out=carried_out)
    refusal = refused(partial(over.memory.Write, write_of(host, noise(2, 2)), timeout=SOON_S))
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert fired(over) == 1
    over.clear()
    let_go(over)
    assert host.read(0, 2) == noise(2, 2 if carried_out else 1)


@pytest.mark.parametrize("carried_out", [False, True])
def test_a_write_whose_connection_goes(over: Bench, carried_out: bool) -> None:
    """A lane's host goes on over gRPC; one on gRPC is told UNAVAILABLE, and connects anew."""
    host = over.attach(lease_ns=HOUR)
    host.write(0, noise(2, 1))
    dropping(over, carried_out=carried_out, count=2)
    refusal = refused(partial(over.memory.Write, write_of(host, noise(2, 2)), timeout=DEADLINE_S))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "")
    over.clear()
    over.device.Identify(device_pb2.IdentifyRequest(), timeout=DEADLINE_S, wait_for_ready=True)
    assert host.read(0, 2) == noise(2, 2 if carried_out else 1)


def test_many_lost_answers_use_nothing_up(over: Bench) -> None:
    """More of them than a lane has slots, and than there are workers."""
    host = over.attach(lease_ns=HOUR)
    unanswered(over, operations=[operator_pb2.OPERATION_READ])
    request = memory_pb2.ReadRequest(dpas=[0], **host.ref)
    for _ in range(12):
        assert refused(partial(over.memory.Read, request, timeout=0.05)).code.name == "DEADLINE_EXCEEDED"
        let_go(over)
    assert host.write(0, noise(1)).accepted_pages == 1
    over.clear()
    assert host.read(0, 1) == noise(1)


def test_a_share_and_a_count(over: Bench) -> None:
    """Some of the reads, until it has fired often enough: then it is not armed any more."""
    host = over.attach(lease_ns=HOUR)
    unanswered(over, share_milli=300, seed=5, count=2)
    reads = 0
    while over.faults.ListFaults(operator_pb2.ListFaultsRequest(), timeout=DEADLINE_S).faults:
        reads += 1
        with contextlib.suppress(grpc.RpcError):
            over.memory.Read(memory_pb2.ReadRequest(dpas=[0], **host.ref), timeout=SOON_S)
    assert 2 < reads < 40
    assert host.read(0, 1) == bytes(PAGE)
    let_go(over)


def test_clearing_ends_the_waiting(over: Bench) -> None:
    """As a failure of the transport does: who asks again is answered."""
    host = over.attach(lease_ns=HOUR)
    first = unanswered(over)
    met: list[Any] = []

    def read() -> None:
        try:
            host.read(0, 1)
        except grpc.RpcError as error:
            met.append(read_refusal(error))

    thread = threading.Thread(target=read)
    thread.start()
    over.clear(wait_until_fired(over, first))
    thread.join(DEADLINE_S)
    assert (met[0].code.name, met[0].reason) == ("UNAVAILABLE", "")
    assert "was not carried out" in met[0].message
    assert host.read(0, 1) == bytes(PAGE)


def wait_until_fired(bench: Bench, fault_id: str) -> str:
    """Wait until a call is held by it."""
    end = time.monotonic() + DEADLINE_S
    while not bench.service.losses.held:
        assert time.monotonic() < end
        assert fired(bench) <= 1
    return fault_id


def test_what_is_lost_stays_lost_when_its_fault_ends_by_itself(bench: Bench, host: Host) -> None:
    """After so many firings, say. Clearing everything lets go all the same."""
    unanswered(bench, count=1)
    held = bench.memory.Read.future(memory_pb2.ReadRequest(dpas=[0], **host.ref), timeout=DEADLINE_S)
    end = time.monotonic() + DEADLINE_S
    while not bench.service.losses.held:
        assert time.monotonic() < end
    assert host.read(0, 1) == bytes(PAGE)
    assert not held.done()
    bench.clear()
    assert refused(held.result).code is grpc.StatusCode.UNAVAILABLE


def test_held_calls_hold_no_worker() -> None:
    """One host hears nothing on many calls; with one worker, the other host is served."""
    with bench_of(settings={"workers": 1}) as bench:
        mute, other = bench.attach("mute"), bench.attach("other")
        unanswered(bench, host="mute")
        request = memory_pb2.ReadRequest(dpas=[0], **mute.ref)
        calls: list[Any] = [bench.memory.Read.future(request, timeout=DEADLINE_S) for _ in range(20)]
        for _ in range(5):
            assert other.write(0, noise(1)).accepted_pages == 1
            assert other.read(0, 1) == noise(1)
        for call in calls:
            call.cancel()


def test_an_attach_without_an_answer_happened(bench: Bench) -> None:
    """Control calls, too: the host knows nothing of its region until it takes it over."""
    unanswered(bench, carried_out=True, operations=[operator_pb2.OPERATION_ATTACH])
    request = device_pb2.AttachRequest(host="host-a", logical_bytes=PAGE)
    assert refused(partial(bench.device.Attach, request, timeout=SOON_S)).code.name == "DEADLINE_EXCEEDED"
    bench.clear()
    assert refused(partial(bench.device.Attach, request)).reason == "ALREADY_ATTACHED"
    assert bench.attach(take_over=True).session
    assert bench.status().regions[0].lease_remaining_ns > 0


def test_a_trim_that_is_carried_out_unheard_is_released_in_time() -> None:
    """The device's timer knows of it, though nobody waits for it."""
    with bench_of(trim_delay_ns=5 * SECOND) as bench:
        host = bench.attach(lease_ns=HOUR)
        host.write(0, noise(4))
        unanswered(bench, carried_out=True)
        one = memory_pb2.TrimRequest(ranges=[types_pb2.DpaRange(start=0, length=4 * PAGE)], **host.ref)
        assert refused(partial(bench.memory.Trim, one, timeout=SOON_S)).code.name == "DEADLINE_EXCEEDED"
        bench.clear()
        assert host.telemetry().trim_queued_pages == 4
        bench.clock.advance(5 * SECOND)
        assert host.telemetry().trim_queued_pages == 0


# -- connections --------------------------------------------------------------------------------


def own_connection(bench: Bench) -> grpc.Channel:
    """A channel that shares its connection with none."""
    return bench.channel(bench.service.address, [*PATIENT, ("grpc.use_local_subchannel_pool", 1)])


def test_one_tcp_connection_is_dropped_and_no_other(bench: Bench) -> None:
    """All calls on it end, event streams too; another host's go on."""
    host, other = bench.attach("host-a", lease_ns=HOUR), bench.attach("host-b", lease_ns=HOUR)
    channel = own_connection(bench)
    streams: list[Any] = [
        device_pb2_grpc.DeviceServiceStub(one).WatchEvents(
            device_pb2.WatchEventsRequest(**each.ref), timeout=DEADLINE_S
        )
        for one, each in ((channel, host), (bench.host_channel, other))
    ]
    for stream in streams:
        assert next(stream).HasField("started")
    dropping(bench, host="host-a")
    memory = memory_pb2_grpc.MemoryServiceStub(channel)
    request = memory_pb2.ReadRequest(dpas=[0], **host.ref)
    assert refused(partial(memory.Read, request, timeout=DEADLINE_S)).code.name == "UNAVAILABLE"
    assert refused(partial(next, streams[0])).code.name == "UNAVAILABLE"
    bench.device.Resize(device_pb2.ResizeRequest(logical_bytes=PAGE, **other.ref), timeout=DEADLINE_S)
    assert next(streams[1]).event.HasField("region_resized")
    bench.clear()
    assert memory.Read(request, timeout=DEADLINE_S, wait_for_ready=True).data == bytes(PAGE)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_connection_is_found() -> None:
    """Its peer is written in brackets."""
    with bench_of(settings={"listen": Address("::1", 0)}) as bench:
        host = bench.attach()
        dropping(bench)
        assert refused(partial(host.read, 0, 1)).code.name == "UNAVAILABLE"
        bench.clear()
