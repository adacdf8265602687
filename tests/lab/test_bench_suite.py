"""Rounds, choices and what is not available, with probes that measure nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from cramlab.bench.catalogue import nbdkit_suite, standard_suite
from cramlab.bench.rows import Figure, Sample, at_least
from cramlab.bench.suite import Bench, Best, NotAvailable, Suite, run_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

NO_BENCH = cast("Bench", None)


@dataclass
class Fake:
    """Measures 1, 2, 3, ... of everything, against 10; or is not available."""

    names: Sequence[str]
    why_not: str = ""
    turns: int = 0
    figures: tuple[Figure, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.figures = tuple(Figure(name, "MB/s") for name in self.names)

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """See the class."""
        self.turns += 1
        if self.why_not:
            raise NotAvailable(self.why_not)
        return {name: Sample(self.turns, 10) for name in self.names}


def run(suite: Suite, rounds: int = 3) -> tuple[dict[str, Any], list[tuple[str, int, int]]]:
    """The rows by name, and the progress told."""
    told: list[tuple[str, int, int]] = []
    rows = run_rounds(NO_BENCH, suite, rounds, seed=1, on_progress=lambda *step: told.append(step))
    return {row.name: row for row in rows}, told


def test_every_probe_is_measured_once_a_round_and_told_of() -> None:
    """Rounds outside, probes inside; progress counts both."""
    rows, told = run(Suite((Fake(["a", "b"]), Fake(["c"]))))
    assert [(row.name, row.median, row.ratio) for row in rows.values()] == [
        ("a", 2, 0.2),
        ("b", 2, 0.2),
        ("c", 2, 0.2),
    ]
    assert told == [("a", 0, 6), ("c", 1, 6), ("a", 2, 6), ("c", 3, 6), ("a", 4, 6), ("c", 5, 6)]


def test_a_run_that_takes_too_long_ends_between_two_rounds() -> None:
    """Asked before each round but the first; what was measured until then counts."""
    asked: list[int] = []

    def may_begin(turn: int) -> bool:
        asked.append(turn)
        return turn < 2

    probe = Fake(["a"])
    rows = run_rounds(
        NO_BENCH, Suite((probe,)), 9, seed=1, on_progress=lambda *_step: None, may_begin=may_begin
    )
    assert (asked, probe.turns, rows[0].median) == ([1, 2], 2, 1.5)


def test_what_is_not_available_is_a_row_with_a_reason() -> None:
    """It is asked once, not every round; the others go on."""
    absent = Fake(["a", "b"], "no such thing here")
    rows, _ = run(Suite((absent, Fake(["c"]))))
    assert (rows["a"].median, rows["a"].reason, rows["b"].reason) == (
        None,
        "no such thing here",
        "no such thing here",
    )
    assert rows["c"].median == 2
    assert absent.turns == 1


def test_the_best_row_stands_behind_those_it_is_chosen_from() -> None:
    """And is judged by its own goal."""
    best = Best(Figure("best", "MB/s", goal=at_least(0.2)), ("a", "b"))
    rows, _ = run(Suite((Fake(["a"]), Fake(["b"]), Fake(["c"])), (best,)))
    assert list(rows) == ["a", "b", "best", "c"]
    assert rows["best"].met


def test_rows_are_chosen_by_name_or_pattern_with_what_they_need() -> None:
    """A best row needs its sources; a probe comes with all of its rows."""
    suite = Suite((Fake(["a", "b"]), Fake(["c-1"]), Fake(["c-2"])), (Best(Figure("c-best", "x"), ("c-1",)),))
    assert suite.only(["b"]).names == ["a", "b"]
    assert suite.only(["c-best"]).names == ["c-1", "c-best"]
    assert suite.only(["c-?"]).names == ["c-1", "c-2"]
    with pytest.raises(LookupError, match="no row is named d, e"):
        suite.only(["a", "d", "e"])


def test_the_catalogue_names_each_row_once_and_sets_the_goals() -> None:
    """The goals of the data plane, row by row."""
    suites = (standard_suite(), nbdkit_suite())
    names = [name for suite in suites for name in suite.names]
    assert len(names) == len(set(names))
    figures = [figure for suite in suites for probe in suite.probes for figure in probe.figures]
    figures += [each.figure for suite in suites for each in suite.bests]
    assert {figure.name: str(figure.goal) for figure in figures if figure.goal is not None} == {
        "write-best": ">= 1.2",
        "read-best": ">= 0.75",
        "write-64": ">= 0.65",
        "read-64": ">= 0.45",
        "write-1-p50": "<= 1.25",
        "read-1-p50": "<= 1.25",
        "lane-write-best": ">= 1.5",
        "lane-read-best": ">= 1.2",
        "lane-write-1-p50": "<= 0.25",
        "lane-read-1-p50": "<= 0.25",
        "lane-write-1-p50-nbdkit": "<= 1",
        "lane-read-1-p50-nbdkit": "<= 1",
        "stored-page-memory": "<= 48",
        "trim-and-flush": "<= 0.02",
        "device-page-cost": "<= 1.1",
        "agents-8-write": ">= 0.95",
        "agents-8-read": ">= 0.95",
        "agents-8-write-least": ">= 0.5",
        "agents-8-read-least": ">= 0.5",
        "watermark-event-p99": "<= 4",
        "scrape-p50": "<= 50",
        "scrape-beside-writes-p50": "<= 50",
        "policy-event": "<= 0.25",
        "agent-faults": ">= 0.35",
        "nbdkit-random-write-32": ">= 10",
        "nbdkit-random-read-32": ">= 4",
        "nbdkit-sequential-write": ">= 1.2",
        "nbdkit-sequential-read": ">= 0.9",
        "nbdkit-memory-random": "<= 1",
        "nbdkit-lane-random-write-32": ">= 10",
        "nbdkit-lane-random-read-32": ">= 4",
        "nbdkit-lane-sequential-write": ">= 1.2",
        "nbdkit-lane-sequential-read": ">= 1.2",
        "nbdkit-lane-memory-random": "<= 1",
    }
