"""A service on a real port, driven through real channels, with a clock that only the test moves."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest

from cramwire.refusal import Refusal, read_refusal
from cramwire.transport import CHANNEL_OPTIONS
from cramwire.v1 import (
    device_pb2,
    device_pb2_grpc,
    memory_pb2,
    memory_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
    types_pb2,
)
from cxldev.config import DeviceConfig
from cxldevd.addresses import Address
from cxldevd.clock import ManualClock
from cxldevd.service import Cxldevd, serve
from cxldevd.settings import Settings
from lane_helpers import LaneStub, TransferStub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PAGE = 4096
MIB = 1 << 20
SECOND = 1_000_000_000
ANY_PORT = Address("127.0.0.1", 0)
PATIENT: Sequence[tuple[str, Any]] = [
    *(option for option in CHANNEL_OPTIONS if option[0] != "grpc.min_reconnect_backoff_ms"),
    # How long one attempt to connect may take, whatever its name says: here beside seven other test runs.
    ("grpc.min_reconnect_backoff_ms", 20_000),
]
DEADLINE_S = 30.0
"""No answer takes this long; a test that hangs fails here and says where."""


_transport = ["grpc"]


@contextmanager
def transport(name: str) -> Iterator[None]:
    """While this is entered, new benches have MemoryService over this transport: grpc, transfer or lane."""
    _transport.append(name)
    try:
        yield
    finally:
        _transport.pop()


def noise(pages: int, seed: int = 0) -> bytes:
    """Pages that do not compress: each takes 4096 bytes of media and its metadata."""
    return random.Random(seed).randbytes(pages * PAGE)


def prose(pages: int, seed: int = 0) -> bytes:
    """Pages that compress well, no two alike."""
    return b"".join(f"page {seed}/{page} ".encode().ljust(64, b".") * 64 for page in range(pages))


def dpas(first: int, count: int) -> list[int]:
    """Addresses of `count` pages from page number `first` on."""
    return [page * PAGE for page in range(first, first + count)]


def refused(call: Callable[[], Any]) -> Refusal:
    """The refusal that this call meets."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return read_refusal(caught.value)


def raw_call(channel: grpc.Channel, path: str, request: bytes) -> bytes:
    """A unary call of bytes, as a client that knows nothing of our messages makes it."""

    def as_it_is(message: bytes) -> bytes:
        return message

    call = channel.unary_unary(path, as_it_is, as_it_is)
    answer: bytes = call(request, timeout=DEADLINE_S)
    return answer


