"""One host of the bench: pages over gRPC in batches, several calls in flight."""

from __future__ import annotations

import math
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cramagent.open_calls import OpenCalls
from cramagent.transfer import TransferBroken
from cramlab.bench.rows import PAGE_BYTES
from cramwire.page_messages import (
    READ_METHOD,
    WRITE_METHOD,
    ReadPages,
    take_read_response,
)
from cramwire.refusal import read_refusal
from cramwire.transfer_messages import read_parts, write_parts
from cramwire.transport import CHANNEL_OPTIONS
from cramwire.v1 import device_pb2, device_pb2_grpc, memory_pb2, memory_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from numpy.typing import NDArray

    from cramagent.open_calls import Asked
    from cramlab.bench.corpus import Pages
    from cramwire.transfer_messages import Answer, CommandParts

    Addresses = NDArray[np.uint64]

_CALL_DEADLINE_S: Final = 60.0
_LEASE_NS: Final = 3_600_000_000_000
"""Longer than any bench: nothing is renewed while it measures."""
_OPEN: Final = 2
"""Open calls that batches take turns on: one a core."""
_TRIM_RANGES: Final = 127
"""What a device takes in one command, unless it is told otherwise."""


class BenchError(Exception):
    """The bench cannot go on: refused, or wrong bytes came back."""


class PageHost(Protocol):
    """A region, and the two data calls on it, over whatever transport."""

    def write(self, dpas: Addresses, pages: Pages, *, batch: int, in_flight: int) -> float:
        """Write pages[i] to dpas[i], `batch` pages a command, and return the seconds that it took."""
        ...

    def read(self, dpas: Addresses, expected: Pages, *, batch: int, in_flight: int) -> float:
        """Read dpas into memory of ours, and return the seconds; afterwards every byte is compared."""
        ...


