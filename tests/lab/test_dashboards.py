"""The dashboards as code: current, complete, and coloured by the bounds that the alerts set."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from cramlab.dashboards.alerts import Alerts, NoSuchBound
from cramlab.dashboards.files import files
from cramlab.dashboards.page import with_panels

ROOT: Final = Path(__file__).parents[2]
RULES: Final = ROOT / "deploy" / "prometheus" / "rules"
GRAFANA: Final = ROOT / "deploy" / "grafana"
PAGE: Final = ROOT / "docs" / "grafana.md"
METRIC: Final = re.compile(r"\b(?:cxldev|cram)_[a-z0-9_]+\b")
RECORD: Final = re.compile(r"\w+:\w+:\w+")

DASHBOARDS: Final = {
    path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
PANELS: Final = [
    (name, panel)
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]


def panel(dashboard: str, title: str) -> dict[str, Any]:
    """The first panel of this title."""
    return next(one for name, one in PANELS if (name, one["title"]) == (dashboard, title))


def steps(dashboard: str, title: str) -> list[tuple[float | None, str]]:
    """A panel's thresholds: from which value on it has which colour."""
    found = panel(dashboard, title)["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [(step["value"], step["color"]) for step in found]


def test_the_committed_files_are_current() -> None:
    """`make dashboards` would change nothing."""
    made = files(RULES)
    assert {path.name: path.read_text() for path in (GRAFANA / "dashboards").glob("*.json")} == made
    assert with_panels(PAGE.read_text(), made) == PAGE.read_text()


def test_addresses_are_stable() -> None:
    """Links and bookmarks outlive a new generation of the files."""
    assert {name: dashboard["uid"] for name, dashboard in DASHBOARDS.items()} == {
        name: f"cramulator-{name}" for name in ("fleet", "device", "agent", "experiment")
    }
    for dashboard in DASHBOARDS.values():
        ids = [one["id"] for one in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        # "All hosts" means nothing to a dashboard that shows one.
        assert not any(link["includeVars"] for link in dashboard["links"])


def test_panels_say_what_they_show_and_what_to_do() -> None:
    """A description, a unit where there are figures, a legend where there are series, the chosen source."""
    for name, one in PANELS:
        place = f"{name}: {one['title']}"
        assert len(one["description"]) > 20, place
        assert one["datasource"]["uid"] == "${datasource}", place
        defaults = one["fieldConfig"]["defaults"]
        assert defaults.get("unit") or defaults.get("mappings") or one["type"] == "table", place
        for target in one["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", place
            if one["type"] in {"timeseries", "state-timeline", "bargauge"}:
                assert target["legendFormat"] != "__auto", place


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_fill_the_screen_and_do_not_overlap(name: str) -> None:
    """Each cell of the grid belongs to one panel at most; nothing is wider than the grid."""
    taken: set[tuple[int, int]] = set()
    for one in DASHBOARDS[name]["panels"]:
        place = one["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert taken.isdisjoint(cells), one["title"]
        taken |= cells


def test_expressions_are_about_metrics_that_exist() -> None:
    """Every name of ours is exported, or recorded by a rule."""
    exported = set(METRIC.findall((ROOT / "docs" / "metrics.md").read_text()))
    exported |= {f"{name}_bucket" for name in exported}
    recorded = {
        rule["record"]
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    for path in (GRAFANA / "dashboards").glob("*.json"):
        text = "\n".join(re.findall(r'"expr": "(.*)"', path.read_text()))
        assert set(RECORD.findall(text)) <= recorded
        assert set(METRIC.findall(RECORD.sub("", text))) <= exported


def test_thresholds_are_those_of_the_alerts() -> None:
    """A forecast, a share that must not fall, a time that must not grow, in the alerts' colours."""
    assert steps("device", "Runs out in") == [(None, "orange"), (600, "green")]
    assert steps("device", "Ratio, of what was sold") == [(None, "orange"), (1, "green")]
    assert steps("agent", "Oldest zombie") == [(None, "green"), (60, "orange")]
    assert steps("fleet", "Pages lost") == [(None, "green"), (0.001, "red")]


def test_a_changed_rule_changes_the_dashboards(tmp_path: Path) -> None:
    """One source of numbers: what the rule says is what the panel shows."""
    for path in RULES.glob("*.yml"):
        text = path.read_text().replace(
            "cram_zombie_oldest_age_seconds > 60", "cram_zombie_oldest_age_seconds > 90"
        )
        (tmp_path / path.name).write_text(text)
    changed = {name for name, text in files(tmp_path).items() if text != files(RULES)[name]}
    assert changed == {"agent.json", "fleet.json"}


def test_a_bound_that_no_rule_sets_is_an_error() -> None:
    """Rather than a panel that stays green."""
    alerts = Alerts(RULES)
    with pytest.raises(NoSuchBound, match="there is no alert Renamed"):
        alerts.mark("Renamed", "cram_pressure")
    with pytest.raises(NoSuchBound, match="does not compare cram_pressure"):
        alerts.mark("CramNodeOffline", "cram_pressure")
    with pytest.raises(NoSuchBound, match="does not forecast"):
        alerts.horizon("CramNodeOffline")


def test_annotations_tell_of_faults_and_generations() -> None:
    """On every dashboard, for the devices that it shows."""
    for dashboard in DASHBOARDS.values():
        named = {one["name"]: one for one in dashboard["annotations"]["list"]}
        assert "cxldev_faults_armed" in named["Armed faults"]["expr"]
        assert "cxldev_generation_info" in named["Generation changes"]["expr"]
        variables = {one["name"] for one in dashboard["templating"]["list"]}
        assert {"datasource", "device", "agent"} <= variables


def test_variables_that_are_asked_for_exist() -> None:
    """Every `$name` is a variable of the same dashboard, or Grafana's own."""
    for dashboard in DASHBOARDS.values():
        variables = {one["name"] for one in dashboard["templating"]["list"]}
        asked = set(re.findall(r"\$(\w+)", json.dumps(dashboard)))
        assert {name for name in asked if not name.startswith("__")} <= variables


def test_provisioning_points_at_the_dashboards() -> None:
    """Folders as docs/grafana.md says; the data source as often as Prometheus scrapes."""
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/cramulator.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] in PAGE.read_text()
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]
