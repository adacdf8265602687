"""A lane's life at the device: how it begins, that its commands wait and count like gRPC's, how it ends."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import code_pb2
from prometheus_client import generate_latest

from cramagent.roads import LaneUnavailable, lane_of
from cramwire.lane import Command, Operation
from cramwire.refusal import read_refusal
from cramwire.v1 import lane_pb2, lane_pb2_grpc, operator_pb2
from cxldevd.addresses import Address
from cxldevd.lanes import door
from cxldevd.lanes.lane import Lane
from cxldevd.listener import BindError
from lane_peer import Peer, lane_socket, open_files, token, turned_out
from server_helpers import ANY_PORT, DEADLINE_S, PAGE, SECOND, Bench, Host, bench_of, noise, prose, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from cramwire.refusal import Refusal

HOUR = 3600 * SECOND


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """For calls that wait."""
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_pages_really_take_the_lane(bench: Bench, host: Host) -> None:
    """Not gRPC behind the scenes: the lane is open, and gRPC's own count of calls stands still."""
    data = prose(3) + noise(2) + bytes(PAGE)
    host.write(4, data)
    assert host.read(4, 6) == data
    assert bench.service.door is not None
    assert bench.service.door.lanes == 1


def test_commands_are_counted_and_timed_as_calls_are(bench: Bench, host: Host) -> None:
    """The same counters, by operation and code, and by reason."""
    host.write(0, prose(1))
    refused(lambda: host.write(300, prose(1)))
    host.read(0, 1)
    host.trim(0, 1)
    host.flush()
    lines = generate_latest(bench.service.registry).decode().splitlines()
    for line in (
        'cxldev_requests_total{code="OK",operation="write"} 1.0',
        'cxldev_requests_total{code="OUT_OF_RANGE",operation="write"} 1.0',
        'cxldev_requests_total{code="OK",operation="read"} 1.0',
        'cxldev_requests_total{code="OK",operation="trim"} 1.0',
        'cxldev_requests_total{code="OK",operation="flush"} 1.0',
        "cxldev_reject_out_of_range_total 1.0",
        'cxldev_request_wall_seconds_count{operation="write"} 2.0',
        "cxldev_lanes 1.0",
    ):
        assert line in lines


def test_device_time_and_wall_time_are_told_apart(bench: Bench, threads: ThreadPoolExecutor) -> None:
    """A latency fault delays a lane's answers by the device's clock, and other commands go on meanwhile."""
    host = bench.attach(lease_ns=HOUR // 2)
    host.write(0, prose(1))
    fault = bench.inject(latency=operator_pb2.LatencyFault(device_ns=7_000, wall_ns=5 * SECOND)).fault_id
    slow = [threads.submit(host.read, 0, 1) for _ in range(6)]
    assert bench.clock.until_waited_for(bench.clock.now_ns() + 5 * SECOND, waiters=6)
    bench.clear(fault)
    assert host.write(1, prose(1)).accepted_pages == 1
    assert not any(one.done() for one in slow)
    bench.clock.advance(5 * SECOND)
    assert all(one.result(DEADLINE_S) == prose(1) for one in slow)


def test_time_dilation_holds_on_a_lane(threads: ThreadPoolExecutor) -> None:
    """So many ns of wall time for each ns of device time."""
    with bench_of(settings={"time_dilation": 1000.0}) as bench:
        host = bench.attach()
        write = threads.submit(host.write, 0, prose(1))
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 250_000)
        bench.clock.advance(250_000)
        assert write.result(DEADLINE_S).device_ns == 250


def test_a_flush_waits_and_holds_nobody_up(threads: ThreadPoolExecutor) -> None:
    """Several, even: the lane goes on beside them."""
    with bench_of(trim_delay_ns=3 * SECOND) as bench:
        host = bench.attach()
        host.write(0, noise(4))
        host.trim(0, 4)
        flushes = [threads.submit(host.flush) for _ in range(5)]
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 3 * SECOND, waiters=6)
        assert host.write(8, prose(1)).accepted_pages == 1
        bench.clock.advance(3 * SECOND)
        assert all(one.result(DEADLINE_S).released_media_bytes == 4 * (PAGE + 16) for one in flushes)


