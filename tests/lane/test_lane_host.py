"""The host's end of a lane: many threads on one lane, time running out, a device that goes or goes mad."""

from __future__ import annotations

import mmap
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest

from cramagent.lane import Lane, LaneClosed, open_lane
from cramagent.node_client import NodeClient, Region
from cramagent.policy.effects import NodeStatus
from cramagent.refusals import NodeRefused
from cramagent.roads import GrpcRoad, LaneRoad, lane_of
from cramwire.lane import Answer, Geometry, Segment, pack_hello
from cramwire.refusal import Refused
from cxldevd.lanes.door import Door
from lane_peer import open_files, token
from server_helpers import ANY_PORT, DEADLINE_S, MIB, PAGE, SECOND, Bench, Host, bench_of, noise, prose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cramagent.roads import Transport

GEOMETRY = Geometry(slots=4, pages=8, ranges=4)


def lane_for(host: Host) -> Lane:
    """A lane of this host."""
    return lane_of(host.bench.host_channel, host.bench.service.address, host, DEADLINE_S)


def read(lane: Lane, dpa: int) -> bytes:
    """One page."""
    got: list[bytes] = []
    lane.begin_read([dpa], DEADLINE_S).finish(DEADLINE_S, lambda data: got.append(bytes(data)))
    return got[0]


def test_many_threads_share_one_lane() -> None:
    """More of them than there are slots: each gets its own pages."""
    with bench_of(physical=4 * MIB) as bench, lane_for(bench.attach(pages=1024)) as lane:

        def work(number: int) -> None:
            for turn in range(30):
                first, count = 16 * number, 1 + turn % 16
                data = prose(count, 1000 * number + turn)
                dpas = [page * PAGE for page in range(first, first + count)]
                assert lane.begin_write(dpas, data, DEADLINE_S).finish(DEADLINE_S).value == count
                assert read(lane, dpas[-1]) == data[-PAGE:]

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work, range(16)))


def test_large_commands_and_pages_side_by_side() -> None:
    """More large commands than cores, in several parts each, and single pages behind them: all get theirs."""
    count = 600
    with bench_of(physical=64 * MIB) as bench, lane_for(bench.attach(pages=8 * count)) as lane:
        batches = [prose(count, 1000 * number) for number in range(6)]
        dpas = [[page * PAGE for page in range(n * count, (n + 1) * count)] for n in range(6)]
        calls = [lane.begin_write(at, data, DEADLINE_S) for at, data in zip(dpas, batches, strict=True)]
        alone = lane.begin_write([7 * count * PAGE], prose(1), DEADLINE_S)
        assert alone.finish(DEADLINE_S).value == 1
        assert [call.finish(DEADLINE_S).value for call in calls] == [count] * 6
        got: list[bytes] = []
        reads = [lane.begin_read(at, DEADLINE_S) for at in dpas]
        assert read(lane, 7 * count * PAGE) == prose(1)
        for call in reads:
            call.finish(DEADLINE_S, lambda data: got.append(bytes(data)))
        assert got == batches


def test_several_commands_of_one_thread(bench: Bench, host: Host) -> None:
    """More than there are slots: the ninth waits until one is finished by its own thread or another."""
    with lane_for(host) as lane:
        calls = [lane.begin_write([page * PAGE], prose(1, page), DEADLINE_S) for page in range(8)]
        with pytest.raises(Refused) as caught:
            lane.begin_read([0], 0.01)
        assert caught.value.refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
        for call in reversed(calls):
            assert call.finish(DEADLINE_S).value == 1
        assert [read(lane, page * PAGE) for page in range(8)] == [prose(1, page) for page in range(8)]


def test_a_command_that_takes_too_long_gives_its_slot_back_later() -> None:
    """DEADLINE_EXCEEDED; its answer, when it comes, is nobody's."""
    with bench_of(trim_delay_ns=3 * SECOND) as bench:
        host = bench.attach()
        with lane_for(host) as lane:
            lane.begin_write([0], prose(1), DEADLINE_S).finish(DEADLINE_S)
            lane.begin_trim([(0, PAGE)], DEADLINE_S).finish(DEADLINE_S)
            for waiting in range(1, 9):
                call = lane.begin_flush(DEADLINE_S)
                # `waiters`: the FLUSHes and the timer.
                due_ns = bench.clock.now_ns() + 3 * SECOND
                assert bench.clock.until_waited_for(due_ns, waiters=waiting + 1)
                with pytest.raises(Refused) as caught:
                    call.finish(0.001)
                assert caught.value.refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
            # No slot is free.
            bench.clock.advance(3 * SECOND)
            assert read(lane, 0) == bytes(PAGE)


