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


def as_json(corpus: Corpus, rows: Sequence[Row], *, rounds: int, in_flight: int) -> dict[str, Any]:
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
        "calls_in_flight": in_flight,
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


def table(rows: Sequence[Row]) -> Table:
    """Medians with their spread, and the plain zstandard of the same rounds."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("operation-pages", no_wrap=True)
    for heading in ("median", "min", "max", "", "pages/s", "zstandard", "ratio"):
        made.add_column(heading, justify="left" if not heading else "right")
    for row in rows:
        pages = row.pages_per_second
        made.add_row(
            row.name,
            f"{row.median:,.1f}",
            f"{row.min:,.1f}",
            f"{row.max:,.1f}",
            row.unit,
            "" if pages is None else f"{pages:,.0f}",
            "" if row.raw is None else f"{row.raw:,.1f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
        )
    return made