class BenchHost:
    """A region of `pages` pages over gRPC.

    Args:
        address: the device's host listener.
        pages: size of the region.
        host: its name.

    Raises:
        BenchError: the device refused, here or in any call.
    """

    def __init__(self, address: str, pages: int, host: str = "bench") -> None:
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._device = device_pb2_grpc.DeviceServiceStub(self._channel)
        self._memory = memory_pb2_grpc.MemoryServiceStub(self._channel)
        # Pages go through without the stub's protobuf, which would copy them.
        self._write: Any = self._channel.unary_unary(
            WRITE_METHOD,
            request_serializer=None,
            response_deserializer=memory_pb2.WriteResponse.FromString,
        )
        self._read: Any = self._channel.unary_unary(
            READ_METHOD, request_serializer=None, response_deserializer=take_read_response
        )
        self._calls = OpenCalls(self._channel, _OPEN)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)
        self._landing = np.zeros((0, PAGE_BYTES), dtype=np.uint8)
        request = device_pb2.AttachRequest(host=host, logical_bytes=pages * PAGE_BYTES, lease_ns=_LEASE_NS)
        try:
            limits = self._device.Identify(device_pb2.IdentifyRequest(), timeout=_CALL_DEADLINE_S).limits
            attached = self._device.Attach(request, timeout=_CALL_DEADLINE_S)
        except grpc.RpcError as error:
            self._channel.close()
            raise BenchError(f"cannot attach to {address}: {read_refusal(error)}") from error
        self._calls.together(limits.commands_per_message)
        self.session, self.generation = attached.session, attached.generation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.close()
        self._channel.close()

    @property
    def channel(self) -> grpc.Channel:
        """For calls that only one row makes."""
        return self._channel

    def write(self, dpas: Addresses, pages: Pages, *, batch: int, in_flight: int) -> float:
        """As `PageHost.write`."""
        begun = time.perf_counter()
        accepted = self._write_parts(
            dpas, pages, range(0, len(dpas), batch), batch=batch, in_flight=in_flight
        )
        seconds = time.perf_counter() - begun
        if accepted != len(dpas):
            raise BenchError(f"{len(dpas)} pages were written, {accepted} accepted")
        return seconds

    def read(self, dpas: Addresses, expected: Pages, *, batch: int, in_flight: int) -> float:
        """As `PageHost.read`.

        Raises:
            BenchError: dpas[i] did not hold expected[i].
        """
        landing = self._land(len(dpas))
        landing[:, 0] ^= 0xFF  # nobody shall pass by what an earlier read left here
        begun = time.perf_counter()
        came = self._read_parts(dpas, landing, range(0, len(dpas), batch), batch=batch, in_flight=in_flight)
        seconds = time.perf_counter() - begun
        if came != len(dpas):
            raise BenchError(f"{len(dpas)} pages were read, {came} came back")
        compare(landing, expected)
        return seconds

    def write_until(
        self, deadline: float, dpas: Addresses, pages: Pages, *, batch: int, in_flight: int
    ) -> int:
        """Write the pages over and over until `time.monotonic()` passes the deadline.

        Returns:
            Pages of answers that came before it.
        """
        starts = _until(deadline, range(0, len(dpas), batch))
        return self._write_parts(dpas, pages, starts, batch=batch, in_flight=in_flight, deadline=deadline)

    def read_until(
        self, deadline: float, dpas: Addresses, pages: Pages, *, batch: int, in_flight: int
    ) -> int:
        """Read likewise; afterwards what was read last of each address is compared."""
        landing = self._land(len(dpas))
        landing[:] = pages
        starts = _until(deadline, range(0, len(dpas), batch))
        came = self._read_parts(dpas, landing, starts, batch=batch, in_flight=in_flight, deadline=deadline)
        compare(landing, pages)
        return came

    def _write_parts(
        self,
        dpas: Addresses,
        pages: Pages,
        starts: Iterable[int],
        *,
        batch: int,
        in_flight: int,
        deadline: float = math.inf,
    ) -> int:
        data, accepted = pages.data.cast("B"), 0

        def commands() -> Iterator[tuple[int, CommandParts]]:
            for first in starts:
                part = dpas[first : first + batch]
                bytes_of_part = data[first * PAGE_BYTES : (first + len(part)) * PAGE_BYTES]
                yield first, write_parts(self.session, self.generation, _packed(part), (bytes_of_part,))

        for _, answer in self._answers(commands(), in_flight):
            assert isinstance(answer, memory_pb2.WriteResponse), answer
            if time.monotonic() < deadline:
                accepted += answer.accepted_pages
        return accepted

    def _read_parts(
        self,
        dpas: Addresses,
        landing: Pages,
        starts: Iterable[int],
        *,
        batch: int,
        in_flight: int,
        deadline: float = math.inf,
    ) -> int:
        flat, came = landing.reshape(-1).data, 0

        def commands() -> Iterator[tuple[int, CommandParts]]:
            for first in starts:
                yield first, read_parts(self.session, self.generation, _packed(dpas[first : first + batch]))

        for first, answer in self._answers(commands(), in_flight):
            assert isinstance(answer, ReadPages), answer
            data = answer.data
            if len(data) != min(batch, len(dpas) - first) * PAGE_BYTES:
                raise BenchError(f"{len(data)} bytes came back for a batch of {batch} pages")
            flat[first * PAGE_BYTES : first * PAGE_BYTES + len(data)] = data
            if time.monotonic() < deadline:
                came += len(data) // PAGE_BYTES
        return came

    def _answers(
        self, commands: Iterable[tuple[int, CommandParts]], in_flight: int
    ) -> Iterator[tuple[int, Answer]]:
        """Send commands so that at most so many are under way; their answers in order, with their numbers.

        One at a time is a call by itself, made by this thread: no other has to wake up for it. More
        travel on two open calls. Whoever has several answers takes them all before sending more.

        Raises:
            BenchError: one was refused.
        """
        waiting: deque[tuple[int, Asked]] = deque()
        left = iter(commands)
        try:
            if in_flight == 1:
                yield from self._alone(left)
                return
            while True:
                more = list(islice(left, in_flight - len(waiting)))
                if more:
                    begun = self._calls.begin([command for _, command in more], _CALL_DEADLINE_S)
                    if begun is None:
                        raise BenchError("an open call broke a moment ago")
                    waiting += zip((number for number, _ in more), begun, strict=True)
                if not waiting:
                    return
                yield self._oldest(waiting)
                while waiting and waiting[0][1].over:
                    yield self._oldest(waiting)
        except grpc.RpcError as error:
            raise BenchError(str(read_refusal(error))) from error
        except TransferBroken as broken:
            raise BenchError(str(broken)) from broken
        finally:
            self._calls.give_up([asked for _, asked in waiting])

    def _oldest(self, waiting: deque[tuple[int, Asked]]) -> tuple[int, Answer]:
        number, asked = waiting.popleft()
        return number, self._calls.finish(asked)

    def _alone(self, commands: Iterable[tuple[int, CommandParts]]) -> Iterator[tuple[int, Answer]]:
        for number, command in commands:
            method = self._read if command.answer is ReadPages else self._write
            yield number, method(command.by_itself(), timeout=_CALL_DEADLINE_S)

    def empty_call(self) -> float:
        """Seconds of a call that does nothing: the standard health check, on the same listener."""
        begun = time.perf_counter()
        self._ask(self._health.Check, health_pb2.HealthCheckRequest())
        return time.perf_counter() - begun

    def trim_all(self, pages: int, range_pages: int) -> float:
        """TRIM the first `pages` pages, in ranges of so many, then FLUSH; the seconds."""
        begun = time.perf_counter()
        starts = range(0, pages, range_pages)
        for first in range(0, len(starts), _TRIM_RANGES):
            ranges = [
                types_pb2.DpaRange(
                    start=start * PAGE_BYTES, length=min(range_pages, pages - start) * PAGE_BYTES
                )
                for start in starts[first : first + _TRIM_RANGES]
            ]
            self._ask(
                self._memory.Trim,
                memory_pb2.TrimRequest(session=self.session, generation=self.generation, ranges=ranges),
            )
        self._ask(
            self._memory.Flush, memory_pb2.FlushRequest(session=self.session, generation=self.generation)
        )
        return time.perf_counter() - begun

    def telemetry(self) -> types_pb2.Telemetry:
        """The device and the region, now."""
        request = device_pb2.GetTelemetryRequest(session=self.session, generation=self.generation)
        answer = self._ask(self._device.GetTelemetry, request)
        telemetry: types_pb2.Telemetry = answer.telemetry
        return telemetry

    def watch(self) -> grpc.CallIterator[device_pb2.WatchEventsResponse]:
        """The event stream, from now on."""
        return self._device.WatchEvents(
            device_pb2.WatchEventsRequest(session=self.session, generation=self.generation)
        )

    def _land(self, pages: int) -> Pages:
        """Memory that reads land in, faulted in once: a host's page frames are not fresh either."""
        if len(self._landing) < pages:
            self._landing = np.ones((pages, PAGE_BYTES), dtype=np.uint8)
        return self._landing[:pages]

    @staticmethod
    def _ask(call: Callable[..., Any], request: Any) -> Any:
        try:
            return call(request, timeout=_CALL_DEADLINE_S)
        except grpc.RpcError as error:
            raise BenchError(str(read_refusal(error))) from error


def _packed(dpas: Addresses) -> memoryview:
    """Addresses as bytes, little-endian."""
    return dpas.astype("<u8", copy=False).data.cast("B")


def compare(found: Pages, expected: Pages) -> None:
    """Every byte.

    Raises:
        BenchError: with the number of pages that differ.
    """
    wrong = (found != expected).any(axis=1)
    if wrong.any():
        raise BenchError(f"{int(wrong.sum())} pages of a read came back wrong")


def call_seconds(host: PageHost, dpas: Addresses, pages: Pages, *, reads: bool) -> list[float]:
    """Seconds of each of single-page commands made one after the other."""
    call = host.read if reads else host.write
    return [call(dpas[at : at + 1], pages[at : at + 1], batch=1, in_flight=1) for at in range(len(dpas))]


def _until(deadline: float, starts: range) -> Iterator[int]:
    """The same starts over and over, until the deadline."""
    while True:
        for start in starts:
            if time.monotonic() >= deadline:
                return
            yield start
