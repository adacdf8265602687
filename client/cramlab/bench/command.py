"""`cramctl bench`. Light to import: what it needs is loaded when it runs, after malloc was told."""

from __future__ import annotations

from pathlib import Path

import click

from cramwire.transport import tune_malloc

QUICK_PAGES = 2048
FULL_PAGES = 8192


@click.command()
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows here."
)
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
    # The client's end allocates as large buffers as the server's; and grpc must be loaded later.
    tune_malloc()
    from cramlab.bench.run import run_bench  # noqa: PLC0415

    pages = QUICK_PAGES if quick else FULL_PAGES
    run_bench(json_file, rounds=min(rounds, 2) if quick else rounds, pages=pages, seed=seed)
