"""The shipped scenarios in emulated time: each keeps what it promises, and gives the same JSON every time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cramlab.scenario.evaluate import evaluate
from cramlab.scenario.library import shipped
from cramlab.scenario.reader import read_scenario
from cramlab.scenario.report import make_report
from cramlab.simulated.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path


def report_of(path: Path) -> str:
    """One run, as `--json` writes it."""
    outcome = simulate(read_scenario(path))
    return json.dumps(make_report(outcome, evaluate(outcome)), indent=1)


@pytest.mark.timeout(600)  # the dirty cache is 256 MiB, twice; a busy machine takes minutes
@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_two_runs_give_the_same_json(path: Path) -> None:
    """Bit for bit; and all that is expected holds."""
    first = report_of(path)
    report = json.loads(first)
    broken = [finding for finding in report["measured"]["findings"] if not finding["holds"]]
    assert report["passed"], (broken, report["problems"])
    assert report_of(path) == first
