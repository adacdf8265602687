"""The Prometheus rules: well formed, tested, explained, and about metrics that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
RULES: Final = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
RULE_TESTS: Final = sorted((ROOT / "deploy" / "prometheus" / "tests").glob("*.yml"))
METRIC: Final = re.compile(r"\b(?:cxldev|cram)_[a-z0-9_]+\b")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: make tools"
)


def rules() -> list[dict[str, Any]]:
    """All rules of all files."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


ALERTS: Final = [rule for rule in rules() if "alert" in rule]
RECORDS: Final = [rule for rule in rules() if "record" in rule]


@needs_promtool
@pytest.mark.parametrize("verb", ["check", "test"])
def test_promtool_accepts_the_rules_and_their_tests(verb: str) -> None:
    """Syntax, and what each rule does on series made for it."""
    files = RULES if verb == "check" else RULE_TESTS
    done = subprocess.run(["promtool", verb, "rules", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    """By what the promtool tests expect."""
    expected: dict[str, set[bool]] = {}
    for path in RULE_TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for one in case.get("alert_rule_test", []):
                expected.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert expected == {rule["alert"]: {True, False} for rule in ALERTS}


def test_every_recording_has_a_test() -> None:
    """Its name stands in a promtool test."""
    tested = "\n".join(path.read_text() for path in RULE_TESTS)
    assert [
        rule["record"]
        for rule in RECORDS
        if f"expr: {rule['record']}" not in tested and f"expr: round({rule['record']}" not in tested
    ] == []


def test_every_alert_is_explained() -> None:
    """Severity, summary, description, and a section of the runbook."""
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in ALERTS if rule["alert"].startswith("Cxl")] + [
        rule["alert"] for rule in ALERTS if rule["alert"].startswith("Cram")
    ]
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_rules_are_about_metrics_that_exist() -> None:
    """Every name of ours in an expression or the runbook is exported, or recorded by a rule."""
    exported = set(METRIC.findall((ROOT / "docs" / "metrics.md").read_text()))
    exported |= {f"{name}_bucket" for name in exported}
    text = "\n".join(str(rule["expr"]) for rule in rules()) + (ROOT / "docs" / "runbook.md").read_text()
    plain = re.sub(r"\w+:\w+:\w+", "", text)
    assert set(METRIC.findall(plain)) - {"cxldev_poison_created_"} <= exported
    assert set(re.findall(r"\w+:\w+:\w+", text)) <= {rule["record"] for rule in RECORDS}


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed: make tools")
def test_amtool_accepts_the_configuration() -> None:
    """Alertmanager's own check."""
    done = subprocess.run(
        ["amtool", "check-config", ROOT / "deploy" / "alertmanager" / "alertmanager.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
