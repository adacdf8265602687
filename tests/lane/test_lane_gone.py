"""A host that gave a command up may have stored newer bytes since: the command must not come after them."""

from __future__ import annotations

import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from cramagent.lane import LaneClosed
from cramagent.roads import lane_of
from cramwire.lane import Command, Operation
from cramwire.refusal import Refused
from cramwire.v1 import memory_pb2, memory_pb2_grpc
from cxldev.device import Device
from cxldev.outcomes import SessionRef
from cxldevd.waiting import CallerGone
from lane_peer import Peer, connect, token
from server_helpers import DEADLINE_S, PAGE, Bench, Host, dpas, prose
from stall_helpers import Stall, stalled_codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramagent.lane import Lane

BATCH = 8
"""Pages: enough for a second thread to take the next command."""


def lane_to(host: Host) -> Lane:
    """A lane of this host's session."""
    return lane_of(host.bench.host_channel, host.bench.service.address, host, DEADLINE_S)


def write_over_grpc(host: Host, data: bytes) -> None:
    """Store pages beside the lane."""
    stub = memory_pb2_grpc.MemoryServiceStub(host.bench.host_channel)
    request = memory_pb2.WriteRequest(dpas=dpas(0, len(data) // PAGE), data=data, **host.ref)
    stub.Write(request, timeout=DEADLINE_S)


def test_a_write_that_timed_out_stores_nothing_late(
    bench: Bench, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent again and overwritten since, on the same lane."""
    with lane_to(host) as lane, stalled_codec(monkeypatch) as stall:
        first = lane.begin_write(dpas(0, BATCH), prose(BATCH, 1), DEADLINE_S)
        assert stall.reached.wait(DEADLINE_S)
        with pytest.raises(Refused, match="in time"):
            first.finish(0.0)
        for seed in (1, 2):
            again = lane.begin_write(dpas(0, BATCH), prose(BATCH, seed), DEADLINE_S)
            assert again.finish(DEADLINE_S).value == BATCH
        stall.go.set()
        bench.service._requests.wait_idle(DEADLINE_S)
        assert host.read(0, BATCH) == prose(BATCH, 2)


@pytest.mark.parametrize("pages", [1, BATCH])
def test_a_write_of_a_closed_lane_stores_nothing_late(
    bench: Bench, host: Host, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """Whether or not a thread of the device is there to see it closed; what follows takes gRPC."""
    lane = lane_to(host)
    with stalled_codec(monkeypatch) as stall:
        first = lane.begin_write(dpas(0, pages), prose(pages, 1), DEADLINE_S)
        assert stall.reached.wait(DEADLINE_S)
        closing = threading.Thread(target=lane.close)
        closing.start()
        with pytest.raises(LaneClosed):
            first.finish(DEADLINE_S)
        closing.join(DEADLINE_S)
        write_over_grpc(host, prose(pages, 2))
        stall.go.set()
        assert bench.service.door is not None
        assert bench.service.door.wait_lanes(0)
    assert host.read(0, pages) == prose(pages, 2)


def test_a_withdrawn_command_frees_its_slot(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the device has answered it: more can be given up than there are slots."""
    with lane_to(host) as lane:
        for _ in range(3 * lane.slots):
            with stalled_codec(monkeypatch) as stall:
                call = lane.begin_write([0], prose(1), DEADLINE_S)
                assert stall.reached.wait(DEADLINE_S)
                with pytest.raises(Refused, match="in time"):
                    call.finish(0.0)
        assert lane.begin_write([0], prose(1, 3), DEADLINE_S).finish(DEADLINE_S).value == 1
        assert host.read(0, 1) == prose(1, 3)


# -- a host that withdraws nothing: its barrier is OpenLane ------------------------------------------


@pytest.mark.parametrize("pages", [1, BATCH])
def test_once_another_lane_is_promised_the_earlier_one_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    """Whatever its commands had begun: they are dropped when they would change something."""
    host = bench.attach("peer")
    with Peer(host) as peer, stalled_codec(monkeypatch) as stall:
        peer.segment.addresses[0][:pages] = memoryview(array("Q", dpas(0, pages)))
        peer.segment.data[0][: pages * PAGE] = prose(pages, 1)
        peer.submit(0, Command(Operation.WRITE, pages, pages * PAGE))
        assert stall.reached.wait(DEADLINE_S)
        token(host)
        write_over_grpc(host, prose(pages, 2))
        stall.go.set()
        assert bench.service.door is not None
        assert bench.service.door.wait_lanes(0)
    assert host.read(0, pages) == prose(pages, 2)


def test_a_promise_waits_for_a_command_that_changes_things_now(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in its lane while that was open, it is carried out: before the promise, not behind it."""
    host = bench.attach("peer")
    stall, trim = Stall(), Device.trim

    def slowly(*given: Any) -> Any:
        stall.pass_by()
        return trim(*given)

    monkeypatch.setattr(Device, "trim", slowly)
    with Peer(host) as peer, ThreadPoolExecutor(1) as threads:
        write_over_grpc(host, prose(1))
        peer.segment.addresses[0][:2] = memoryview(array("Q", [0, PAGE]))
        peer.submit(0, Command(Operation.TRIM, 1, 0))
        assert stall.reached.wait(DEADLINE_S)
        promise = threads.submit(token, host)
        assert not promise.done()
        stall.go.set()
        promise.result(DEADLINE_S)
        assert host.read(0, 1) == bytes(PAGE)


def test_a_new_promise_voids_the_one_before(bench: Bench, host: Host) -> None:
    """A token that was shown too late must not end the lane that came of a newer one."""
    first, second = token(host), token(host)
    for shown, good in ((first, False), (second, True)):
        with connect(bench) as peer:
            peer.send(shown)
            assert bool(peer.recv(64)) is good


def test_a_promise_that_nobody_waits_for_ends_no_lane(bench: Bench, host: Host) -> None:
    """It was given up, asked for again, and the lane that came of that is in use."""

    class Gone:
        """Who has given up."""

        def is_active(self) -> bool:
            """No more."""
            return False

        def add_callback(self, callback: Callable[[], None]) -> bool:
            """It has ended already."""
            return False

    door = bench.service.door
    assert door is not None
    with lane_to(host) as lane:
        with pytest.raises(CallerGone):
            door.open_lane(SessionRef(host.session, host.generation), Gone())
        assert lane.begin_write([0], prose(1), DEADLINE_S).finish(DEADLINE_S).value == 1
