"""The time of one page over the same-host transport: against gRPC, and against nbdkit."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from cramlab.bench.nbdkit import nbdkit_page_seconds, our_page_seconds, serving
from cramlab.bench.rows import Figure, Sample, at_most
from cramlab.bench.wire import call_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from cramlab.bench.lane import LaneHost
    from cramlab.bench.suite import Bench


class LanePage:
    """Median time of one page over a lane, each beside the same over gRPC, on the same device."""

    def __init__(self, operation: str, host: Callable[[Bench], LaneHost]) -> None:
        self._reads = operation == "read"
        self._host = host
        self.figures = (Figure(f"lane-{operation}-1-p50", "us", "the same over gRPC", at_most(0.25)),)

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Us. The two kinds take turns, so that both meet the same machine."""
        host = self._host(bench)
        dpas, pages = bench.placed(draw, bench.scale.calls)
        taken: list[float] = []
        over_grpc: list[float] = []
        for at in range(len(dpas)):
            one, page = dpas[at : at + 1], pages[at : at + 1]
            taken += call_seconds(host, one, page, reads=self._reads)
            over_grpc += call_seconds(host.beside, one, page, reads=self._reads)
        return {self.figures[0].name: Sample(median(taken) * 1e6, median(over_grpc) * 1e6)}


class LanePageAgainstNbdkit:
    """Median time of one page over a lane, and of one 4 KiB request to nbdkit, one outstanding."""

    def __init__(self, operation: str, host: Callable[[Bench], LaneHost]) -> None:
        self._reads = operation == "read"
        self._host = host
        name = f"lane-{operation}-1-p50-nbdkit"
        self.figures = (Figure(name, "us", "nbdkit memory allocator=zstd, the same pages", at_most(1)),)

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Us. nbdkit holds the whole corpus, as the device does."""
        host = self._host(bench)
        dpas, pages = bench.placed(draw, bench.scale.calls)
        with serving(bench, "nbdkit-page") as (client, _):
            client.write([0], bench.corpus.pages.data.cast("B"), bench.corpus.pages.nbytes, 1)
            theirs = nbdkit_page_seconds(client, dpas, pages, reads=self._reads)
        ours = our_page_seconds(host, dpas, pages, reads=self._reads)
        return {self.figures[0].name: Sample(ours * 1e6, theirs * 1e6)}
