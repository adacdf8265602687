"""One run of the bench: device, corpus, rounds, result."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console

from cramlab.bench.corpus import gather
from cramlab.bench.report import as_json, corpus_line, table
from cramlab.bench.suite import IN_FLIGHT, Bench, fill, run_rounds, standard_rows
from cramlab.bench.wire import BenchError, BenchHost
from cramlab.processes import DeviceProcess, ProcessError

_ZSTD_LEVEL: Final = 1
_PHYSICAL: Final = "256MiB"
"""Room enough for the corpus uncompressed: nothing is ever refused."""


def run_bench(json_file: Path | None, *, rounds: int, pages: int, seed: int) -> None:
    """Measure, print the table, write the JSON.

    Raises:
        click.ClickException: a process did not start, the device refused, or wrong bytes came back.
    """
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="cramctl-bench-") as name:
            folder = Path(name)
            with console.status("gathering pages of real programs"):
                corpus = gather(folder, pages, seed=seed, zstd_level=_ZSTD_LEVEL)
            console.print(corpus_line(corpus), soft_wrap=True, highlight=False)
            options = ["--zstd-level", str(_ZSTD_LEVEL)]
            with (
                DeviceProcess(folder, physical=_PHYSICAL, args=options) as device,
                BenchHost(device.address, pages) as host,
                console.status("filling") as status,
            ):
                bench = Bench(host, corpus)
                fill(bench, np.random.default_rng(seed))
                rows = run_rounds(
                    bench,
                    standard_rows(),
                    rounds,
                    seed=seed,
                    on_progress=lambda row, done, total: status.update(f"{done + 1} of {total}: {row}"),
                )
    except (BenchError, ProcessError, OSError) as error:
        raise click.ClickException(str(error)) from error
    console.print(table(rows))
    if json_file is not None:
        result = as_json(corpus, rows, rounds=rounds, in_flight=IN_FLIGHT)
        json_file.write_text(json.dumps(result, indent=2) + "\n")
