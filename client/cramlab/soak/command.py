"""`cramctl soak`. Light to import: what it needs is loaded when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cramctl.options import json_file_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(min=5), default=600, show_default=True, help="How long to hurt them."
)
@click.option("--hosts", type=click.IntRange(1, 32), default=8, show_default=True, help="How many agents.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    help="Of the plan and of all workloads. Default: another one each time; a failure tells it.",
)
@json_file_option
@click.option(
    "--keep-logs", is_flag=True, help="Keep the logs of all processes. Kept in any case if it fails."
)
def soak(*, seconds: float, hosts: int, seed: int | None, json_file: Path | None, keep_logs: bool) -> None:
    """Hurt one device and many hosts at random, and verify that nothing is wrong, lost in silence or leaked.

    Starts one cxldevd (with --state) and the agents. By a seeded plan, agents and device are killed and
    stopped, media runs out, every kind of fault is armed. In the end every page of every host is
    compared, all media must be back, and memory, threads and files of the device and of the hosts that lived
    through the second half must be flat.

    Exit codes: 0 all was right; 1 something was wrong; 130 interrupted.

    \b
    Example:
      cramctl soak --seconds 60 --seed 7 --json soak.json
    """  # noqa: D301 - click's mark: keep these lines as they are
    # rich, grpc and the rest take longer to load than the command line's --help should.
    from cramlab.soak.session import run_soak  # noqa: PLC0415

    raise SystemExit(run_soak(seconds, hosts, seed, json_file, keep_logs=keep_logs))
