"""Parts of the bench that need no process: percentiles, the policy's and the device's loops."""

from __future__ import annotations

import numpy as np
import pytest

from cramlab.bench.corpus import Corpus
from cramlab.bench.device_cost import StoredDevice
from cramlab.bench.events import media_bytes, percentile
from cramlab.bench.memory import stored_bytes
from cramlab.bench.policy import SimulatedSpace
from cramlab.bench.wire import BenchError, compare


def some_pages(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A third zero, a third text-like, a third noise."""
    draw = np.random.default_rng(1)
    pages = np.zeros((count, 4096), dtype=np.uint8)
    pages[1::3] = np.tile(draw.integers(0, 9, 64, dtype=np.uint8), 64)
    pages[1::3, 100:140] = 7
    pages[2::3] = draw.integers(0, 256, (len(pages[2::3]), 4096), dtype=np.uint8)
    return pages


def test_one_wrong_byte_is_found() -> None:
    """And the pages that differ are counted."""
    pages = some_pages(6)
    compare(pages.copy(), pages)
    wrong = pages.copy()
    wrong[2, 4095] ^= 1
    wrong[5, 0] ^= 1
    with pytest.raises(BenchError, match="2 pages"):
        compare(wrong, pages)


def test_percentiles_are_values_that_were_seen() -> None:
    """The nearest rank; never past the last."""
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([3.0], 0.99) == 3


def test_bytes_of_a_corpus_are_those_that_a_device_keeps() -> None:
    """None of a page of one word, all of one that saves nothing; media in whole sectors, with metadata."""
    corpus = Corpus(some_pages(6), 2, 2, 2, 1, 1000)
    sizes = stored_bytes(corpus).tolist()
    assert [sizes[0], sizes[3], sizes[2], sizes[5]] == [0, 0, 4096, 4096]
    assert 0 < sizes[1] < 1000
    sectors = sum(-(-size // 64) for size in sizes)
    assert media_bytes(corpus, 6) == 64 * sectors + 6 * 16 + 4096


def test_the_policy_s_loop_keeps_the_policy_s_rules_and_counts_events() -> None:
    """Every page was touched and most were demoted; the audit finds nothing."""
    space = SimulatedSpace()
    filled = space.events
    assert filled > 16_384
    space.batch(list(range(0, 512, 2)), [True, False] * 128)
    assert space.events > filled
    space.check()


def test_the_device_s_loop_overwrites_and_reads_pages() -> None:
    """Bookkeeping is a part of the whole; more pages than the corpus has are stored by storing it again."""
    pages, draw = some_pages(96), np.random.default_rng(2)
    device = StoredDevice(pages, 250, 1, draw)
    in_all, outside = device.turn(pages[:64], draw)
    assert 0 < outside < in_all
