"""The dashboards against the types that Grafana publishes of itself: no server is needed for that."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
CHECKER: Final = Path(__file__).parent / "grafana_schema"

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (CHECKER / "node_modules").is_dir(),
    reason="node or Grafana's types are not installed: make tools",
)


def found(*files: Path) -> list[str]:
    """What Grafana's types do not allow, a line each; nothing else is printed."""
    done = subprocess.run(
        ["node", CHECKER / "check.mjs", *files], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert done.returncode == (1 if lines else 0)
    return lines


def a_panel(dashboard: dict[str, Any], kind: str) -> Any:
    """The first panel of a kind."""
    return next(one for one in dashboard["panels"] if one["type"] == kind)


@needs_node
def test_grafana_knows_every_setting_of_every_dashboard() -> None:
    """Panels with the options of their plugins, overrides, variables, annotations: names and values."""
    assert found(*DASHBOARDS) == []


@needs_node
def test_what_grafana_would_pass_over_is_found(tmp_path: Path) -> None:
    """A misspelt option, a word that is none, a property of no field, another data source, a lost field."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "fleet.json").read_text())
    a_panel(dashboard, "stat")["options"]["textMode"] = "bold"
    a_panel(dashboard, "timeseries")["fieldConfig"]["defaults"]["custom"]["lineWidht"] = 1
    a_panel(dashboard, "table")["fieldConfig"]["overrides"][-1]["properties"][0]["id"] = "units"
    a_panel(dashboard, "state-timeline")["datasource"]["uid"] = "prometheus-1"
    dashboard["annotations"]["list"][0].pop("iconColor")
    dashboard["templating"]["list"][0]["auto"] = False
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(dashboard))
    lines = found(path)
    for named, said in (
        ("stat 'Runs out in'", '"bold"'),
        ("timeseries 'Free media'", "lineWidht"),
        ("table 'Devices'", '"units"'),
        ("state-timeline 'What fires'", '"prometheus-1"'),
        ("Annotation 'Armed faults'", "iconColor"),
        ("datasource 'datasource'", "auto"),
    ):
        assert [line for line in lines if line.startswith(f"{path}: {named}") and said in line], named


def test_the_types_are_of_the_grafana_that_compose_starts() -> None:
    """Another version of it: other settings."""
    types = json.loads((CHECKER / "package.json").read_text())["dependencies"]["@grafana/schema"]
    compose = (ROOT / "deploy" / "compose" / "compose.yaml").read_text()
    assert re.findall(r"grafana/grafana:([\d.]+)", compose) == [types]
