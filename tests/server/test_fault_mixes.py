"""Seeded mixes of faults over a real port: no wrong byte, nothing stuck, all media back. Both transports.

What the core does under faults is judged elsewhere, in hundreds of mixes; here are a few with sockets
and threads.
"""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.refusal import Refusal, read_refusal
from cramwire.v1 import device_pb2, memory_pb2, operator_pb2, types_pb2
from server_helpers import DEADLINE_S, MIB, PAGE, SECOND, Bench, Host, bench_of, dpas, noise, prose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGES = 96
HOUR = 3600 * SECOND
TRY_S = 0.1
"""How long one try may take while faults are armed."""
STEPS = 48
MS = 1_000_000

Draw = random.Random


def some(draw: Draw) -> operator_pb2.FaultScope:
    """A share of the commands of our host, or the next few."""
    scope = operator_pb2.FaultScope(host="host-a", seed=draw.randrange(1000))
    if draw.random() < 0.5:
        scope.share_milli = draw.randrange(100, 400)
    else:
        scope.count = draw.randrange(1, 4)
    return scope


FAULTS: dict[str, Callable[[Draw], dict[str, Any]]] = {
    "unanswered": lambda draw: {
        "unanswered_command": operator_pb2.UnansweredCommandFault(carried_out=draw.random() < 0.5),
        "scope": some(draw),
    },
    "dropped": lambda draw: {
        "dropped_connection": operator_pb2.DroppedConnectionFault(carried_out=draw.random() < 0.5),
        "scope": some(draw),
    },
    "refused": lambda draw: {
        "refused_command": operator_pb2.RefusedCommandFault(),
        "scope": some(draw),
    },
    "stall": lambda draw: {
        "control_stall": operator_pb2.ControlStallFault(delay_ns=draw.randrange(0, 300) * MS),
        "scope": some(draw),
    },
    "events": lambda draw: {
        "event": operator_pb2.EventFault(trouble=operator_pb2.EVENT_TROUBLE_LOST),
        "scope": some(draw),
    },
    "stuck trim": lambda draw: {
        "stuck_trim": operator_pb2.StuckTrimFault(delay_ns=draw.randrange(0, 2) * 50 * MS),
        "scope": some(draw),
    },
    "flush hang": lambda draw: {
        "flush_hang": operator_pb2.FlushHangFault(delay_ns=draw.randrange(0, 2) * 50 * MS),
        "scope": some(draw),
    },
    "latency": lambda draw: {
        "latency": operator_pb2.LatencyFault(wall_jitter_ns=20 * MS, tail_milli=50, wall_tail_ns=100 * MS),
        "scope": some(draw),
    },
    "exhaustion": lambda draw: {
        "exhaustion": operator_pb2.ExhaustionFault(share_milli=draw.randrange(500, 1000))
    },
}


