"""The bench's mathematics and its plain zstandard, on figures and pages that are easy to check."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from cramlab.bench.raw import compress_rate, decompress_rate
from cramlab.bench.report import table
from cramlab.bench.rows import Sample, megabytes_per_second, summarise


def test_a_row_is_the_median_with_its_spread() -> None:
    """One outlier of five moves max, not the median."""
    row = summarise("write-256", "MB/s", [Sample(value) for value in (100, 102, 98, 101, 900)])
    assert (row.median, row.min, row.max) == (101, 98, 900)
    assert row.raw is None
    assert row.ratio is None


def test_the_ratio_is_taken_round_by_round() -> None:
    """A machine that is slow for a whole round is slow for both sides of it."""
    samples = [Sample(100, 200), Sample(50, 100), Sample(90, 200)]
    row = summarise("read-64", "MB/s", samples)
    assert row.ratio == 0.5
    assert row.raw == 200
    assert row.median == 90


def test_the_json_has_the_keys_and_honest_digits() -> None:
    """Four digits: the noise leaves no more."""
    row = summarise("write-1", "MB/s", [Sample(3.14159265, 123.456789)]).as_dict()
    assert row == {
        "name": "write-1",
        "unit": "MB/s",
        "median": 3.142,
        "min": 3.142,
        "max": 3.142,
        "raw": 123.5,
        "ratio": 0.02545,
        "pages_per_s": 767.0,
    }


def test_only_throughput_has_pages() -> None:
    """A latency has no rate and nothing to be compared with."""
    row = summarise("write-1-p50", "us", [Sample(900.0)])
    assert row.pages_per_second is None
    assert row.as_dict()["ratio"] is None


def test_nothing_measured_is_an_error_not_a_0() -> None:
    """Nor is a plain zstandard that did nothing."""
    with pytest.raises(ValueError, match="no round"):
        summarise("write-1", "MB/s", [])
    with pytest.raises(ValueError, match="cannot have done 0"):
        summarise("write-1", "MB/s", [Sample(1.0, 0.0)])


def test_megabytes_are_millions_of_bytes() -> None:
    """1000 pages in one second."""
    assert megabytes_per_second(1000, 1.0) == pytest.approx(4.096)


def test_plain_zstandard_does_the_same_work_both_ways() -> None:
    """Some rate above 0 for pages of all kinds; more calls than one batch of the buffer interface."""
    draw = np.random.default_rng(1)
    pages = np.zeros((300, 4096), dtype=np.uint8)
    pages[::2] = draw.integers(0, 256, (150, 4096), dtype=np.uint8)
    assert compress_rate(pages, 1) > 0
    assert decompress_rate(pages, 1) > 0


def test_the_table_leaves_what_is_not_there_empty() -> None:
    """And shows the rest with its unit."""
    console = Console(file=io.StringIO(), width=120, record=True)
    rows = [summarise("write-256", "MB/s", [Sample(100, 200)]), summarise("write-1-p50", "us", [Sample(900)])]
    console.print(table(rows))
    _, throughput, latency = console.export_text().splitlines()
    assert throughput.split() == ["write-256", "100.0", "100.0", "100.0", "MB/s", "24,414", "200.0", "0.50"]
    assert latency.split() == ["write-1-p50", "900.0", "900.0", "900.0", "us"]
