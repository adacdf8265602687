"""One run of the demo: stage, scenario, summary, exit code; and nothing left behind."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from cramctl.operator import OperatorError
from cramlab.demo.needs import PhaseNotReached
from cramlab.demo.scenario import Outcome, PromiseBroken, Scenario
from cramlab.demo.stage import CAST, Stage
from cramlab.demo.summary import judge, summarise, table
from cramlab.demo.view import LineView, LiveView
from cramlab.ended import sigterm_as_interrupt
from cramlab.processes import DeviceProcess, ProcessError
from cramwire.whole_file import write_whole

INTERRUPTED: Final = 130


def run_demo(json_file: Path | None, *, seed: int, keep_logs: bool) -> int:
    """Run it, print the summary, write the JSON; the exit code."""
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="cramctl-demo-"))
    outcome = Outcome()
    problems: list[str] = []
    began = time.monotonic()
    try:
        with sigterm_as_interrupt():
            problems += _perform(console, folder, seed, outcome)
    except KeyboardInterrupt:
        console.print(f"interrupted; all processes were stopped; logs are in {folder}", highlight=False)
        return INTERRUPTED
    outcome.seconds = time.monotonic() - began
    summary = summarise(outcome, len(CAST), problems)
    console.print(table(summary))
    for problem in problems:
        console.print(f"WRONG: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    if json_file is not None:
        write_whole(json_file, json.dumps(summary, indent=2) + "\n")
    if problems:
        console.print(f"FAILED after {outcome.seconds:.1f} s; logs are in {folder}", style="bold red")
        return 1
    console.print(f"all was right, in {outcome.seconds:.1f} s", style="bold green", highlight=False)
    if keep_logs:
        console.print(f"logs are in {folder}", highlight=False)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def where_to_look(device: DeviceProcess) -> tuple[str, str]:
    """How to watch the device meanwhile, from outside."""
    return (
        f"the device shows itself at http://{device.metrics_address}/",
        f"and in a terminal: cramctl top --operator {device.operator_address}",
    )


def _perform(console: Console, folder: Path, seed: int, outcome: Outcome) -> list[str]:
    """All of it, from the first process to the last; what was wrong. `outcome` fills up on the way."""
    view = LiveView(console) if console.is_terminal else LineView(console)
    stage = Stage(folder, seed)
    try:
        with view, stage:
            for line in where_to_look(stage.device):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            Scenario(stage, view, outcome).run()
    except (PhaseNotReached, PromiseBroken, ProcessError, OperatorError) as error:
        # Agents that could say goodbye have told what they know.
        outcome.reports = stage.reports()
        return [str(error)]
    problems = judge(outcome, len(CAST))
    if stage.device.returncode != 0:
        problems.append(f"the device ended with {stage.device.returncode}")
    return problems
