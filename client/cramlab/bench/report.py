"""The bench's result: a table for people, JSON for programs."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

import zstandard
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramlab.bench.corpus import Corpus
    from cramlab.bench.rows import Row


def as_json(
    corpus: Corpus,
    rows: Sequence[Row],
    *,
    rounds: int,
    in_flight: tuple[int, int],
    seconds: float,
    quick: bool,
) -> dict[str, Any]:
    """All that is needed to judge the figures."""
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "zstandard": zstandard.__version__,
        },
        "corpus": corpus.facts(),
        "rounds": rounds,
        "quick": quick,
        "calls_in_flight": in_flight[0],
        "calls_in_flight_of_small_batches": in_flight[1],
        "seconds": round(seconds, 1),
        "rows": [row.as_dict() for row in rows],
    }


def corpus_line(corpus: Corpus) -> str:
    """What was written, in one line."""
    count = len(corpus.pages)
    return (
        f"{count:,} pages: {100 * corpus.process_pages / count:.0f} % of three programs' memory, "
        f"{100 * corpus.zero_pages / count:.0f} % zero, {100 * corpus.random_pages / count:.0f} % random; "
        f"zstd level {corpus.zstd_level} makes {corpus.ratio_milli / 1000:.2f}:1 of them at 4 KiB"
    )


def summary_line(rows: Sequence[Row], *, rounds: int, seconds: float) -> str:
    """How it went, in one line."""
    judged = [row for row in rows if row.met is not None]
    met = sum(bool(row.met) for row in judged)
    return f"{met} of {len(judged)} goals met; {rounds} rounds, {seconds:.0f} s"


def table(rows: Sequence[Row]) -> Table:
    """Medians with their spread, what they are compared with, and the goal."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("row", no_wrap=True)
    for heading in ("median", "min", "max", "", "raw", "ratio", "goal", "met"):
        made.add_column(heading, justify="left" if heading in {"", "goal", "met"} else "right")
    for row in rows:
        goal = "" if row.figure.goal is None else str(row.figure.goal)
        met = {None: "", True: "yes", False: "no"}[row.met]
        if row.median is None:
            made.add_row(row.name, *("",) * 3, "not available", "", "", goal, met)
            continue
        made.add_row(
            row.name,
            _shown(row.median),
            _shown(row.min),
            _shown(row.max),
            row.unit,
            _shown(row.raw),
            "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.4f}",
            goal,
            met,
        )
    return made


def notes(rows: Sequence[Row]) -> list[str]:
    """A line for each thing that the table has no room for."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
