"""Pages a second over a transport, and the time of one page: against zstandard and an empty call."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from cramlab.bench.raw import compress_rate, decompress_rate, page_seconds
from cramlab.bench.rows import Figure, Goal, Sample, at_most, megabytes_per_second
from cramlab.bench.wire import call_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramlab.bench.suite import Bench
    from cramlab.bench.wire import PageHost

BATCHES: Final = (1, 16, 64, 256, 1024)
IN_FLIGHT: Final = 4
"""Commands under way at one time: deeper gains nothing against four workers."""
SMALL_IN_FLIGHT: Final = 8
"""The same, over gRPC, of batches that are small: these go several in a message."""
_SMALL: Final = 64
_PAGES_AT_MOST: Final = {1: 1024, 16: 4096}
"""Pages of a round where a batch is small and the whole corpus would take too long."""
_PASSES: Final = {64: 4, 256: 4, 1024: 4}
"""Times that a round goes through the corpus: while the first calls begin and the last ones end, not all are
under way. Of 16 calls that is a good part, and of 256 as long."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Pages written or read at random addresses, against zstandard on the same pages."""

    operation: str
    """`write` or `read`."""
    batch: int
    host: Callable[[Bench], PageHost]
    """Where to; raises NotAvailable if there is no such transport."""
    prefix: str = ""
    goal: Goal | None = None

    @property
    def figures(self) -> tuple[Figure]:
        """As `write-256`: the operation, and the pages of a call."""
        against = f"zstandard {'' if self.operation == 'write' else 'de'}compressing, one thread"
        return (Figure(f"{self.prefix}{self.operation}-{self.batch}", "MB/s", against, self.goal),)

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """MB/s over the wire, and MB/s of zstandard right behind it."""
        host = self.host(bench)
        count = min(len(bench.corpus.pages), _PAGES_AT_MOST.get(self.batch, len(bench.corpus.pages)))
        passes = [bench.placed(draw, count) for _ in range(_PASSES.get(self.batch, 1))]
        dpas, pages = (np.concatenate(parts) for parts in zip(*passes, strict=True))
        level = bench.corpus.zstd_level
        in_flight = SMALL_IN_FLIGHT if self.batch <= _SMALL and not self.prefix else IN_FLIGHT
        if self.operation == "write":
            seconds = host.write(dpas, pages, batch=self.batch, in_flight=in_flight)
            raw = compress_rate(pages[:count], level)
        else:
            seconds = host.read(dpas, pages, batch=self.batch, in_flight=in_flight)
            raw = decompress_rate(pages[:count], level)
        return {self.figures[0].name: Sample(megabytes_per_second(len(dpas), seconds), raw)}


@dataclass(frozen=True, slots=True)
class PageCall:
    """Median time of a one-page gRPC call, one after the other, each beside a call that does nothing."""

    operation: str
    figures: tuple[Figure] = field(init=False)

    def __post_init__(self) -> None:
        against = "an empty gRPC call; the time of zstd is allowed on top"
        figure = Figure(f"{self.operation}-1-p50", "us", against, at_most(1.25))
        object.__setattr__(self, "figures", (figure,))

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Us. The two kinds of calls take turns, so that both meet the same machine."""
        reads = self.operation == "read"
        dpas, pages = bench.placed(draw, bench.scale.calls)
        taken: list[float] = []
        empty: list[float] = []
        for at in range(len(dpas)):
            empty.append(bench.host.empty_call())
            taken += call_seconds(bench.host, dpas[at : at + 1], pages[at : at + 1], reads=reads)
        zstd = page_seconds(pages, bench.corpus.zstd_level, reads=reads)
        sample = Sample(median(taken) * 1e6, median(empty) * 1e6, zstd * 1e6)
        return {self.figures[0].name: sample}
