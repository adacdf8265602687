"""One host of the bench: pages over gRPC in batches, several calls in flight."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

import grpc
import numpy as np

from cramlab.bench.rows import PAGE_BYTES
from cramwire.refusal import read_refusal
from cramwire.transport import CHANNEL_OPTIONS
from cramwire.v1 import device_pb2, device_pb2_grpc, memory_pb2, memory_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from numpy.typing import NDArray

    from cramlab.bench.corpus import Pages

T = TypeVar("T")

_CALL_DEADLINE_S: Final = 60.0
_LEASE_NS: Final = 3_600_000_000_000
"""Longer than any bench: nothing is renewed while it measures."""


class BenchError(Exception):
    """The bench cannot go on: refused, or wrong bytes came back."""


class BenchHost:
    """A region of `pages` pages, and the two data calls on it.

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
        request = device_pb2.AttachRequest(host=host, logical_bytes=pages * PAGE_BYTES, lease_ns=_LEASE_NS)
        try:
            attached = self._device.Attach(request, timeout=_CALL_DEADLINE_S)
        except grpc.RpcError as error:
            self._channel.close()
            raise BenchError(f"cannot attach to {address}: {read_refusal(error)}") from error
        self._session, self._generation = attached.session, attached.generation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def write(self, dpas: NDArray[np.uint64], pages: Pages, *, batch: int, in_flight: int) -> float:
        """Write pages[i] to dpas[i], `batch` pages a call, and return the seconds that it took."""
        data = pages.data.cast("B")

        def calls() -> Iterator[grpc.CallFuture[memory_pb2.WriteResponse]]:
            for first in range(0, len(dpas), batch):
                part = dpas[first : first + batch]
                yield self._memory.Write.future(
                    memory_pb2.WriteRequest(
                        session=self._session,
                        generation=self._generation,
                        dpas=part.tolist(),
                        data=bytes(data[first * PAGE_BYTES : (first + len(part)) * PAGE_BYTES]),
                    ),
                    timeout=_CALL_DEADLINE_S,
                )

        begun = time.perf_counter()
        answers = _in_flight(calls(), in_flight)
        seconds = time.perf_counter() - begun
        accepted = sum(answer.accepted_pages for answer in answers)
        if accepted != len(dpas):
            raise BenchError(f"{len(dpas)} pages were written, {accepted} accepted")
        return seconds

    def read(self, dpas: NDArray[np.uint64], expected: Pages, *, batch: int, in_flight: int) -> float:
        """Read dpas, `batch` pages a call, and return the seconds; afterwards every byte is compared.

        Raises:
            BenchError: dpas[i] did not hold expected[i].
        """

        def calls() -> Iterator[grpc.CallFuture[memory_pb2.ReadResponse]]:
            for first in range(0, len(dpas), batch):
                yield self._memory.Read.future(
                    memory_pb2.ReadRequest(
                        session=self._session,
                        generation=self._generation,
                        dpas=dpas[first : first + batch].tolist(),
                    ),
                    timeout=_CALL_DEADLINE_S,
                )

        begun = time.perf_counter()
        answers = _in_flight(calls(), in_flight)
        seconds = time.perf_counter() - begun
        first = 0
        for answer in answers:
            found = np.frombuffer(answer.data, dtype=np.uint8).reshape(-1, PAGE_BYTES)
            wrong = (found != expected[first : first + len(found)]).any(axis=1)
            if wrong.any():
                raise BenchError(f"{int(wrong.sum())} pages of a read came back wrong")
            first += len(found)
        if first != len(dpas):
            raise BenchError(f"{len(dpas)} pages were read, {first} came back")
        return seconds

    def call_seconds(self, dpas: NDArray[np.uint64], pages: Pages, *, reads: bool) -> list[float]:
        """Seconds of each of single-page calls made one after the other."""
        taken = []
        for position in range(len(dpas)):
            one, page = dpas[position : position + 1], pages[position : position + 1]
            taken.append(
                self.read(one, page, batch=1, in_flight=1)
                if reads
                else self.write(one, page, batch=1, in_flight=1)
            )
        return taken


def _in_flight(calls: Iterable[grpc.CallFuture[T]], depth: int) -> list[T]:
    """Start calls so that at most `depth` are under way; their answers in order."""
    waiting: deque[grpc.CallFuture[T]] = deque()
    answers: list[T] = []
    try:
        for call in calls:
            waiting.append(call)
            if len(waiting) >= depth:
                answers.append(waiting.popleft().result())
        answers.extend(call.result() for call in waiting)
    except grpc.RpcError as error:
        for call in waiting:
            call.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leave it bare
        raise BenchError(str(read_refusal(error))) from error
    return answers
