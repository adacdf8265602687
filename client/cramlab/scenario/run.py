"""`cramctl scenario run`: one run from the file to the exit code; and nothing left behind."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from cramctl.operator import OperatorError
from cramlab.ended import sigterm_as_interrupt
from cramlab.processes import ProcessError
from cramlab.scenario.evaluate import evaluate, passed
from cramlab.scenario.junit import write_junit
from cramlab.scenario.live.run import run_live
from cramlab.scenario.report import make_report, write_report
from cramlab.scenario.shortfall import shortfalls
from cramlab.scenario.view import LineView, LiveView, verdict_table
from cramlab.simulated.simulate import NotSimulated, simulate

if TYPE_CHECKING:
    from cramlab.scenario.measurements import Outcome
    from cramlab.scenario.model import Scenario

BROKEN: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked of a run beside the scenario."""

    json_file: Path | None = None
    junit_file: Path | None = None
    keep_logs: bool = False
    simulated: bool = False


def run_scenario(scenario: Scenario, wanted: Wanted) -> int:
    """Run it, show it, write what was asked for; the exit code."""
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix=f"cramctl-{scenario.name}-"))
    try:
        with sigterm_as_interrupt():
            outcome = _perform(console, scenario, folder, simulated=wanted.simulated)
    except KeyboardInterrupt:
        console.print(f"interrupted; all processes were stopped; logs are in {folder}", highlight=False)
        return INTERRUPTED
    except NotSimulated as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        shutil.rmtree(folder, ignore_errors=True)
        return WRONG_USAGE
    except (ProcessError, OperatorError) as error:
        console.print(f"the scenario could not be run: {error}", style="red", markup=False, soft_wrap=True)
        console.print(f"logs are in {folder}", highlight=False, soft_wrap=True)
        return BROKEN
    verdicts = evaluate(outcome)
    console.print(verdict_table(verdicts))
    for problem in outcome.problems:
        console.print(f"WRONG: {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    for late in shortfalls(outcome):
        console.print(f"late: {late}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    good = passed(outcome, verdicts)
    held = sum(verdict.holds for verdict in verdicts)
    console.print(
        f"{scenario.name}, seed {scenario.seed}, {outcome.engine}: "
        f"{held} of {len(verdicts)} expectations hold"
        f"{', but the run went wrong' if outcome.problems else ''}",
        style="bold green" if good else "bold red",
        highlight=False,
    )
    if wanted.json_file is not None:
        write_report(wanted.json_file, make_report(outcome, verdicts))
    if wanted.junit_file is not None:
        write_junit(wanted.junit_file, outcome, verdicts)
    if good and not wanted.keep_logs:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"logs are in {folder}", highlight=False, soft_wrap=True)
    return 0 if good else BROKEN


def _perform(console: Console, scenario: Scenario, folder: Path, *, simulated: bool) -> Outcome:
    view = LiveView(console, scenario) if console.is_terminal else LineView(console)
    with view:
        if simulated:
            return simulate(scenario, view, folder=folder)
        return run_live(scenario, folder, view)