def test_a_device_that_goes_ends_calls_under_way() -> None:
    """The session ends, then its socket closes: every thread that waits hears it at once."""
    with bench_of(trim_delay_ns=3600 * SECOND) as bench:
        host = bench.attach(lease_ns=1800 * SECOND)
        with lane_for(host) as lane:
            lane.begin_write([0], prose(1), DEADLINE_S).finish(DEADLINE_S)
            lane.begin_trim([(0, PAGE)], DEADLINE_S).finish(DEADLINE_S)
            call = lane.begin_flush(DEADLINE_S)
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(call.finish, DEADLINE_S)
                assert bench.clock.until_waited_for(bench.clock.now_ns() + 3600 * SECOND)
                host.detach()
                with pytest.raises((LaneClosed, Refused)):
                    waiting.result(DEADLINE_S)
            with pytest.raises((LaneClosed, Refused)):
                lane.begin_read([0], DEADLINE_S).finish(DEADLINE_S)
            assert bench.service.door is not None
            assert bench.service.door.wait_lanes(0)
            with pytest.raises(LaneClosed):
                lane.begin_read([0], DEADLINE_S).finish(DEADLINE_S)
            lane.close()  # a second time, by the `with`, is nothing


def test_lanes_leave_no_descriptors(bench: Bench, host: Host) -> None:
    """Opened and closed, and refused."""
    assert bench.service.door is not None
    lane_for(host).close()
    assert bench.service.door.wait_lanes(0)
    before = open_files()
    for _ in range(20):
        lane_for(host).close()
        with pytest.raises(LaneClosed):
            open_lane(bench.service.address.removeprefix("unix:") + ".lane", b"x" * 16, DEADLINE_S)
    assert bench.service.door.wait_lanes(0)
    assert open_files() < before + 10  # gRPC opens and closes some of its own


def test_a_road_goes_on_beside_a_lane_that_is_gone(bench: Bench, host: Host) -> None:
    """The session lives: pages travel over gRPC, nobody notices."""
    road = LaneRoad(lane_for(host), host, GrpcRoad(bench.host_channel))
    assert road.write(host, [0], prose(1), timeout=DEADLINE_S).accepted_pages == 1
    assert bench.service.door is not None
    bench.service.door.stop()
    got: list[bytes] = []
    road.read(host, [0], lambda data: got.append(bytes(data)), timeout=DEADLINE_S)
    assert got == [prose(1)]
    assert not road.open
    assert road.trim(host, [(0, PAGE)], timeout=DEADLINE_S).trimmed_pages == 1
    assert road.flush(host, timeout=DEADLINE_S).released_media_bytes == 0
    assert road.write(host, [0], prose(1), timeout=DEADLINE_S).accepted_pages == 1
    road.close()


# -- a device that is not one -------------------------------------------------------------------


