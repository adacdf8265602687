"""What probes are, what they measure with, and the rounds in which they are measured.

A probe measures one or several figures in one go, once a round: to add one, add it to
`cramlab.bench.catalogue` or hand `run_rounds` a list of your own.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from cramlab.bench.rows import PAGE_BYTES, Figure, Row, Sample, best, not_available, summarise
from cramlab.bench.wire import BenchHost
from cramlab.processes import DeviceProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray

    from cramlab.bench.corpus import Corpus, Pages

ROOM: Final = "1GiB"
"""Media of the devices that are not to be short of it: nothing is ever refused."""


class NotAvailable(Exception):
    """This figure cannot be measured here; the message says why. No mistake of the device's."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured in a round."""

    pages: int
    """Of the corpus."""
    many_pages: int
    """Stored where the question is what many stored pages cost."""
    few_pages: int
    """Stored on the other side of that comparison."""
    calls: int
    """Single-page calls."""
    window_s: float
    """Where something runs for a time, not for a number of pages."""


FULL: Final = Scale(pages=16_384, many_pages=1_000_000, few_pages=10_000, calls=400, window_s=2.5)
QUICK: Final = Scale(pages=2_048, many_pages=50_000, few_pages=5_000, calls=100, window_s=0.5)


class Bench:
    """What probes measure with. What a probe needs is started when it asks for the first time."""

    def __init__(self, corpus: Corpus, folder: Path, scale: Scale, seed: int) -> None:
        self.corpus = corpus
        self.folder = folder
        self.scale = scale
        self.seed = seed
        self.stack = ExitStack()
        """Closed when the bench ends: for what lives longer than one round."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def options(self, *more: str) -> list[str]:
        """Of any device of the bench."""
        return ["--zstd-level", str(self.corpus.zstd_level), "--log-level", "error", *more]

    def start_device(self, name: str, *, physical: str = ROOM, options: Sequence[str] = ()) -> DeviceProcess:
        """A device that is not running yet: enter it."""
        return DeviceProcess(self.folder, physical=physical, args=self.options(*options), name=name)

    @cached_property
    def device(self) -> DeviceProcess:
        """The device that most probes share."""
        return self.stack.enter_context(self.start_device("device"))

    @cached_property
    def host(self) -> BenchHost:
        """A region on it with one page for each of the corpus, all written once.

        So reads find data, writes overwrite, and buffers are warm.
        """
        host = self.stack.enter_context(BenchHost(self.device.address, len(self.corpus.pages)))
        dpas, pages = self.placed(np.random.default_rng(self.seed), len(self.corpus.pages))
        host.write(dpas, pages, batch=1024, in_flight=4)
        return host

    @cached_property
    def corpus_path(self) -> Path:
        """The corpus as a file, for other processes."""
        path = self.folder / "corpus.npy"
        np.save(path, self.corpus.pages)
        return path

    def placed(self, draw: np.random.Generator, count: int) -> tuple[NDArray[np.uint64], Pages]:
        """`count` addresses in random order and the pages that belong there: page i at i * 4096."""
        order = draw.permutation(len(self.corpus.pages))[:count]
        return order.astype(np.uint64) * np.uint64(PAGE_BYTES), self.corpus.pages[order]


class Probe(Protocol):
    """Something that is measured once a round."""

    @property
    def figures(self) -> Sequence[Figure]:
        """What comes of it."""
        ...

    def measure(self, bench: Bench, draw: np.random.Generator) -> Mapping[str, Sample]:
        """One round: a sample for each figure, by name. All that is random comes from `draw`.

        Raises:
            NotAvailable: this cannot be measured here.
            BenchError, ProcessError: it should have been.
        """
        ...


@dataclass(frozen=True, slots=True)
class Best:
    """A figure that is the best of other rows, chosen by the median over all rounds."""

    figure: Figure
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """What one run measures and shows."""

    probes: tuple[Probe, ...]
    bests: tuple[Best, ...] = ()

    @property
    def names(self) -> list[str]:
        """Of all figures."""
        return [
            *(figure.name for probe in self.probes for figure in probe.figures),
            *(each.figure.name for each in self.bests),
        ]

    def only(self, patterns: Sequence[str]) -> Suite:
        """What these names need; `*` and `?` stand for any characters, as in file names.

        Raises:
            LookupError: a pattern fits nothing.
        """
        unknown = [one for one in patterns if not any(fnmatchcase(name, one) for name in self.names)]
        if unknown:
            raise LookupError(f"no row is named {', '.join(unknown)}")

        def chosen(name: str) -> bool:
            return any(fnmatchcase(name, one) for one in patterns)

        bests = tuple(each for each in self.bests if chosen(each.figure.name))
        sources = {name for each in bests for name in each.of}
        return Suite(
            tuple(
                probe
                for probe in self.probes
                if any(chosen(figure.name) or figure.name in sources for figure in probe.figures)
            ),
            bests,
        )


def run_rounds(
    bench: Bench,
    suite: Suite,
    rounds: int,
    *,
    seed: int,
    on_progress: Callable[[str, int, int], None],
    may_begin: Callable[[int], bool] = lambda _turn: True,
) -> list[Row]:
    """Measure everything once a round; so what disturbs the machine for a while disturbs all rows.

    Args:
        bench: what to measure with.
        suite: what to measure.
        rounds: how often.
        seed: of all random choices.
        on_progress: told before each measurement: its first row's name, measurements done, and in all.
        may_begin: asked before each round but the first, with the rounds done; False ends the run.

    Raises:
        BenchError, ProcessError: the device refused, a process failed, or wrong bytes came back.
    """
    draw = np.random.default_rng(seed)
    samples: dict[str, list[Sample]] = {name: [] for name in suite.names}
    reasons: dict[str, str] = {}
    for turn in range(rounds):
        if turn and not may_begin(turn):
            break
        for position, probe in enumerate(suite.probes):
            name = probe.figures[0].name
            on_progress(name, turn * len(suite.probes) + position, rounds * len(suite.probes))
            if name in reasons:
                continue
            try:
                taken = probe.measure(bench, draw)
            except NotAvailable as reason:
                reasons.update((figure.name, str(reason)) for figure in probe.figures)
                continue
            for figure in probe.figures:
                samples[figure.name].append(taken[figure.name])
    rows: list[Row] = []
    for figure in (figure for probe in suite.probes for figure in probe.figures):
        if figure.name in reasons:
            rows.append(not_available(figure, reasons[figure.name]))
        else:
            rows.append(summarise(figure, samples[figure.name]))
    for each in suite.bests:
        # Behind the last of those that it is chosen from.
        among = [row for row in rows if row.name in each.of]
        rows.insert(rows.index(among[-1]) + 1, best(each.figure, among))
    return rows
