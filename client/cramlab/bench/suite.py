"""Which rows there are, and the rounds in which they are measured.

A row is anything with a name, a unit and a `measure`: to add one, add it to `standard_rows` or hand
`run_rounds` a list of your own.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cramlab.bench.raw import compress_rate, decompress_rate
from cramlab.bench.rows import PAGE_BYTES, Row, Sample, megabytes_per_second, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cramlab.bench.corpus import Corpus, Pages
    from cramlab.bench.wire import BenchHost

BATCHES: Final = (1, 16, 64, 256, 1024)
IN_FLIGHT: Final = 4
"""Calls under way at one time: deeper gains nothing against four workers."""
_PAGES_AT_MOST: Final = {1: 1024, 16: 4096}
"""Pages of a round where a batch is small and the whole corpus would take too long."""
_LATENCY_CALLS: Final = 200


@dataclass(frozen=True, slots=True)
class Bench:
    """What a row measures with. The region has one page for each of the corpus."""

    host: BenchHost
    corpus: Corpus

    def placed(self, draw: np.random.Generator, count: int) -> tuple[NDArray[np.uint64], Pages]:
        """`count` addresses in random order and the pages that belong there: page i at i * 4096."""
        order = draw.permutation(len(self.corpus.pages))[:count]
        return order.astype(np.uint64) * np.uint64(PAGE_BYTES), self.corpus.pages[order]


class BenchRow(Protocol):
    """One thing to measure, once a round."""

    @property
    def name(self) -> str:
        """As it stands in the result."""
        ...

    @property
    def unit(self) -> str:
        """Of its samples."""
        ...

    def measure(self, bench: Bench, draw: np.random.Generator) -> Sample:
        """One round. All that is random comes from `draw`."""
        ...


@dataclass(frozen=True, slots=True)
class Throughput:
    """Pages written or read at random addresses, against zstandard on the same pages."""

    operation: str
    """`write` or `read`."""
    batch: int
    unit: str = "MB/s"

    @property
    def name(self) -> str:
        """As `write-256`: the operation, and the pages of a call."""
        return f"{self.operation}-{self.batch}"

    def measure(self, bench: Bench, draw: np.random.Generator) -> Sample:
        """MB/s over the wire, and MB/s of zstandard right behind it."""
        count = min(len(bench.corpus.pages), _PAGES_AT_MOST.get(self.batch, len(bench.corpus.pages)))
        dpas, pages = bench.placed(draw, count)
        level = bench.corpus.zstd_level
        if self.operation == "write":
            seconds = bench.host.write(dpas, pages, batch=self.batch, in_flight=IN_FLIGHT)
            raw = compress_rate(pages, level)
        else:
            seconds = bench.host.read(dpas, pages, batch=self.batch, in_flight=IN_FLIGHT)
            raw = decompress_rate(pages, level)
        return Sample(megabytes_per_second(count, seconds), raw)


@dataclass(frozen=True, slots=True)
class CallLatency:
    """Median time of a single-page call, one after the other."""

    operation: str
    unit: str = "us"

    @property
    def name(self) -> str:
        """As `write-1-p50`."""
        return f"{self.operation}-1-p50"

    def measure(self, bench: Bench, draw: np.random.Generator) -> Sample:
        """Us; zstandard has no such call."""
        dpas, pages = bench.placed(draw, _LATENCY_CALLS)
        return Sample(median(bench.host.call_seconds(dpas, pages, reads=self.operation == "read")) * 1e6)


def standard_rows() -> list[BenchRow]:
    """The rows of `cramctl bench`, writes before reads."""
    rows: list[BenchRow] = []
    for operation in ("write", "read"):
        rows += [Throughput(operation, batch) for batch in BATCHES]
        rows.append(CallLatency(operation))
    return rows


def run_rounds(
    bench: Bench,
    rows: Sequence[BenchRow],
    rounds: int,
    *,
    seed: int,
    on_progress: Callable[[str, int, int], None],
) -> list[Row]:
    """Measure every row once a round; so what disturbs the machine for a while disturbs all rows.

    Args:
        bench: a region that holds the corpus already (`fill`).
        rows: what to measure.
        rounds: how often.
        seed: of all random choices.
        on_progress: told before each measurement: its row's name, measurements done, and in all.

    Raises:
        BenchError: the device refused, or wrong bytes came back.
    """
    draw = np.random.default_rng(seed)
    samples: list[list[Sample]] = [[] for _ in rows]
    for turn in range(rounds):
        for position, row in enumerate(rows):
            on_progress(row.name, turn * len(rows) + position, rounds * len(rows))
            samples[position].append(row.measure(bench, draw))
    return [summarise(row.name, row.unit, taken) for row, taken in zip(rows, samples, strict=True)]


def fill(bench: Bench, draw: np.random.Generator) -> None:
    """Write the whole corpus once, unmeasured: reads find data, writes overwrite, buffers are warm."""
    dpas, pages = bench.placed(draw, len(bench.corpus.pages))
    bench.host.write(dpas, pages, batch=BATCHES[-1], in_flight=IN_FLIGHT)
