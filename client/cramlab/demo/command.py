"""`cramctl demo`. Light to import: what it needs is loaded when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cramctl.options import json_file_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@json_file_option
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of all random choices.")
@click.option(
    "--keep-logs", is_flag=True, help="Keep the logs of all processes. Kept in any case if it fails."
)
def demo(json_file: Path | None, seed: int, keep_logs: bool) -> None:
    """Show one device, three hosts and real programs: fill, exhaust, recover, verify.

    Starts one cxldevd, three programs (an in-memory SQLite database, parsed JSON documents, numeric
    arrays) and for each a cram-agent that shadows its memory. Takes about a minute. Every figure at
    the end was counted by the processes that did the work.

    Exit codes: 0 all was right; 1 something was wrong; 130 interrupted.

    \b
    Example:
      cramctl demo --json demo.json
    """  # noqa: D301 - click's mark: keep these lines as they are
    # rich, grpc and the rest take longer to load than the command line's --help should.
    from cramlab.demo.run import run_demo  # noqa: PLC0415

    raise SystemExit(run_demo(json_file, seed=seed, keep_logs=keep_logs))