@dataclass(frozen=True)
class Host:
    """One attached host."""

    bench: Bench
    name: str
    session: str
    generation: str

    @property
    def ref(self) -> dict[str, Any]:
        """What every request shows."""
        return {"session": self.session, "generation": self.generation}

    def write(self, first: int, data: bytes) -> memory_pb2.WriteResponse:
        """Write pages from page number `first` on."""
        addresses = dpas(first, len(data) // PAGE)
        request = memory_pb2.WriteRequest(dpas=addresses, data=data, **self.ref)
        return self.bench.memory.Write(request, timeout=DEADLINE_S)

    def read(self, first: int, pages: int) -> bytes:
        """Read pages from page number `first` on."""
        request = memory_pb2.ReadRequest(dpas=dpas(first, pages), **self.ref)
        return self.bench.memory.Read(request, timeout=DEADLINE_S).data

    def trim(self, first: int, pages: int) -> memory_pb2.TrimResponse:
        """Give one range up."""
        one = types_pb2.DpaRange(start=first * PAGE, length=pages * PAGE)
        return self.bench.memory.Trim(memory_pb2.TrimRequest(ranges=[one], **self.ref), timeout=DEADLINE_S)

    def flush(self) -> memory_pb2.FlushResponse:
        """Wait for all TRIMs."""
        return self.bench.memory.Flush(memory_pb2.FlushRequest(**self.ref), timeout=DEADLINE_S)

    def telemetry(self) -> types_pb2.Telemetry:
        """The device and this region."""
        request = device_pb2.GetTelemetryRequest(**self.ref)
        return self.bench.device.GetTelemetry(request, timeout=DEADLINE_S).telemetry

    def detach(self) -> device_pb2.DetachResponse:
        """End the session."""
        return self.bench.device.Detach(device_pb2.DetachRequest(**self.ref), timeout=DEADLINE_S)

    def watch(self, after: int | None = None) -> Any:
        """A stream of events; cancel it, or let the bench's end do it."""
        request = device_pb2.WatchEventsRequest(after_sequence=after, **self.ref)
        return self.bench.device.WatchEvents(request, timeout=DEADLINE_S)


class Bench:
    """A service, its clock, and stubs for both sides."""

    def __init__(self, service: Cxldevd, clock: ManualClock, cleanup: ExitStack) -> None:
        self.service = service
        self.clock = clock
        self._cleanup = cleanup
        self.host_channel = self.channel(service.address)
        self.operator_channel = self.channel(service.operator_address)
        self.device = device_pb2_grpc.DeviceServiceStub(self.host_channel)
        self.memory = memory_pb2_grpc.MemoryServiceStub(self.host_channel)
        if _transport[-1] == "lane":
            lanes = cleanup.enter_context(LaneStub(self.host_channel, service.address))
            self.memory = cast("memory_pb2_grpc.MemoryServiceStub", lanes)
        elif _transport[-1] == "transfer":
            transfers = cleanup.enter_context(TransferStub(self.host_channel))
            self.memory = cast("memory_pb2_grpc.MemoryServiceStub", transfers)
        self.faults = operator_pb2_grpc.FaultServiceStub(self.operator_channel)
        self.oracle = operator_pb2_grpc.OracleServiceStub(self.operator_channel)

    def channel(self, address: str, options: Sequence[tuple[str, Any]] = PATIENT) -> grpc.Channel:
        """A channel that is closed with the bench."""
        channel = grpc.insecure_channel(address, options)
        self._cleanup.callback(channel.close)
        return channel

    def attach(self, name: str = "host-a", pages: int = 256, **more: Any) -> Host:
        """Attach a host with a region of so many pages."""
        request = device_pb2.AttachRequest(host=name, logical_bytes=pages * PAGE, **more)
        made = self.device.Attach(request, timeout=DEADLINE_S)
        return Host(self, name, made.session, made.generation)

    def inject(self, **fault: Any) -> operator_pb2.InjectFaultResponse:
        """Inject the fault that the keyword names: `exhaustion=ExhaustionFault(...)`."""
        request = operator_pb2.InjectFaultRequest(fault=operator_pb2.Fault(**fault))
        return self.faults.InjectFault(request, timeout=DEADLINE_S)

    def clear(self, fault_id: str = "") -> operator_pb2.ClearFaultsResponse:
        """Clear one fault, or all."""
        return self.faults.ClearFaults(operator_pb2.ClearFaultsRequest(fault_id=fault_id), timeout=DEADLINE_S)

    def reset(self) -> None:
        """Power lost and back."""
        self.inject(reset=operator_pb2.ResetFault())

    def status(self) -> operator_pb2.GetStatusResponse:
        """All that the operator may know."""
        return self.oracle.GetStatus(operator_pb2.GetStatusRequest(), timeout=DEADLINE_S)

    def watch_all(self, after: int | None = None) -> Any:
        """A stream of all events."""
        request = operator_pb2.WatchAllEventsRequest(after_sequence=after)
        return self.oracle.WatchAllEvents(request, timeout=DEADLINE_S)

    def audit(self) -> None:
        """The device's own full check of its books."""
        with self.service.runtime.device() as (device, _):
            device.audit()


@contextmanager
def bench_of(
    *, physical: int = MIB, settings: dict[str, Any] | None = None, **device: Any
) -> Iterator[Bench]:
    """A bench with so much media; other keywords are DeviceConfig's, `settings` those of Settings."""
    config = DeviceConfig(physical_capacity_bytes=physical, **device)
    wanted = {"listen": ANY_PORT, "operator": ANY_PORT, "metrics": None, "drain_grace_ns": 5 * SECOND}
    clock = ManualClock(now_ns=SECOND)
    with ExitStack() as folders:
        if _transport[-1] == "lane":
            folder = folders.enter_context(TemporaryDirectory(prefix="cxldevd-"))
            wanted["listen"] = Address("", 0, f"{folder}/hosts")
        yield from _bench_of(Settings(device=config, **{**wanted, **(settings or {})}), clock)


def _bench_of(settings: Settings, clock: ManualClock) -> Iterator[Bench]:
    with (
        serve(settings, clock) as service,
        ExitStack() as end,
    ):
        yield Bench(service, clock, end)
        with service.runtime.device() as (held, _):
            held.audit()
