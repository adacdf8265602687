"""Figures of a metric over a part of a run, as Prometheus would compute them from the same samples."""

from __future__ import annotations

from math import inf
from statistics import fmean
from typing import TYPE_CHECKING, Final, TypeAlias

from cramlab.scenario.known import HISTOGRAM, known_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cramlab.scenario.expectation import Figure, Window
    from cramlab.scenario.measurements import Measurements

Samples: TypeAlias = list[tuple[int, float]]
"""(time in ns, value), by time."""

_OVER: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {"max": max, "min": min, "mean": fmean}


def evaluate_figure(asked: Figure, measured: Measurements, who: str, window: Window) -> float | None:
    """The figure for one host, or the device; None if there is nothing to judge.

    `last`, `max`, `min`, `mean`: of the value (of a counter: of what it has counted over all lives of
    its process). `growth`: from the window's beginning to its end. `p99`: a quantile of what a histogram
    observed within the window. The `mean` of a histogram is that of what it observed.
    """
    if known_metrics()[asked.metric].kind == HISTOGRAM:
        return _of_histogram(asked, measured, who, window)
    counts = known_metrics()[asked.metric].kind == "counter"
    found = [measured.samples(series) for series in measured.find(who, asked.metric, asked.labels)]
    values = _sum([_counted(samples) if counts else samples for samples in found])
    if asked.of == "growth":
        return _growth(values, window)
    if asked.of == "last":
        # What stood last before the window ended, even if nothing was sampled inside it.
        before = [value for at, value in values if at <= _end(window)]
        return before[-1] if before else None
    within = [value for at, value in values if _is_within(at, window)]
    return _OVER[asked.of](within) if within else None


def _of_histogram(asked: Figure, measured: Measurements, who: str, window: Window) -> float | None:
    """A quantile as PromQL's `histogram_quantile`, straight between the bounds of the bucket it is in."""
    counts: dict[float, float] = {}
    total = 0.0
    for series in measured.find(who, f"{asked.metric}_bucket", asked.labels):
        bound = float(dict(series.labels)["le"])
        grown = _growth(_counted(measured.samples(series)), window) or 0.0
        counts[bound] = counts.get(bound, 0.0) + grown
    observed = counts.get(inf, 0.0)
    if not observed:
        return None
    if asked.of == "mean":
        for series in measured.find(who, f"{asked.metric}_sum", asked.labels):
            total += _growth(_counted(measured.samples(series)), window) or 0.0
        return total / observed
    rank, lower, below = float(asked.of.removeprefix("p")) / 100 * observed, 0.0, 0.0
    for bound in sorted(counts):
        # Beyond the last bound nothing is known but that.
        if counts[bound] >= rank and bound != inf:
            return lower + (bound - lower) * (rank - below) / (counts[bound] - below or 1.0)
        if bound != inf:
            lower, below = bound, counts[bound]
    return lower


def _counted(samples: Samples) -> Samples:
    """A counter over all lives of its process: it begins at 0 with each."""
    total = last = 0.0
    counted = []
    for at, value in samples:
        total += value - last if value >= last else value
        last = value
        counted.append((at, total))
    return counted


def _sum(found: list[Samples]) -> Samples:
    """One line out of several: at each time, the newest value of each."""
    if len(found) == 1:
        return found[0]
    newest = [0.0] * len(found)
    changes = sorted((at, index, value) for index, samples in enumerate(found) for at, value in samples)
    summed: dict[int, float] = {}
    for at, index, value in changes:
        newest[index] = value
        summed[at] = sum(newest)
    return list(summed.items())


def _growth(values: Samples, window: Window) -> float | None:
    """By how much the value rose.

    A window that begins before the first sample begins at that sample, and one without a beginning at 0.
    """
    until = [value for at, value in values if at <= _end(window)]
    if not until:
        return None
    if window.from_ns is None:
        return until[-1]
    start = [value for at, value in values if at <= window.from_ns]
    return until[-1] - (start[-1] if start else until[0])


def _end(window: Window) -> float:
    return inf if window.until_ns is None else window.until_ns


def _is_within(at_ns: int, window: Window) -> bool:
    return (window.from_ns is None or at_ns >= window.from_ns) and at_ns <= _end(window)
