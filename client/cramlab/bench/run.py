"""One run of the bench: pages, devices, rounds, result."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console

from cramlab.bench.catalogue import nbdkit_suite, standard_suite
from cramlab.bench.corpus import gather
from cramlab.bench.nbd_client import NbdError
from cramlab.bench.nbdkit import require_nbdkit
from cramlab.bench.report import as_json, corpus_line, notes, summary_line, table
from cramlab.bench.suite import FULL, QUICK, Bench, NotAvailable, Suite, run_rounds
from cramlab.bench.throughput import IN_FLIGHT, SMALL_IN_FLIGHT
from cramlab.bench.wire import BenchError
from cramlab.bench.worker import WorkerFailed
from cramlab.ended import sigterm_as_interrupt
from cramlab.processes import ProcessError
from cramwire.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

_ZSTD_LEVEL: Final = 1
_TABLE_WIDTH: Final = 120


def run_bench(
    json_file: Path | None,
    *,
    rounds: int,
    minutes: float,
    quick: bool,
    seed: int,
    only: Sequence[str],
    against_nbdkit: bool,
) -> None:
    """Measure, print the table, write the JSON. Ends after the last round that fits into `minutes`.

    Raises:
        click.ClickException: a process did not start, the device refused, or wrong bytes came back.
        click.UsageError: `only` names no row.
    """
    begun = time.monotonic()
    suite = choose(only, against_nbdkit=against_nbdkit)
    scale = QUICK if quick else FULL
    done = 1
    console = Console()
    if not console.is_terminal:
        # Where nobody knows the width, lines are long enough for the table.
        console = Console(width=_TABLE_WIDTH)
    try:
        with sigterm_as_interrupt(), tempfile.TemporaryDirectory(prefix="cramctl-bench-") as name:
            folder = Path(name)
            with console.status("gathering pages of real programs"):
                corpus = gather(folder, scale.pages, seed=seed, zstd_level=_ZSTD_LEVEL)
            console.print(corpus_line(corpus), soft_wrap=True, highlight=False)
            with Bench(corpus, folder, scale, seed) as bench, console.status("starting") as status:

                def progress(row: str, done: int, total: int) -> None:
                    spent = time.monotonic() - begun
                    line = f"{done + 1} of {total}, {spent:.0f} s: {row}"
                    status.update(line)
                    if not console.is_terminal and not done % len(suite.probes):
                        click.echo(
                            f"round {done // len(suite.probes) + 1} of {rounds}, {spent:.0f} s", err=True
                        )

                def may_begin(turn: int) -> bool:
                    """Whether one more round, as long as those before, ends within the time."""
                    nonlocal done
                    done = turn
                    spent = time.monotonic() - begun
                    if spent + spent / turn <= minutes * 60:
                        done = turn + 1
                        return True
                    return False

                rows = run_rounds(bench, suite, rounds, seed=seed, on_progress=progress, may_begin=may_begin)
    except (BenchError, WorkerFailed, NbdError, ProcessError, OSError) as error:
        raise click.ClickException(str(error)) from error
    seconds = time.monotonic() - begun
    console.print(table(rows))
    for line in (*notes(rows), summary_line(rows, rounds=done, seconds=seconds)):
        console.print(line, soft_wrap=True, highlight=False)
    if done < rounds:
        console.print(f"ended after {done} of {rounds} rounds: {minutes:g} minutes were not enough for more")
    if json_file is not None:
        in_flight = (IN_FLIGHT, SMALL_IN_FLIGHT)
        result = as_json(corpus, rows, rounds=done, in_flight=in_flight, seconds=seconds, quick=quick)
        write_whole(json_file, json.dumps(result, indent=2) + "\n")


def choose(only: Sequence[str], *, against_nbdkit: bool) -> Suite:
    """The rows to measure.

    Raises:
        click.UsageError: a name fits no row.
        click.ClickException: nbdkit is asked for, and not installed.
    """
    standard, comparison = standard_suite(), nbdkit_suite()
    if against_nbdkit:
        try:
            require_nbdkit()
        except NotAvailable as error:
            raise click.ClickException(str(error)) from error
        if not only:
            return comparison
    if not only:
        return standard
    both = Suite((*standard.probes, *comparison.probes), standard.bests)
    try:
        return both.only(only)
    except LookupError as error:
        names = ", ".join(both.names)
        raise click.UsageError(f"{error.args[0]}; there are: {names}") from error
