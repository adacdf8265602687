"""What a run came to, as JUnit XML (`--junit FILE`): a suite for the scenario, a case for each verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from cramwire.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scenario.evaluate import Verdict
    from cramlab.scenario.measurements import Outcome


def write_junit(path: Path, outcome: Outcome, verdicts: tuple[Verdict, ...]) -> None:
    """Write it. A broken expectation is a failure; whatever else went wrong is an error.

    Raises:
        OSError: it cannot be written.
    """
    scenario = outcome.scenario
    broken = [verdict for verdict in verdicts if not verdict.holds]
    seconds = f"{scenario.duration_ns / 1e9:.3f}"
    counts = {
        "tests": str(len(verdicts) + len(outcome.problems)),
        "failures": str(len(broken)),
        "errors": str(len(outcome.problems)),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(
        root, "testsuite", {"name": scenario.name, **counts, "skipped": "0", "time": seconds}
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("question", scenario.question),
        ("engine", outcome.engine),
        ("seed", str(scenario.seed)),
        *outcome.facts.items(),
    ):
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for verdict in verdicts:
        case = _case(suite, scenario.name, verdict.that)
        text = "\n".join(f"{finding.who}: {finding.text}" for finding in verdict.findings)
        if verdict.holds:
            ET.SubElement(case, "system-out").text = text
        else:
            where = f"{scenario.path}:{verdict.line}" if verdict.line else scenario.name
            ET.SubElement(case, "failure", {"message": f"{where}: broken", "type": "expectation"}).text = text
    for problem in outcome.problems:
        case = _case(suite, scenario.name, problem.splitlines()[0])
        ET.SubElement(case, "error", {"message": problem.splitlines()[0], "type": "run"}).text = problem
    ET.indent(root)
    write_whole(path, ET.tostring(root, encoding="utf-8", xml_declaration=True).decode())


def _case(suite: ET.Element, scenario: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": f"scenario.{scenario}", "name": name, "time": "0"})
