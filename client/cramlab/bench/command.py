"""`cramctl bench`. Light to import: what it needs is loaded when it runs, after malloc was told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cramctl.options import json_file_option
from cramwire.transport import tune_grpc, tune_malloc

if TYPE_CHECKING:
    from pathlib import Path

_QUICK_ROUNDS: Final = 2


@click.command()
@json_file_option
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds of all rows.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    default=15,
    show_default=True,
    help="No round begins that would not end in this time.",
)
@click.option(
    "--quick", is_flag=True, help="Few pages, and 2 rounds at most: does it work? Its figures say little."
)
@click.option(
    "--only", multiple=True, metavar="NAME", help="Only these rows; may be repeated; `*` stands for anything."
)
@click.option("--against-nbdkit", is_flag=True, help="Measure nbdkit's zstd memory disk beside it instead.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of all random choices.")
def bench(
    *,
    json_file: Path | None,
    rounds: int,
    minutes: float,
    quick: bool,
    only: tuple[str, ...],
    against_nbdkit: bool,
    seed: int,
) -> None:
    """Measure device and agent against the raw limits of this machine.

    Starts devices and clients as processes of their own, and writes and reads pages of real programs.
    Every byte read is compared. Each row is a median over the rounds, with min and max; `raw` is what
    it is compared with (plain zstandard, an empty call, ...), measured on the same pages in the same
    round; `ratio` is the row's part of that, and `goal` what the ratio should be, or, where there is
    none, the median. All rows take about ten minutes.

    \b
    Example:
      cramctl bench --json bench.json
      cramctl bench --quick --only write-64 --only 'lane-*-best'
      cramctl bench --against-nbdkit
    """  # noqa: D301 - click's mark: keep these lines as they are
    # Before grpc is loaded: the client's end allocates buffers as large as the server's.
    tune_malloc()
    tune_grpc()
    from cramlab.bench.run import run_bench  # noqa: PLC0415

    run_bench(
        json_file,
        rounds=min(rounds, _QUICK_ROUNDS) if quick else rounds,
        minutes=minutes,
        quick=quick,
        seed=seed,
        only=only,
        against_nbdkit=against_nbdkit,
    )