def test_a_host_that_dies_in_a_flush_leaves_nothing_behind() -> None:
    """The waiting thread is let go, and counted as cancelled."""
    with bench_of(trim_delay_ns=HOUR) as bench:
        bystander = bench.attach("bystander", lease_ns=HOUR // 2)
        host = bench.attach("dying", lease_ns=HOUR // 2)
        before = open_files()
        peer = Peer(host)
        peer.segment.data[0][:PAGE] = prose(1)
        peer.segment.addresses[0][0] = 0
        assert peer.ask(0, Command(Operation.WRITE, 1, PAGE)).code == code_pb2.OK
        peer.segment.addresses[0][1] = PAGE
        assert peer.ask(0, Command(Operation.TRIM, 1, 0)).code == code_pb2.OK
        peer.submit(1, Command(Operation.FLUSH, 0, 0))
        assert bench.clock.until_waited_for(bench.clock.now_ns() + HOUR)
        peer.leave()
        assert bench.service.door is not None
        assert bench.service.door.wait_lanes(0)
        assert open_files() <= before
        assert bystander.telemetry().trim_queued_pages == 1


def test_too_much_in_flight_is_told_on_a_lane(threads: ThreadPoolExecutor) -> None:
    """The bound is the host's and the device's: all transports together."""
    with bench_of(settings={"max_in_flight_bytes": 8 * PAGE}) as bench:  # 4 for one host
        host = bench.attach(lease_ns=HOUR // 2)
        fault = bench.inject(latency=operator_pb2.LatencyFault(wall_ns=5 * SECOND)).fault_id
        slow = threads.submit(host.write, 0, prose(3))
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 5 * SECOND)
        refusal = refused(lambda: host.write(8, prose(2)))
        assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
        bench.clear(fault)
        assert host.write(8, prose(1)).accepted_pages == 1
        bench.clock.advance(5 * SECOND)
        assert slow.result(DEADLINE_S).accepted_pages == 3


# -- the end ------------------------------------------------------------------------------------


def test_the_end_of_a_session_ends_its_lane(bench: Bench) -> None:
    """Detached, taken over, expired, reset: the socket closes, whether or not the host says anything."""

    def detach(host: Host) -> None:
        host.detach()

    def take_over(host: Host) -> None:
        bench.attach(host.name, take_over=True)

    def expire(_: Host) -> None:
        bench.clock.advance(11 * SECOND)

    def reset(_: Host) -> None:
        bench.reset()

    for end in (detach, take_over, expire, reset):
        host = bench.attach(end.__name__)
        with Peer(host) as peer:
            end(host)
            assert turned_out(peer.socket), end.__name__
    assert bench.service.door is not None
    assert bench.service.door.wait_lanes(0)


def test_a_session_has_one_lane(host: Host) -> None:
    """A new one ends the one before."""
    with Peer(host) as first, Peer(host) as second:
        assert turned_out(first.socket)
        assert second.ask(0, Command(Operation.FLUSH, 0, 0)).code == code_pb2.OK


def test_lanes_are_bounded() -> None:
    """One more is told DEVICE_BUSY; a new one of the same session still fits."""
    with bench_of(settings={"max_lanes": 2}) as bench:
        hosts = [bench.attach(f"host-{number}", pages=64) for number in range(3)]
        with Peer(hosts[0]), Peer(hosts[1]) as second:
            refusal = refused(lambda: token(hosts[2]))
            assert (refusal.code.name, refusal.reason) == ("UNAVAILABLE", "DEVICE_BUSY")
            second.leave()
            with Peer(hosts[0]):
                pass
        assert hosts[2].write(0, prose(1)).accepted_pages == 1


def test_a_lane_counts_from_the_moment_its_host_has_it(
    monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    """Who asks for one while the last one is handed over is told, however quick it is."""
    with bench_of(settings={"max_lanes": 1}) as bench:
        hosts = [bench.attach(f"host-{number}", pages=64) for number in range(2)]
        asked: SimpleQueue[Future[Refusal]] = SimpleQueue()

        class HandedOver(Lane):
            def __init__(self, *facts: Any, **name: Any) -> None:
                super().__init__(*facts, **name)
                early = threads.submit(refused, lambda: token(hosts[1]))
                wait([early], timeout=0.1)
                asked.put(early)

        monkeypatch.setattr(door, "Lane", HandedOver)
        with Peer(hosts[0]):
            assert asked.get(timeout=DEADLINE_S).result(DEADLINE_S).reason == "DEVICE_BUSY"


def test_the_end_of_the_service_ends_all_lanes() -> None:
    """A waiting command is answered, sockets and files go away, threads end."""
    with bench_of(trim_delay_ns=HOUR) as bench:
        path = Path(lane_socket(bench))
        host = bench.attach(lease_ns=HOUR // 2)
        host.write(0, prose(1))
        host.trim(0, 1)
        peer = Peer(host)
        peer.submit(0, Command(Operation.FLUSH, 0, 0))
        assert bench.clock.until_waited_for(bench.clock.now_ns() + HOUR)
    with peer:
        assert peer.answer()[1].code == code_pb2.UNAVAILABLE
        assert turned_out(peer.socket)
    assert not path.exists()
    assert not [one for one in threading.enumerate() if one.name.startswith("cxldevd-lane")]


def test_nothing_new_is_begun_while_the_service_drains(bench: Bench, host: Host) -> None:
    """DEVICE_BUSY, as over gRPC."""
    with Peer(host) as peer:
        bench.service.runtime.drain()
        answer = peer.ask(0, Command(Operation.READ, 1, 0))
        assert answer.code == code_pb2.UNAVAILABLE
        assert b"shutting down" in peer.segment.detail(0, answer.detail_bytes)


# -- where there are lanes ----------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"lane": "off"}, {"listen": ANY_PORT}])
def test_where_there_are_no_lanes_there_is_no_service(settings: dict[str, object]) -> None:
    """Switched off, or on TCP: UNIMPLEMENTED, no socket, and pages still travel."""
    with bench_of(settings=settings) as bench:
        host = bench.attach()
        with pytest.raises(grpc.RpcError) as caught:
            lane_pb2_grpc.LaneServiceStub(bench.host_channel).OpenLane(
                lane_pb2.OpenLaneRequest(**host.ref), timeout=DEADLINE_S
            )
        assert read_refusal(caught.value).code is grpc.StatusCode.UNIMPLEMENTED
        assert bench.service.door is None


def test_a_lane_socket_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """As for the other addresses; what an earlier process left behind is no hindrance."""
    (tmp_path / "hosts.lane").mkdir()
    address = Address("", 0, str(tmp_path / "hosts"))
    with (
        pytest.raises(BindError, match=r"cannot listen on unix:.*hosts\.lane"),
        bench_of(settings={"listen": address}),
    ):
        pass
    assert not os.path.lexists(address.path)


def test_a_lane_that_cannot_be_reached_is_no_error_of_the_device(bench: Bench, host: Host) -> None:
    """A host in another mount namespace, say, sees the one socket and not the other."""
    Path(lane_socket(bench)).unlink()
    session = Host(bench, host.name, host.session, host.generation)
    with pytest.raises(LaneUnavailable, match="No such file"):
        lane_of(bench.host_channel, bench.service.address, session, DEADLINE_S)
