"""What a run came to, as JSON (`--json FILE`).

What depends on the file and the seed alone stands first. What was measured stands under `measured`: of a
live run it differs from run to run; of a simulated one the whole file is the same, bit for bit.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from cramlab.scenario.evaluate import passed
from cramlab.scenario.expectation import FigureExpectation
from cramlab.scenario.model import Clear, Inject
from cramlab.scenario.timing import shown_ns
from cramwire.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scenario.evaluate import Verdict
    from cramlab.scenario.measurements import Measurements, Outcome, Series
    from cramlab.scenario.model import Action, HostSpec, Scenario

JsonDict = dict[str, Any]


def make_report(outcome: Outcome, verdicts: tuple[Verdict, ...]) -> JsonDict:
    """The whole report; times in ns since time zero."""
    scenario = outcome.scenario
    return {
        "scenario": scenario.name,
        "question": scenario.question,
        "engine": outcome.engine,
        "seed": scenario.seed,
        "passed": passed(outcome, verdicts),
        "verdicts": [
            {"that": verdict.that, "line": verdict.line, "holds": verdict.holds} for verdict in verdicts
        ],
        "problems": list(outcome.problems),
        "settings": _settings(scenario),
        "measured": {
            "facts": dict(outcome.facts),
            "findings": [
                {
                    "that": verdict.that,
                    "who": finding.who,
                    "holds": finding.holds,
                    "figure": finding.figure,
                    "text": finding.text,
                }
                for verdict in verdicts
                for finding in verdict.findings
            ],
            "events": [
                {"at_ns": event.at_ns, "who": event.who, "event": event.name, **event.facts}
                for event in sorted(outcome.measurements.events, key=lambda event: event.at_ns)
            ],
            "last": _last(outcome.measurements),
            "series": _judged_series(scenario, outcome.measurements),
        },
    }


def write_report(path: Path, report: JsonDict) -> None:
    """Write it, the keys in the order of `make_report`.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, json.dumps(report, indent=1) + "\n")


def _settings(scenario: Scenario) -> JsonDict:
    return {
        "duration_ns": scenario.duration_ns,
        "sample_ns": scenario.sample_ns,
        "device": dict(scenario.device.given),
        "hosts": [_host(host) for host in scenario.hosts],
        "timeline": [
            {"at": shown_ns(step.at_ns), "line": step.line, **_action(step.action)}
            for step in scenario.timeline
        ],
    }


def _host(host: HostSpec) -> JsonDict:
    return {"name": host.name, "from_start": host.from_start, **host.given}


def _action(action: Action) -> JsonDict:
    match action:
        case Inject(label, kind, request):
            fields = MessageToDict(request, preserving_proto_field_name=True)
            return {"inject": kind, "as": label, **fields}
        case Clear(label):
            return {"clear": label or "all"}
        case _:
            return {type(action).__name__.removesuffix("Host").lower(): action.host}


def _last(measured: Measurements) -> dict[str, dict[str, float]]:
    """The last value of every series but the buckets of histograms, by whose it is."""
    last: dict[str, dict[str, float]] = {}
    for series in measured.series():
        if not series.name.endswith("_bucket"):
            last.setdefault(series.who, {})[_name(series)] = measured.samples(series)[-1][1]
    return last


def _judged_series(scenario: Scenario, measured: Measurements) -> list[JsonDict]:
    """The samples of the metrics that expectations are about, for a plot."""
    judged = {
        (who, expected.figure.metric)
        for expected in scenario.expectations
        if isinstance(expected, FigureExpectation)
        for who in expected.hosts
    }
    return [
        {"who": series.who, "series": _name(series), "samples": measured.samples(series)}
        for series in measured.series()
        if (series.who, series.name) in judged
    ]


def _name(series: Series) -> str:
    labels = ",".join(f'{label}="{value}"' for label, value in series.labels)
    return f"{series.name}{{{labels}}}" if labels else series.name
