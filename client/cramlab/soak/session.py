"""`cramctl soak` from its options to its exit code; and nothing left behind."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console

from cramctl.operator import OperatorError
from cramlab.ended import sigterm_as_interrupt
from cramlab.processes import ProcessError
from cramlab.soak.judge import as_json, judge
from cramlab.soak.plan import draw_plan
from cramlab.soak.run import Soak
from cramlab.soak.view import View, show_result
from cramwire.whole_file import write_whole

INTERRUPTED: Final = 130


def run_soak(seconds: float, hosts: int, seed: int | None, json_file: Path | None, *, keep_logs: bool) -> int:
    """Run it, show it, write the JSON; the exit code."""
    console = Console()
    seed = secrets.randbits(32) if seed is None else seed
    plan = draw_plan(seconds, hosts, seed)
    folder = Path(tempfile.mkdtemp(prefix="cramctl-soak-"))
    console.print(
        f"soak: {seconds:g} s, {hosts} hosts, seed {seed}, {len(plan.steps)} steps", highlight=False
    )
    view = View(console, seconds, hosts, folder / "steps.log")
    run = Soak(plan, seed, folder, view)
    try:
        with sigterm_as_interrupt():
            with view:
                outcome = run.run()
            outcome.problems += judge(outcome)
    except KeyboardInterrupt:
        console.print(f"interrupted; all processes were stopped; logs are in {folder}", highlight=False)
        return INTERRUPTED
    except (ProcessError, OperatorError) as error:
        outcome = run.outcome
        outcome.problems.append(str(error))
    show_result(console, outcome)
    if json_file is not None:
        write_whole(json_file, json.dumps(as_json(outcome), indent=2) + "\n")
    if outcome.problems:
        again = f"cramctl soak --seconds {seconds:g} --hosts {hosts} --seed {seed}"
        console.print(
            f"FAILED; the same plan again: {again}", style="bold red", highlight=False, soft_wrap=True
        )
        console.print(f"logs are in {folder}", highlight=False, soft_wrap=True)
        return 1
    console.print(f"all was right, in {outcome.seconds:.0f} s", style="bold green", highlight=False)
    if keep_logs:
        console.print(f"logs are in {folder}", highlight=False, soft_wrap=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0
