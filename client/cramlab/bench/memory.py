"""What many stored pages cost: memory beyond their compressed bytes, and the TRIM of all of them."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from cramlab.bench.rows import PAGE_BYTES, Figure, Sample, at_most
from cramlab.bench.wire import BenchHost
from cramlab.usage import resident_bytes
from cxldev.codec import PageCodec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cramlab.bench.corpus import Corpus
    from cramlab.bench.suite import Bench

_MEDIA: Final = "6GiB"
"""More than a million pages can take, whatever they hold."""
_PARTS: Final = 16
_RANGE_PAGES: Final = 1024
"""Of a TRIM: 4 MiB, as a host's merged ranges might be."""


class ManyPages:
    """A device of its own, filled once a round, and emptied again."""

    figures = (
        Figure("stored-page-memory", "bytes", "", at_most(48)),
        Figure("stored-page-memory-whole", "bytes"),
        Figure("trim-and-flush", "s", "writing the same pages", at_most(0.02)),
    )

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Bytes of memory a page beyond its compressed bytes; s of TRIM and FLUSH of all pages.

        The memory of a page is the median of what the device grows by in each of sixteen parts of the
        fill, whose addresses follow one another, so that the page table grows with each. The median,
        because buffers and malloc's arenas grow now and then by megabytes that belong to no page.
        `whole` is the whole process, interpreter, libraries and buffers, on the shoulders of all pages.
        """
        corpus, many = bench.corpus, bench.scale.many_pages
        ends = [many * part // _PARTS for part in range(_PARTS + 1)]
        beyond: list[float] = []
        seconds, held = 0.0, 0
        with (
            bench.start_device("many", physical=_MEDIA) as device,
            BenchHost(device.address, many, "many") as host,
        ):
            now = resident_bytes(device.pid)
            for start, end in pairwise(ends):
                pages = start + draw.permutation(end - start)
                seconds += _fill(host, corpus, pages.astype(np.uint64) * np.uint64(PAGE_BYTES))
                before, now = now, resident_bytes(device.pid)
                part_held = _held(corpus, end - start)
                beyond.append((now - before - part_held) / (end - start))
                held += part_held
            trimmed = host.trim_all(many, _RANGE_PAGES)
        return {
            "stored-page-memory": Sample(median(beyond)),
            "stored-page-memory-whole": Sample((now - held) / many),
            "trim-and-flush": Sample(trimmed, seconds),
        }


def _held(corpus: Corpus, pages: int) -> int:
    """Compressed bytes of so many pages that were filled from the corpus."""
    return int(stored_bytes(corpus)[np.arange(pages) % len(corpus.pages)].sum())


def _fill(host: BenchHost, corpus: Corpus, dpas: NDArray[np.uint64]) -> float:
    """Write the corpus, again and again, to these addresses; the seconds."""
    count = len(corpus.pages)
    return sum(
        host.write(part, corpus.pages[: len(part)], batch=1024, in_flight=4)
        for part in (dpas[at : at + count] for at in range(0, len(dpas), count))
    )


def stored_bytes(corpus: Corpus) -> NDArray[np.int64]:
    """Compressed bytes of each page as the device keeps it: none of a page of one repeated word."""
    sizes: NDArray[np.int64] = PageCodec(corpus.zstd_level).compress(corpus.pages.data.cast("B")).sizes
    return sizes
