"""The judge: figures as Prometheus computes them, events in their order, verdicts on all whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cramlab.scenario.evaluate import evaluate, passed
from cramlab.scenario.expectation import Figure, Window
from cramlab.scenario.figures import evaluate_figure
from scenario_helpers import NS_PER_S, MeasuredRun, scenario_of

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scenario.evaluate import Verdict


@pytest.fixture
def run(tmp_path: Path) -> MeasuredRun:
    """A run of a scenario that expects nothing."""
    return MeasuredRun(scenario_of(tmp_path))


def of(run: MeasuredRun, metric: str, of_: str = "last", **window_s: float) -> float | None:
    """A figure of host `quiet`, all series of the metric; `start` and `end` in s."""
    edges = [None if window_s.get(key) is None else int(window_s[key] * NS_PER_S) for key in ("start", "end")]
    return evaluate_figure(Figure(metric, {}, of_), run.measured, "quiet", Window(*edges))


def test_gauges(run: MeasuredRun) -> None:
    """Last, highest, lowest, mean; within a window."""
    run.sample("quiet", "cram_pressure", 0, 500, 1000, 250)
    assert of(run, "cram_pressure") == 250
    assert of(run, "cram_pressure", "max") == 1000
    assert of(run, "cram_pressure", "min", start=1) == 250
    assert of(run, "cram_pressure", "mean", start=1, end=2) == 750
    assert of(run, "cram_pressure", "last", end=1.5) == 500
    assert of(run, "cram_pressure", "growth", start=1) == -250


def test_series_are_summed(run: MeasuredRun) -> None:
    """At each moment, the newest value of every series with the labels asked for."""
    run.sample("quiet", "cram_pages", 10, 20, state="dram")
    run.sample("quiet", "cram_pages", 1, 2, state="rw")
    assert of(run, "cram_pages") == 22
    assert of(run, "cram_pages", "min") == 11
    assert evaluate_figure(Figure("cram_pages", {"state": "rw"}), run.measured, "quiet", Window()) == 2


def test_a_counter_goes_on_over_a_restart(run: MeasuredRun) -> None:
    """A host that begins anew counts from 0; what it had counted is not forgotten."""
    run.sample("quiet", "cram_demotions_total", 10, 30, 5, 25, outcome="ok")
    assert of(run, "cram_demotions_total") == 55
    assert of(run, "cram_demotions_total", "growth", start=1, end=2) == 5


def test_growth_from_the_beginning_is_all(run: MeasuredRun) -> None:
    """What was counted before time zero is part of the run; a later window begins where it begins."""
    run.sample("quiet", "cram_demotions_total", 100, 100, 130, outcome="ok")
    assert of(run, "cram_demotions_total", "growth") == 130
    assert of(run, "cram_demotions_total", "growth", start=0.5) == 30


def test_quantiles_lie_straight_between_the_bounds(run: MeasuredRun) -> None:
    """As PromQL's histogram_quantile; only what was observed within the window counts."""
    for bound, first, second in (("0.001", 0, 100), ("0.01", 0, 180), ("+Inf", 1000, 1200)):
        run.sample("quiet", "cram_fault_seconds_bucket", first, second, le=bound)
    run.sample("quiet", "cram_fault_seconds_sum", 5, 6)
    assert of(run, "cram_fault_seconds", "p50", start=0) == pytest.approx(0.001)
    assert of(run, "cram_fault_seconds", "p70", start=0) == pytest.approx(0.001 + 0.009 * 40 / 80)
    assert of(run, "cram_fault_seconds", "p99", start=0) == 0.01, "beyond the last bound nothing is known"
    assert of(run, "cram_fault_seconds", "mean", start=0) == pytest.approx(1 / 200)
    assert of(run, "cram_fault_seconds", "p50", start=1) is None


def test_what_was_never_measured_is_no_figure(run: MeasuredRun) -> None:
    """Neither 0 nor good."""
    assert of(run, "cram_pressure") is None
    assert of(run, "cram_fault_seconds", "p99") is None


def verdict_on(folder: Path, expect: str, *fill: tuple[str, tuple[float, ...]]) -> Verdict:
    """On one expectation about `quiet`, whose metrics have these samples."""
    run = MeasuredRun(scenario_of(folder, f'[[expect]]\nthat = "it"\nhost = "quiet"\n{expect}'))
    for name, values in fill:
        run.sample("quiet", name, *values)
    return evaluate(run.outcome())[2]


@pytest.mark.parametrize(
    ("bound", "holds"),
    [
        ("is = 5", True),
        ("is = 4", False),
        ("above = 5", False),
        ("at_least = 5", True),
        ("below = 5.5", True),
    ],
)
def test_bounds(tmp_path: Path, bound: str, holds: bool) -> None:
    """Each comparison."""
    verdict = verdict_on(
        tmp_path, f'metric = "cram_mkwrites_total"\n{bound}', ("cram_mkwrites_total", (1, 5))
    )
    assert verdict.holds is holds
    assert verdict.findings[0].figure == 5
    assert verdict.findings[0].text.startswith("5, expected ")


@pytest.mark.parametrize(("later", "holds"), [(19, True), (21, False)])
def test_a_multiple_of_the_baseline(tmp_path: Path, later: float, holds: bool) -> None:
    """The same figure over another part of the run."""
    expect = (
        'metric = "cram_pressure"\nof = "mean"\nfrom = "2s"\nbelow = "2x"\n'
        'baseline = { from = "0s", until = "1s" }'
    )
    verdict = verdict_on(tmp_path, expect, ("cram_pressure", (10, 10, later)))
    assert verdict.holds is holds
    assert f"{later / 10:.2f}x of 10" in verdict.findings[0].text


