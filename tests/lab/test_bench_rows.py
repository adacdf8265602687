"""The bench's mathematics and its plain zstandard, on figures and pages that are easy to check."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from cramlab.bench.corpus import Corpus
from cramlab.bench.raw import compress_rate, decompress_rate, page_seconds
from cramlab.bench.report import as_json, notes, summary_line, table
from cramlab.bench.rows import (
    Figure,
    Sample,
    at_least,
    at_most,
    best,
    megabytes_per_second,
    not_available,
    summarise,
)

WRITE = Figure("write-256", "MB/s", "zstandard", at_least(0.5))
CALL = Figure("write-1-p50", "us", "an empty call", at_most(1.25))
MEMORY = Figure("memory", "bytes", goal=at_most(48))


def test_a_row_is_the_median_with_its_spread() -> None:
    """One outlier of five moves max, not the median."""
    row = summarise(WRITE, [Sample(value) for value in (100, 102, 98, 101, 900)])
    assert (row.median, row.min, row.max) == (101, 98, 900)
    assert row.raw is None
    assert row.ratio is None


def test_the_ratio_is_taken_round_by_round() -> None:
    """A machine that is slow for a whole round is slow for both sides of it."""
    samples = [Sample(100, 200), Sample(50, 100), Sample(90, 200)]
    row = summarise(WRITE, samples)
    assert row.ratio == 0.5
    assert row.raw == 200
    assert row.median == 90


def test_what_is_allowed_is_left_out_of_the_ratio() -> None:
    """A call of 620 us, 20 of them zstd's, against an empty one of 500."""
    row = summarise(CALL, [Sample(620, 500, 20)])
    assert row.ratio == pytest.approx(1.2)
    assert row.allowed == 20
    assert row.met


def test_a_goal_is_of_the_ratio_or_of_the_median_where_there_is_none() -> None:
    """Both directions; the limit itself is good enough."""
    assert summarise(WRITE, [Sample(50, 100)]).met
    assert not summarise(WRITE, [Sample(49, 100)]).met
    assert summarise(MEMORY, [Sample(48)]).met
    assert not summarise(MEMORY, [Sample(49)]).met
    assert summarise(Figure("write-1", "MB/s"), [Sample(1, 100)]).met is None
    assert [str(goal) for goal in (at_least(1.2), at_most(48))] == [">= 1.2", "<= 48"]


def test_what_was_not_measured_meets_no_goal_and_says_why() -> None:
    """No figure is made up for it."""
    row = not_available(WRITE, "nbdkit is not installed")
    assert row.met is False
    assert row.as_dict()["median"] is None
    assert row.as_dict()["reason"] == "nbdkit is not installed"
    assert notes([row, row]) == ["write-256, write-256: nbdkit is not installed"]


def test_the_best_row_is_chosen_by_its_median_ratio() -> None:
    """Not by its best round; and it says which row it is."""
    steady = summarise(Figure("write-256", "MB/s"), [Sample(100, 100)] * 3)
    lucky = summarise(Figure("write-1024", "MB/s"), [Sample(10, 100), Sample(10, 100), Sample(900, 100)])
    chosen = best(Figure("write-best", "MB/s", goal=at_least(1)), [steady, lucky])
    assert (chosen.name, chosen.ratio, chosen.reason) == ("write-best", 1.0, "is write-256")
    assert chosen.met
    assert not best(WRITE, [not_available(CALL, "no lane")]).met


def test_the_json_has_the_keys_and_honest_digits() -> None:
    """Four digits: the noise leaves no more."""
    row = summarise(WRITE, [Sample(3.14159265, 123.456789)]).as_dict()
    assert row == {
        "name": "write-256",
        "unit": "MB/s",
        "median": 3.142,
        "min": 3.142,
        "max": 3.142,
        "raw": 123.5,
        "ratio": 0.02545,
        "goal": ">= 0.5",
        "met": False,
        "against": "zstandard",
        "allowed": None,
        "pages_per_s": 767.0,
        "reason": "",
    }


def test_only_throughput_has_pages() -> None:
    """A latency has no rate."""
    assert summarise(CALL, [Sample(900.0)]).pages_per_second is None


def test_nothing_measured_is_an_error_not_a_0() -> None:
    """Nor is a plain zstandard that did nothing."""
    with pytest.raises(ValueError, match="no round"):
        summarise(WRITE, [])
    with pytest.raises(ValueError, match="cannot have been 0"):
        summarise(WRITE, [Sample(1.0, 0.0)])


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
    assert page_seconds(pages, 1, reads=False) > 0
    assert page_seconds(pages, 1, reads=True) > 0


def test_the_table_leaves_what_is_not_there_empty() -> None:
    """And shows the rest with its unit and its goal."""
    console = Console(file=io.StringIO(), width=120, record=True)
    rows = [
        summarise(WRITE, [Sample(100, 200)]),
        summarise(Figure("policy", "us"), [Sample(9)]),
        not_available(CALL, "no device"),
    ]
    console.print(table(rows))
    _, throughput, latency, absent = console.export_text().splitlines()
    assert throughput.split() == [
        "write-256",
        "100.0",
        "100.0",
        "100.0",
        "MB/s",
        "200.0",
        "0.50",
        ">=",
        "0.5",
        "yes",
    ]
    assert latency.split() == ["policy", "9", "9", "9", "us"]
    assert absent.split() == ["write-1-p50", "not", "available", "<=", "1.25", "no"]
    assert summary_line(rows, rounds=5, seconds=61.2) == "1 of 2 goals met; 5 rounds, 61 s"


def test_the_json_says_how_it_was_measured() -> None:
    """Machine, corpus, rounds and time stand beside the rows."""
    corpus = Corpus(np.zeros((4, 4096), dtype=np.uint8), 1, 2, 1, 1, 3000)
    row = summarise(WRITE, [Sample(1, 2)])
    told = as_json(corpus, [row], rounds=5, in_flight=(4, 8), seconds=12.34, quick=False)
    assert told["corpus"] == {
        "pages": 4,
        "process_pages": 1,
        "zero_pages": 2,
        "random_pages": 1,
        "zstd_level": 1,
        "ratio_milli": 3000,
    }
    assert (told["rounds"], told["seconds"], told["rows"]) == (5, 12.3, [row.as_dict()])
