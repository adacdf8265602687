"""What a run is written as: JSON that keeps figures apart, and JUnit XML that CI reads."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from cramlab.scenario.evaluate import evaluate
from cramlab.scenario.junit import write_junit
from cramlab.scenario.report import make_report, write_report
from cramlab.scenario.timing import shown_ns
from cramlab.scenario.view import LineView, LiveView, verdict_table
from scenario_helpers import NS_PER_S, MeasuredRun, scenario_of

if TYPE_CHECKING:
    from pathlib import Path

EXPECT = """
[[timeline]]
at = "2s"
inject = "exhaustion"
share = 0.5

[[expect]]
that = "pressure stays under 600"
metric = "cram_pressure"
host = "quiet"
of = "max"
below = 600

[[expect]]
that = "some media is used"
metric = "cxldev_media_used_bytes"
of = "max"
above = "1MiB"
"""


@pytest.fixture
def run(tmp_path: Path) -> MeasuredRun:
    """A run that breaks its first expectation and holds its second."""
    run = MeasuredRun(scenario_of(tmp_path, EXPECT))
    run.sample("quiet", "cram_pressure", 0, 750)
    run.sample("device", "cxldev_media_used_bytes", 2 << 20, kind="sectors")
    run.sample("device", "cxldev_media_used_bytes", 1 << 20, kind="reserved")
    run.sample("device", "cxldev_physical_capacity_bytes", 4 << 20)
    run.event(2, "device", "fault_armed", kind="exhaustion")
    return run


def test_the_report_keeps_what_was_measured_apart(run: MeasuredRun, tmp_path: Path) -> None:
    """Settings and verdicts follow from file, seed and what holds; figures stand under `measured`."""
    outcome = run.outcome()
    write_report(tmp_path / "run.json", make_report(outcome, evaluate(outcome)))
    report = json.loads((tmp_path / "run.json").read_text())
    measured = report.pop("measured")
    assert report["passed"] is False
    assert [verdict["holds"] for verdict in report["verdicts"]] == [True, True, False, True]
    assert report["settings"]["timeline"] == [
        {
            "at": "2.000 s",
            "line": 14,
            "inject": "exhaustion",
            "as": "exhaustion",
            "fault": {"exhaustion": {"share_milli": 500}},
        }
    ]
    assert [host["name"] for host in report["settings"]["hosts"]] == ["quiet", "bear-1", "bear-2"]
    broken = [finding for finding in measured["findings"] if not finding["holds"]]
    assert [(finding["who"], finding["figure"]) for finding in broken] == [("quiet", 750)]
    assert measured["events"] == [
        {"at_ns": 2 * NS_PER_S, "who": "device", "event": "fault_armed", "kind": "exhaustion"}
    ]
    assert measured["last"]["quiet"]["cram_pressure"] == 750
    samples = {(series["who"], series["series"]): series["samples"] for series in measured["series"]}
    assert samples["quiet", "cram_pressure"] == [[0, 0], [NS_PER_S, 750]]


def test_junit_counts_failures_and_errors(run: MeasuredRun, tmp_path: Path) -> None:
    """A broken expectation is a failure, named with its line; a process that died an error."""
    outcome = run.outcome("bear-1 ended with 1\nits log")
    write_junit(tmp_path / "run.xml", outcome, evaluate(outcome))
    root = ET.parse(tmp_path / "run.xml").getroot()  # noqa: S314 - our own file
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "1", "1")
    suite = root[0]
    assert suite.get("name") == "test-scenario"
    properties = {found.get("name"): found.get("value") for found in suite.iter("property")}
    assert properties["seed"] == "7"
    failed = {case.get("name"): case.find("failure") for case in suite.iter("testcase")}
    failure = failed["pressure stays under 600"]
    assert failure is not None
    assert "test-scenario.toml:19: broken" in str(failure.get("message"))
    assert "750, expected below 600" in str(failure.text)
    assert failed["some media is used"] is None


def test_the_verdicts_for_people(run: MeasuredRun) -> None:
    """What was expected, of whom, and what was found."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(verdict_table(evaluate(run.outcome())))
    text = console.export_text()
    assert "BROKEN" in text
    assert "pressure stays under 600" in text
    assert "3.0 MiB, expected above 1MiB" in text


def test_lines_of_a_run(run: MeasuredRun) -> None:
    """Filling, steps, and every few seconds the device."""
    console = Console(width=120, record=True, file=io.StringIO())
    seconds = iter(range(0, 100, 3))
    with LineView(console, clock=lambda: next(seconds)) as view:
        view.filling(1, 3)
        view.filling(1, 3)
        view.said(2 * NS_PER_S, "injected exhaustion")
        view.sampled(3 * NS_PER_S, run.measured)
        view.sampled(4 * NS_PER_S, run.measured)
    lines = console.export_text().splitlines()
    assert lines[0] == "filling: 1 of 3 hosts have stored their pages"
    assert lines[1] == "[   2.000 s] injected exhaustion"
    assert "3.0 MiB of 4.0 MiB used, 1.0 MiB of it held by faults" in lines[2]


def test_the_live_view_shows_every_host(run: MeasuredRun) -> None:
    """With a dash where nothing is known yet, and the latest news."""
    console = Console(width=120, record=True, file=io.StringIO())
    view = LiveView(console, run.scenario, clock=iter(range(100)).__next__)
    view.filling(0, 3)
    view.sampled(2 * NS_PER_S, run.measured)
    view.said(2 * NS_PER_S, "injected exhaustion")
    console.print(view.renderable)
    text = console.export_text()
    for shown in ("What holds?", "2.000 s of 10.000 s", "quiet", "bear-2", "750", "-", "injected exhaustion"):
        assert shown in text


def test_moments_for_people() -> None:
    """Seconds at first, then minutes."""
    assert shown_ns(1_500_000_000) == "1.500 s"
    assert shown_ns(3600 * NS_PER_S) == "60 min 0.0 s"