@contextmanager
def mad_device(folder: Path, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that listens where a lane's socket should be: its path."""
    path = str(folder / "mad.lane")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen()

        def let_in() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(64)
                serve(peer)

        thread = threading.Thread(target=let_in)
        thread.start()
        try:
            yield path
        finally:
            thread.join()


def test_what_is_no_lane_is_turned_down(tmp_path: Path) -> None:
    """No descriptors, too little memory, another version: LaneClosed, and nothing leaks."""
    before = open_files()
    memory = os.memfd_create("small")
    bells = [os.eventfd(0), os.eventfd(0)]

    def silence(_: socket.socket) -> None:
        """Says nothing, and hangs up."""

    def bare(peer: socket.socket) -> None:
        peer.send(pack_hello(GEOMETRY))

    def small(peer: socket.socket) -> None:
        os.ftruncate(memory, PAGE)
        socket.send_fds(peer, [pack_hello(GEOMETRY)], [memory, *bells])

    def other(peer: socket.socket) -> None:
        socket.send_fds(peer, [b"cramlane" + bytes(16)], [memory, *bells])

    for number, serve in enumerate((silence, bare, small, other)):
        (tmp_path / str(number)).mkdir()
        with mad_device(tmp_path / str(number), serve) as path, pytest.raises(LaneClosed):
            open_lane(path, b"x" * 16, DEADLINE_S)
    for descriptor in (memory, *bells):
        os.close(descriptor)
    assert open_files() <= before


@pytest.mark.parametrize("wrong", ["slot", "count", "size", "status"])
def test_answers_that_cannot_be_end_the_lane(tmp_path: Path, wrong: str) -> None:
    """The host does not read where a device that is broken tells it to."""

    def serve(peer: socket.socket) -> None:
        memory = os.memfd_create("mad")
        os.ftruncate(memory, GEOMETRY.segment_bytes)
        submitted, completed = os.eventfd(0), os.eventfd(0)
        socket.send_fds(peer, [pack_hello(GEOMETRY)], [memory, submitted, completed])
        segment = Segment(mmap.mmap(memory, GEOMETRY.segment_bytes), GEOMETRY)
        os.eventfd_read(submitted)
        slot = segment.submissions[0]
        segment.completions[0] = 99 if wrong == "slot" else slot
        claims = {"size": Answer(0, data_bytes=1 << 40), "status": Answer(8, 9)}.get(wrong, Answer(0))
        segment.put_answer(slot, claims, b"\xff" * claims.detail_bytes)
        os.eventfd_write(completed, 7 if wrong == "count" else 1)
        assert peer.recv(1) == b""
        segment.close()
        for descriptor in (memory, submitted, completed):
            os.close(descriptor)

    before = open_files()
    with mad_device(tmp_path, serve) as path, open_lane(path, b"x" * 16, DEADLINE_S) as lane:
        with pytest.raises(LaneClosed):
            lane.begin_read([0], DEADLINE_S).finish(DEADLINE_S, lambda _: None)
        assert lane.closed
    assert open_files() <= before


# -- as the agent uses it -----------------------------------------------------------------------

REGION = Region("host-a", 256 * PAGE)


def test_the_agent_takes_a_lane_where_there_is_one(bench: Bench) -> None:
    """By default; the same answers, refusals and device time come over it."""
    client = NodeClient(bench.service.address, 5 * SECOND)
    client.identify()
    session, _ = client.attach(REGION, take_over=False)
    assert client.transport == "lane"
    assert client.write(session, [0, PAGE], prose(2)).status is NodeStatus.OK
    got: dict[int, bytes] = {}

    def take(positions: object, data: bytes | memoryview) -> None:
        assert positions == [0]
        got[0] = bytes(data)

    assert client.read(session, [PAGE], take).status is NodeStatus.OK
    assert got[0] == prose(2)[PAGE:]
    refused = client.write(session, [page * PAGE for page in range(256)], noise(256))
    assert refused.status is NodeStatus.NO_MORE_WRITES
    assert 0 < refused.accepted < 256
    assert client.refused_telemetry is not None
    bench.inject(poison={"host": "host-a", "dpas": [PAGE]})
    assert client.read(session, [0, PAGE], lambda *_: None).poisoned == {1}
    assert client.trim(session, [(0, 256 * PAGE)]).status is NodeStatus.OK
    assert client.flush(session) is NodeStatus.OK
    assert min(client.device_ns.values()) > 0
    bench.reset()
    assert client.write(session, [0], prose(1)).status is NodeStatus.GONE
    assert client.gone_reason == "STALE_GENERATION"
    session, _ = client.attach(REGION, take_over=False)
    assert client.transport == "lane"
    client.detach(session)
    client.close()


def test_the_agent_can_be_told_to_stay_with_grpc(bench: Bench) -> None:
    """--transport grpc."""
    client = NodeClient(bench.service.address, 5 * SECOND, "grpc")
    session, _ = client.attach(REGION, take_over=False)
    assert client.transport == "grpc"
    assert client.write(session, [0], prose(1)).status is NodeStatus.OK
    client.close()


@pytest.mark.parametrize("settings", [{"lane": "off"}, {"listen": ANY_PORT}])
def test_the_agent_goes_on_without_a_lane_unless_told_otherwise(settings: dict[str, object]) -> None:
    """auto: gRPC. lane: refused, and the region is given back."""
    with bench_of(settings=settings) as bench:
        client = NodeClient(bench.service.address, 5 * SECOND)
        client.attach(REGION, take_over=False)
        assert client.transport == "grpc"
        client.close()
        strict = NodeClient(bench.service.address, 5 * SECOND, "lane")
        with pytest.raises(NodeRefused) as caught:
            strict.attach(Region("host-b", 64 * PAGE), take_over=False)
        assert caught.value.refusal.code is grpc.StatusCode.UNIMPLEMENTED
        strict.close()
        assert [one.telemetry.host for one in bench.status().regions] == ["host-a"]


@pytest.mark.parametrize("transport", ["auto", "lane"])
def test_a_door_that_says_nothing_costs_no_more_than_the_attach_may_take(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    """However long data calls may wait: the agent attaches anew in the middle of its work."""
    client, at_the_door = NodeClient(bench.service.address, 1000 * SECOND, transport), list[socket.socket]()

    def turn_no_one_away(_door: Door, peer: socket.socket) -> None:
        at_the_door.append(peer)

    monkeypatch.setattr(Door, "_greet", turn_no_one_away)
    client.identify()
    if transport == "auto":
        client.attach(REGION, take_over=False, wait_s=0.3)
        assert client.transport == "grpc"
    else:
        with pytest.raises(NodeRefused, match="timed out"):
            client.attach(REGION, take_over=False, wait_s=0.3)
        assert not bench.status().regions
    assert len(at_the_door) == 1
    client.close()
    at_the_door[0].close()


def test_tokens_are_not_guessed(bench: Bench, host: Host) -> None:
    """Each another, of 128 bits."""
    shown = {token(host) for _ in range(20)}
    assert len(shown) == 20
    assert {len(one) for one in shown} == {16}
