"""`cramctl bench`. Light to import: what it needs is loaded when it runs, after malloc was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cramctl.options import json_file_option
from cramwire.transport import tune_malloc

if TYPE_CHECKING:
    from pathlib import Path

QUICK_PAGES = 2048
FULL_PAGES = 8192


@click.command()
@json_file_option
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds of all rows.")
@click.option("--quick", is_flag=True, help="A quarter of the pages and 2 rounds at most: does it work?")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of all random choices.")
def bench(json_file: Path | None, rounds: int, quick: bool, seed: int) -> None:
    r"""Measure the device against plain zstandard.

    Starts a device of its own, and writes and reads pages of real programs over gRPC, at random
    addresses, several calls in flight. Every byte read is compared. `zstandard` is what one thread of
    it does with the same pages in the same round; `ratio` is the device's part of that.

    \b
    Example:
      cramctl bench --rounds 3 --json bench.json
    """
    # Before grpc is loaded: the client's end allocates buffers as large as the server's.
    tune_malloc()
    from cramlab.bench.run import run_bench  # noqa: PLC0415

    pages = QUICK_PAGES if quick else FULL_PAGES
    run_bench(json_file, rounds=min(rounds, 2) if quick else rounds, pages=pages, seed=seed)