@contextmanager
def running_clock(bench: Bench) -> Iterator[None]:
    """The bench's time passes, some ten times as fast as ours."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.002):
            bench.clock.advance(20 * MS)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Mix:
    """One host that writes, reads and trims while faults come and go; it knows what each page may hold."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.draw = Draw(seed)
        self.host: Host = bench.attach(pages=PAGES, lease_ns=HOUR)
        self.may_be: dict[int, set[bytes]] = {page: {bytes(PAGE)} for page in range(PAGES)}
        self.lost_answers = 0

    def tried(self, call: Callable[..., Any], request: Any) -> Any | Refusal:
        """The answer, or what came instead."""
        try:
            return call(request, timeout=TRY_S)
        except grpc.RpcError as error:
            return read_refusal(error)

    def write(self, first: int, count: int) -> None:
        """After a lost answer, both old and new bytes are right."""
        make = noise if self.draw.random() < 0.6 else prose
        data = make(count, self.draw.randrange(1 << 30))
        new = [data[page * PAGE : (page + 1) * PAGE] for page in range(count)]
        request = memory_pb2.WriteRequest(dpas=dpas(first, count), data=data, **self.host.ref)
        answer = self.tried(self.bench.memory.Write, request)
        surely = count
        if isinstance(answer, Refusal):
            surely = answer.write_refused.accepted_pages if answer.write_refused is not None else 0
            perhaps = count if self.unheard(answer) else surely
            for page in range(surely, perhaps):
                self.may_be[first + page].add(new[page])
        for page in range(surely):
            self.may_be[first + page] = {new[page]}

    def read(self, first: int, count: int) -> None:
        """What is read is right, and settles what was in doubt."""
        request = memory_pb2.ReadRequest(dpas=dpas(first, count), **self.host.ref)
        answer = self.tried(self.bench.memory.Read, request)
        if isinstance(answer, Refusal):
            self.unheard(answer)
        else:
            self.check(first, answer.data)

    def check(self, first: int, data: bytes) -> None:
        """Bytes of pages from `first` on."""
        for index in range(len(data) // PAGE):
            page = data[index * PAGE : (index + 1) * PAGE]
            assert page in self.may_be[first + index], f"page {first + index} holds what it never should"
            self.may_be[first + index] = {page}

    def trim(self, first: int, count: int) -> None:
        """Likewise."""
        one = types_pb2.DpaRange(start=first * PAGE, length=count * PAGE)
        answer = self.tried(self.bench.memory.Trim, memory_pb2.TrimRequest(ranges=[one], **self.host.ref))
        heard = not isinstance(answer, Refusal)
        if not heard and not self.unheard(answer):
            return
        for page in range(first, first + count):
            self.may_be[page] = {bytes(PAGE)} if heard else {bytes(PAGE), *self.may_be[page]}

    def control(self) -> None:
        """A renewal, answered or not."""
        answer = self.tried(self.bench.device.Renew, device_pb2.RenewRequest(**self.host.ref))
        if isinstance(answer, Refusal):
            self.unheard(answer)

    def flush(self) -> None:
        """Likewise."""
        answer = self.tried(self.bench.memory.Flush, memory_pb2.FlushRequest(**self.host.ref))
        if isinstance(answer, Refusal):
            self.unheard(answer)

    def unheard(self, refusal: Refusal) -> bool:
        """Whether nobody knows what became of the command; else it is a refusal that faults may give."""
        if refusal.reason:
            assert refusal.reason in {"NO_MORE_WRITES", "COMMAND_REFUSED", "DEVICE_BUSY"}, refusal
            return False
        assert refusal.code.name in {"DEADLINE_EXCEEDED", "UNAVAILABLE"}, refusal
        self.lost_answers += 1
        return True

    def step(self) -> None:
        """One thing or another."""
        first, count = self.draw.randrange(PAGES - 12), self.draw.randrange(1, 13)
        match self.draw.randrange(10):
            case 0 | 1 | 2 | 3:
                self.write(first, count)
            case 4 | 5 | 6:
                self.read(first, count)
            case 7:
                self.trim(first, count)
            case 8:
                self.control()
            case 9:
                self.flush()

    def trouble(self) -> None:
        """A fault comes, or all go."""
        if self.draw.random() < 0.7:
            self.bench.inject(**FAULTS[self.draw.choice(list(FAULTS))](self.draw))
        else:
            self.bench.clear()

    def end(self) -> None:
        """All faults cleared: everything is answered, every byte is right, and all media comes back."""
        bench, host = self.bench, self.host
        bench.clear()
        # A dropped connection may still be on its way up.
        bench.device.Identify(device_pb2.IdentifyRequest(), timeout=DEADLINE_S, wait_for_ready=True)
        self.check(0, host.read(0, PAGES))
        bench.device.Renew(device_pb2.RenewRequest(**host.ref), timeout=DEADLINE_S)
        host.trim(0, PAGES)
        host.flush()
        assert bench.status().telemetry.media_used_bytes == 0
        assert host.telemetry().stored_pages == 0
        bench.service._requests.wait_idle(DEADLINE_S)
        # What still runs is calls of ours that are open and at rest.
        assert sum(bench.service._requests.running_now().values()) == bench.service.open_transfers.taken
        assert not bench.service.losses.held


@pytest.mark.parametrize("seed", range(6))
def test_a_mix_of_faults(each_transport: str, seed: int) -> None:
    """Faults come and go under a host that goes on; in the end all is as it should be."""
    with bench_of(physical=MIB // 4) as bench, running_clock(bench):
        mix = Mix(bench, seed)
        for step in range(STEPS):
            if step % 6 == 0:
                mix.trouble()
            mix.step()
        mix.end()
