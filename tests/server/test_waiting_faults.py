"""Faults that calls wait in (FLUSH hang, stuck TRIM, latency), and the orderly end with any of them armed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.refusal import read_refusal
from cramwire.v1 import device_pb2, memory_pb2, operator_pb2
from server_helpers import DEADLINE_S, PAGE, SECOND, Bench, Host, bench_of, noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOUR = 3600 * SECOND


@pytest.fixture
def over(each_transport: str) -> Iterator[Bench]:
    """A bench for each transport."""
    with bench_of() as made:
        yield made


class Beside:
    """A call that is made on a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.answer: Any = None
        self.code: grpc.StatusCode | None = None
        self.reason = ""
        self._thread = threading.Thread(target=self._make, daemon=True)
        self._thread.start()

    def _make(self) -> None:
        try:
            self.answer = self._call()
        except grpc.RpcError as error:
            refusal = read_refusal(error)
            self.code, self.reason = refusal.code, refusal.reason

    @property
    def done(self) -> bool:
        """Whether it was answered."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """Its answer."""
        self._thread.join(DEADLINE_S)
        assert self.done
        return self.answer


def fired(bench: Bench, times: int) -> None:
    """Wait until what is armed fired so often."""
    while True:
        faults = bench.faults.ListFaults(operator_pb2.ListFaultsRequest(), timeout=DEADLINE_S).faults
        if sum(one.fired for one in faults) >= times:
            return


def flush_waits(bench: Bench) -> None:
    """Wait until a FLUSH has begun, and is not done."""
    end = time.monotonic() + DEADLINE_S
    while not bench.service.flushes.taken:
        assert time.monotonic() < end


def test_a_flush_that_hangs(over: Bench) -> None:
    """Until the fault is cleared; the media came back at once, and all else goes on."""
    host = over.attach(lease_ns=HOUR)
    host.write(0, noise(4))
    host.trim(0, 4)
    over.inject(flush_hang=operator_pb2.FlushHangFault())
    flush = Beside(host.flush)
    fired(over, 1)
    assert host.telemetry().region.media_used_bytes == 0
    host.write(0, noise(1))
    assert not flush.done
    over.clear()
    assert flush.result() is not None


def test_a_flush_that_is_slow(over: Bench) -> None:
    """So long, by the device's clock."""
    host = over.attach(lease_ns=HOUR)
    over.inject(flush_hang=operator_pb2.FlushHangFault(delay_ns=5 * SECOND))
    flush = Beside(host.flush)
    assert over.clock.until_waited_for(over.clock.now_ns() + 5 * SECOND)
    assert not flush.done
    over.clock.advance(5 * SECOND)
    assert flush.result() is not None


def test_a_stuck_trim_holds_its_media_and_the_flush_behind_it(over: Bench) -> None:
    """Pages read as zeros at once; the media comes back when the fault is cleared."""
    host = over.attach(lease_ns=HOUR)
    host.write(0, noise(4))
    used = host.telemetry().region.media_used_bytes
    over.inject(stuck_trim=operator_pb2.StuckTrimFault())
    assert host.trim(0, 4).trimmed_pages == 4
    assert host.read(0, 4) == bytes(4 * PAGE)
    flush = Beside(host.flush)
    flush_waits(over)
    assert host.telemetry().region.media_used_bytes == used
    assert not flush.done
    over.clear()
    assert flush.result().released_media_bytes == used
    assert host.telemetry().region.media_used_bytes == 0


def test_a_slow_trim_comes_back_by_itself(over: Bench) -> None:
    """The device's timer knows when; nobody has to ask."""
    host = over.attach(lease_ns=HOUR)
    host.write(0, noise(4))
    over.inject(stuck_trim=operator_pb2.StuckTrimFault(delay_ns=5 * SECOND))
    host.trim(0, 4)
    flush = Beside(host.flush)
    # The timer, and the FLUSH.
    assert over.clock.until_waited_for(over.clock.now_ns() + 5 * SECOND, waiters=2)
    over.clock.advance(5 * SECOND)
    assert flush.result().released_media_bytes > 0


def test_a_tail_of_slow_commands(over: Bench) -> None:
    """Some reads of many take long by the wall; each reports the device time that it took."""
    host = over.attach(lease_ns=HOUR)
    latency = operator_pb2.LatencyFault(
        device_jitter_ns=1000, tail_milli=200, wall_tail_ns=SECOND, device_tail_ns=50_000
    )
    over.inject(latency=latency, scope=operator_pb2.FaultScope(seed=3))
    took: list[int] = []

    def read_some() -> None:
        request = memory_pb2.ReadRequest(dpas=[0], **host.ref)
        took.extend(over.memory.Read(request, timeout=DEADLINE_S).device_ns for _ in range(30))

    reads = Beside(read_some)
    while not reads.done:
        if over.clock.until_waited_for(over.clock.now_ns() + SECOND, timeout_s=0.02):
            over.clock.advance(SECOND)
    reads.result()
    slow = [ns for ns in took if ns >= 50_000]
    assert len(took) == 30
    assert 0 < len(slow) < 15
    assert len(set(took)) > 10


ARMED: dict[str, dict[str, Any]] = {
    "unanswered": {"unanswered_command": operator_pb2.UnansweredCommandFault()},
    "flush hang": {"flush_hang": operator_pb2.FlushHangFault()},
    "stuck trim": {"stuck_trim": operator_pb2.StuckTrimFault()},
    "control stall": {"control_stall": operator_pb2.ControlStallFault()},
    "late events": {
        "event": operator_pb2.EventFault(trouble=operator_pb2.EVENT_TROUBLE_LATE, delay_ns=HOUR // 2)
    },
    "latency": {"latency": operator_pb2.LatencyFault(wall_ns=HOUR // 2)},
    "dropped connection": {"dropped_connection": operator_pb2.DroppedConnectionFault()},
}


def calls_of(host: Host, stream: Any) -> list[Beside]:
    """One of each kind, on its way, and an event stream that is open."""
    bench = host.bench
    renew = device_pb2.RenewRequest(**host.ref)
    resize = device_pb2.ResizeRequest(logical_bytes=64 * PAGE, **host.ref)
    return [
        Beside(lambda: host.write(8, noise(1))),
        Beside(lambda: host.read(0, 1)),
        Beside(lambda: host.trim(0, 2)),
        Beside(host.flush),
        Beside(lambda: bench.device.Renew(renew, timeout=DEADLINE_S)),
        Beside(lambda: bench.device.Resize(resize, timeout=DEADLINE_S)),
        Beside(lambda: list(stream)),
    ]


@pytest.mark.parametrize("name", ARMED)
def test_a_drain_ends_with_any_of_them_armed(each_transport: str, name: str) -> None:
    """Within its grace, and every call has ended: with an answer, or a failure that says so."""
    with bench_of(settings={"drain_grace_ns": SECOND // 2}) as bench:
        host = bench.attach(lease_ns=HOUR)
        host.write(0, noise(4))
        stream = host.watch()
        assert next(stream).HasField("started")
        bench.inject(**ARMED[name])
        calls = calls_of(host, stream)
        fired(bench, 1)
        bench.service.drain()
        for call in calls:
            call.result()
            assert call.code is not grpc.StatusCode.DEADLINE_EXCEEDED