def test_a_baseline_that_was_not_measured_is_a_broken_expectation(tmp_path: Path) -> None:
    """Nothing to compare with is no pass."""
    expect = 'metric = "cram_pressure"\nof = "mean"\nfrom = "2s"\nbelow = "2x"\nbaseline = { from = "5s" }'
    verdict = verdict_on(tmp_path, expect, ("cram_pressure", (10, 10, 10)))
    assert not verdict.holds
    assert "no baseline" in verdict.findings[0].text


def test_one_host_breaks_it_for_all(tmp_path: Path) -> None:
    """The findings tell which."""
    text = '[[expect]]\nthat = "it"\nmetric = "cram_mkwrites_total"\nhost = "bear"\nis = 0'
    run = MeasuredRun(scenario_of(tmp_path, text))
    run.sample("bear-1", "cram_mkwrites_total", 0)
    run.sample("bear-2", "cram_mkwrites_total", 3)
    verdict = evaluate(run.outcome())[2]
    assert [(finding.who, finding.holds) for finding in verdict.findings] == [
        ("bear-1", True),
        ("bear-2", False),
    ]
    assert not verdict.holds


LAG = 'after = "watermark_crossed to=critical"\ncomes = "node_closed"\nwithin = "50ms"'


def order_verdict(folder: Path, expect: str, *events: tuple[float, str, str, dict[str, str]]) -> Verdict:
    """On one expectation about `quiet`, after these events."""
    run = MeasuredRun(scenario_of(folder, f'[[expect]]\nthat = "it"\n{expect}'))
    for at_s, who, name, facts in events:
        run.event(at_s, who, name, **facts)
    return evaluate(run.outcome())[2]


CRITICAL = (2.0, "device", "watermark_crossed", {"from": "high", "to": "critical"})


@pytest.mark.parametrize(("closed_s", "holds"), [(2.04, True), (2.06, False), (1.9, False)])
def test_an_event_within_a_time_of_another(tmp_path: Path, closed_s: float, holds: bool) -> None:
    """One that came before does not count."""
    verdict = order_verdict(
        tmp_path, f'host = "quiet"\n{LAG}', (closed_s, "quiet", "node_closed", {}), CRITICAL
    )
    assert verdict.holds is holds


def test_a_cause_that_never_came_breaks_it(tmp_path: Path) -> None:
    """Else a scenario that did not do its work would pass."""
    verdict = order_verdict(tmp_path, f'host = "quiet"\n{LAG}', (2.0, "quiet", "node_closed", {}))
    assert not verdict.holds
    assert "to=critical never happened" in verdict.findings[0].text


def test_an_event_that_must_never_come(tmp_path: Path) -> None:
    """Of another host it may."""
    expect = 'host = "quiet"\ncomes = "node_closed"\nnever = true'
    assert order_verdict(tmp_path, expect, (1.0, "bear-1", "node_closed", {})).holds
    assert not order_verdict(tmp_path, expect, (1.0, "quiet", "node_closed", {})).holds


def test_events_of_the_device(tmp_path: Path) -> None:
    """Judged once, by their facts."""
    expect = (
        'after = "watermark_crossed to=critical"\ncomes = "region_detached host=quiet cause=lease_expired"'
    )
    gone = {"host": "quiet", "cause": "lease_expired"}
    assert order_verdict(tmp_path, expect, CRITICAL, (3.0, "device", "region_detached", gone)).holds
    gone = {"host": "bear-1", "cause": "lease_expired"}
    assert not order_verdict(tmp_path, expect, CRITICAL, (3.0, "device", "region_detached", gone)).holds


def test_a_host_is_a_cause_to_the_device(tmp_path: Path) -> None:
    """Its end, of the end of its lease."""
    expect = 'after = "host_killed"\ncomes = "region_detached"\n\n[[timeline]]\nat = "1s"\nkill = "bear-2"'
    for killed_s, holds in ((1.0, True), (3.0, False)):
        verdict = order_verdict(
            tmp_path,
            expect,
            (killed_s, "bear-2", "host_killed", {}),
            (2.0, "device", "region_detached", {"host": "bear-2", "cause": "lease_expired"}),
        )
        assert verdict.holds is holds


def test_wrong_bytes_are_never_good(run: MeasuredRun) -> None:
    """Whatever a scenario expects; and a host that never ran proves nothing."""
    assert passed(run.outcome(), evaluate(run.outcome()))
    run.sample("bear-1", "cram_mismatched_pages_total", 1, at_s=1)
    verdict = evaluate(run.outcome())[0]
    assert not verdict.holds
    assert [finding.holds for finding in verdict.findings] == [True, False, True]


def test_a_problem_is_a_failure(run: MeasuredRun) -> None:
    """Even if all that was expected holds."""
    outcome = run.outcome("quiet ended with 1")
    assert not passed(outcome, evaluate(outcome))


def test_a_host_that_ends_by_itself_is_a_failure_unless_expected(tmp_path: Path) -> None:
    """Out of memory may be the very answer that a scenario is after."""
    run = MeasuredRun(scenario_of(tmp_path))
    run.event(1.0, "quiet", "host_ended", reason="out_of_memory")
    assert not passed(run.outcome(), evaluate(run.outcome()))
    text = '[[expect]]\nthat = "it"\nhost = "quiet"\ncomes = "host_ended reason=out_of_memory"'
    expected = MeasuredRun(scenario_of(tmp_path, text))
    expected.event(1.0, "quiet", "host_ended", reason="out_of_memory")
    assert passed(expected.outcome(), evaluate(expected.outcome()))
