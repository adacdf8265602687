"""One host of the bench on the same-host transport: its pages go through shared memory."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc
import numpy as np

from cramagent.lane import Lane, LaneClosed
from cramagent.roads import LaneUnavailable, lane_of
from cramlab.bench.rows import PAGE_BYTES
from cramlab.bench.suite import NotAvailable
from cramlab.bench.wire import BenchError, BenchHost, compare
from cramwire.refusal import Refused, read_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cramagent.lane import LaneCall
    from cramlab.bench.corpus import Pages
    from cramlab.bench.suite import Bench

    Addresses = NDArray[np.uint64]

_DEADLINE_S: Final = 60.0


class LaneHost:
    """A region whose pages go over a lane. `beside` holds the session, and goes on by gRPC."""

    def __init__(self, lane: Lane, beside: BenchHost) -> None:
        self._lane = lane
        self.beside = beside
        self._landing = np.zeros((0, PAGE_BYTES), dtype=np.uint8)

    def write(self, dpas: Addresses, pages: Pages, *, batch: int, in_flight: int) -> float:
        """As `PageHost.write`."""
        data, numbers, lane = pages.data.cast("B"), dpas.tolist(), self._lane
        waiting: deque[LaneCall] = deque()
        accepted = 0
        begun = time.perf_counter()
        try:
            for first in range(0, len(numbers), batch):
                part = numbers[first : first + batch]
                bytes_of_part = data[first * PAGE_BYTES : (first + len(part)) * PAGE_BYTES]
                waiting.append(lane.begin_write(part, bytes_of_part, _DEADLINE_S))
                if len(waiting) >= in_flight:
                    accepted += waiting.popleft().finish(_DEADLINE_S).value
            while waiting:
                accepted += waiting.popleft().finish(_DEADLINE_S).value
        except (Refused, LaneClosed) as error:
            raise BenchError(f"over the lane: {error}") from error
        seconds = time.perf_counter() - begun
        if accepted != len(dpas):
            raise BenchError(f"{len(dpas)} pages were written, {accepted} accepted")
        return seconds

    def read(self, dpas: Addresses, expected: Pages, *, batch: int, in_flight: int) -> float:
        """As `PageHost.read`."""
        if len(self._landing) < len(dpas):
            self._landing = np.ones((len(dpas), PAGE_BYTES), dtype=np.uint8)
        landing = self._landing[: len(dpas)]
        landing[:, 0] ^= 0xFF  # nobody shall pass by what an earlier read left here
        flat, numbers, lane = landing.reshape(-1).data, dpas.tolist(), self._lane
        waiting: deque[LaneCall] = deque()
        came = 0

        def take(data: memoryview) -> None:
            nonlocal came
            flat[came : came + len(data)] = data
            came += len(data)

        begun = time.perf_counter()
        try:
            for first in range(0, len(numbers), batch):
                waiting.append(lane.begin_read(numbers[first : first + batch], _DEADLINE_S))
                if len(waiting) >= in_flight:
                    waiting.popleft().finish(_DEADLINE_S, take)
            while waiting:
                waiting.popleft().finish(_DEADLINE_S, take)
        except (Refused, LaneClosed) as error:
            raise BenchError(f"over the lane: {error}") from error
        seconds = time.perf_counter() - begun
        if came != len(flat):
            raise BenchError(f"{len(dpas)} pages were read, {came // PAGE_BYTES} came back")
        compare(landing, expected)
        return seconds


@contextmanager
def lane_host(address: str, pages: int, name: str) -> Iterator[LaneHost]:
    """A host with a lane.

    Raises:
        NotAvailable: the device gives none.
        BenchError: it refused the attach.
    """
    with BenchHost(address, pages, name) as beside:
        try:
            lane = lane_of(beside.channel, address, beside, _DEADLINE_S)
        except LaneUnavailable as error:
            raise NotAvailable(f"no same-host transport: {error}") from error
        except grpc.RpcError as error:
            raise NotAvailable(f"no same-host transport: {read_refusal(error)}") from error
        with lane:
            yield LaneHost(lane, beside)


class SharedLane:
    """The region that all rows of the same-host transport share, on a device of its own."""

    def __init__(self) -> None:
        self._host: LaneHost | None = None

    def __call__(self, bench: Bench) -> LaneHost:
        """Started and filled when it is asked for first."""
        if self._host is None:
            device = bench.stack.enter_context(
                bench.start_device("lane", options=lane_options(bench, "lane"))
            )
            pages = bench.corpus.pages
            host = bench.stack.enter_context(lane_host(device.address, len(pages), "bench"))
            dpas, placed = bench.placed(np.random.default_rng(bench.seed), len(pages))
            host.write(dpas, placed, batch=1024, in_flight=4)
            self._host = host
        return self._host


def lane_options(bench: Bench, name: str) -> list[str]:
    """Of a device that serves hosts on a unix socket: there it offers lanes."""
    return ["--listen", f"unix:{bench.folder / name}.sock"]
