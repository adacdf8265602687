"""From a watermark crossing to the agent that is told of it, while another agent writes all it can."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import grpc

from cramlab.bench.memory import stored_bytes
from cramlab.bench.rows import PAGE_BYTES, Figure, Sample, at_most
from cramlab.bench.wire import BenchError, BenchHost
from cramlab.bench.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from cramlab.bench.corpus import Corpus
    from cramlab.bench.suite import Bench

_PAGES: Final = 2048
"""What the writer fills the device with, and then trims, over and over."""
_FULL_MILLI: Final = 940
"""Media in use when it is full: above the critical watermark, below the others."""
_SECTOR, _METADATA = 64, 16
_LEAST_EVENTS: Final = 20
_WINDOWS: Final = 2
"""Of the scale's: a percentile wants many events."""
_MOST_TURNS: Final = 20
"""So often, at most: a slow machine takes longer to cross as many watermarks."""


class EventLag:
    """One agent fills and trims a small device; another watches it, and makes empty calls meanwhile."""

    figures = (
        Figure("watermark-event-p99", "us", "p99 of an empty gRPC call under the same load", at_most(4)),
        Figure("watermark-event-p50", "us", "p50 of an empty gRPC call under the same load"),
    )

    def __init__(self) -> None:
        self._parts: tuple[Worker, BenchHost] | None = None

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:  # noqa: ARG002 - nothing is drawn
        """Us. The device's wall clock and ours are one: both processes run on this machine."""
        writer, watcher = self._parts or self._start(bench)
        lags: list[float] = []
        stream = watcher.watch()
        listening = threading.Thread(target=_listen, args=(stream, lags), name="events", daemon=True)
        listening.start()
        empty: list[float] = []
        for _ in range(_MOST_TURNS):
            empty += _calls_beside(writer, watcher, _WINDOWS * bench.scale.window_s)
            if len(lags) >= _LEAST_EVENTS:
                break
        stream.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leave it bare
        listening.join()
        if len(lags) < _LEAST_EVENTS:
            raise BenchError(f"only {len(lags)} watermark crossings were told of")
        return {
            f"watermark-event-{name}": Sample(percentile(lags, share) * 1e6, percentile(empty, share) * 1e6)
            for name, share in (("p99", 0.99), ("p50", 0.5))
        }

    def _start(self, bench: Bench) -> tuple[Worker, BenchHost]:
        pages = min(_PAGES, len(bench.corpus.pages))
        media = media_bytes(bench.corpus, pages) * 1000 // _FULL_MILLI
        device = bench.stack.enter_context(
            bench.start_device("events", physical=str(media), options=["--zratio", "16000"])
        )
        watcher = bench.stack.enter_context(BenchHost(device.address, 1, "watcher"))
        writer = bench.stack.enter_context(Worker(device.address, "writer", bench.corpus_path, pages))
        writer.wait_ready()
        self._parts = writer, watcher
        return self._parts


def _calls_beside(writer: Worker, watcher: BenchHost, seconds: float) -> list[float]:
    """Let the writer fill and trim for so long: the seconds of each empty call made meanwhile."""
    begins = time.monotonic() + 0.2
    ends = begins + seconds
    writer.begin("churn", begins, ends)
    taken: list[float] = []
    while time.monotonic() < ends:
        call = watcher.empty_call()
        if time.monotonic() > begins:
            taken.append(call)
    writer.pages()
    return taken


def media_bytes(corpus: Corpus, pages: int) -> int:
    """Media that the first pages of the corpus take on a device with the default sector and metadata."""
    sizes = stored_bytes(corpus)[:pages]
    sectors = -(-sizes // _SECTOR)
    return int(sectors.sum()) * _SECTOR + pages * _METADATA + PAGE_BYTES


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def _listen(stream: grpc.CallIterator[object], lags: list[float]) -> None:
    """Seconds from each watermark crossing to now; until the stream is cancelled."""
    try:
        for item in stream:
            heard = time.time_ns()
            event = getattr(item, "event", None)
            if event is not None and event.WhichOneof("kind") == "watermark_crossed":
                lags.append(max(0, heard - event.wall_time_ns) / 1e9)
    except grpc.RpcError:
        return  # cancelled: the window is over; if the device were gone, the empty calls would have said so
