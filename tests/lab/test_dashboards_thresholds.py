"""Panel by panel: a colour begins where the alert that it stands for does. Read from the files alone."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parents[2]
RULES: Final = [
    rule
    for path in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS: Final = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED: Final = {rule["record"]: str(rule["expr"]) for rule in RULES if "record" in rule}
DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))

COLOURS: Final = {"critical": "red", "warning": "orange", "info": "blue"}
SERIES: Final = re.compile(r"\b(?:up|(?:cxldev|cram)_\w+|\w+:\w+:\w+)\b")
COMPARED: Final = re.compile(
    rf"({SERIES.pattern})(?:\{{[^}}]*\}})?(?:\[\w+\])?\)?(?: \* 4096)?\s*(==|>=|<=|<|>)\s*([\d.]+)"
)
FORECAST: Final = re.compile(rf"predict_linear\(({SERIES.pattern})\[\w+\], (\d+)\) < 0")
CONDITION: Final = re.compile(r"\s(?:and|unless)\s")
PART_OF: Final = {"cxldev_region_poisoned_pages": "cxldev_poisoned_pages"}
"""Each host's part: above nothing where the sum is."""
NOT_WATCHED: Final = {
    "agent: Node": "a node that closes under pressure does what it is meant to",
    "experiment: Node": "the same",
    "fleet: Hosts, Node": "the same",
    "fleet: Alerts firing": "it counts the alerts themselves",
    "fleet: What fires": "it shows the alerts themselves",
}
NO_THRESHOLD: Final = {
    "CramTrimBacklog": "of two series together: the panel 'TRIM' of the agent shows both",
    "CxlDeviceGenerationChanged": "a mark through all charts",
}


@dataclass(frozen=True, slots=True)
class Bad:
    """Values that one colour stands for: from a bound on, below it, or exactly it."""

    where: Literal["from", "below", "at"]
    bound: float
    colour: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One panel, or one column of a table, that has colours."""

    name: str
    text: str
    """The panel's description."""
    expressions: tuple[str, ...]
    bad: frozenset[Bad]


def bounds(steps: list[dict[str, Any]]) -> Iterator[Bad]:
    """What thresholds say: neighbours of which one has the colour of an alert."""
    for before, after in itertools.pairwise(steps):
        if before["color"] in COLOURS.values():
            yield Bad("below", after["value"], before["color"])
        if after["color"] in COLOURS.values():
            yield Bad("from", after["value"], after["color"])


def words(mappings: list[dict[str, Any]]) -> Iterator[Bad]:
    """The same of values that are told in words."""
    for mapping in mappings:
        for value, meaning in mapping["options"].items():
            if meaning["color"] in COLOURS.values():
                yield Bad("at", float(value), meaning["color"])


def bad_of(settings: Mapping[str, Any]) -> frozenset[Bad]:
    """All of a field's: `thresholds` and `mappings`."""
    steps = settings.get("thresholds", {}).get("steps", [])
    return frozenset([*bounds(steps), *words(settings.get("mappings", []))])


def shown() -> Iterator[Shown]:
    """Whatever has a colour on any dashboard."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] == "row":
                continue
            name, text = f"{path.stem}: {panel['title']}", panel["description"]
            expressions = tuple(target["expr"] for target in panel["targets"])
            if bad := bad_of(panel["fieldConfig"]["defaults"]):
                yield Shown(name, text, expressions, bad)
            if panel["type"] == "table":
                yield from columns(name, panel, expressions)


def columns(name: str, panel: dict[str, Any], expressions: tuple[str, ...]) -> Iterator[Shown]:
    """A table's coloured ones. Its titles stand beside the queries' letters."""
    (organized,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
    titles = {title: value for value, title in organized["renameByName"].items()}
    letters = {f"Value #{target['refId']}": target["expr"] for target in panel["targets"]}
    assert len(letters) == len(expressions)
    for override in panel["fieldConfig"]["overrides"]:
        settings = {one["id"]: one["value"] for one in override["properties"]}
        if bad := bad_of(settings):
            title = override["matcher"]["options"]
            yield Shown(f"{name}, {title}", panel["description"], (letters[titles[title]],), bad)


def series_of(expression: str) -> set[str]:
    """Names in it, and in what is recorded under those names."""
    names = set(SERIES.findall(expression))
    return names.union(*(series_of(RECORDED[name]) for name in names if name in RECORDED))


def fires(alert: str, panel: Shown) -> set[Bad]:
    """Where an alert begins, of the series that a panel shows."""
    colour = COLOURS[ALERTS[alert]["labels"]["severity"]]
    # What must hold besides has no colour.
    rule = CONDITION.split(str(ALERTS[alert]["expr"]))[0]
    known = set().union(*map(series_of, panel.expressions))
    known |= {PART_OF[one] for one in known if one in PART_OF}
    found = {
        Bad("below", float(horizon), colour) for series, horizon in FORECAST.findall(rule) if series in known
    }
    for series, sign, number in COMPARED.findall(rule.replace("sum by (job, instance, kind) (", "")):
        if series not in known:
            continue
        bound = float(number)
        if sign == "==":
            counted = any("count(" in one and one.endswith("== 0) or vector(0)") for one in panel.expressions)
            found.add(Bad("from", 1, colour) if counted else Bad("at", bound, colour))
        elif sign.startswith(">"):
            # A panel's colour holds from its bound on: of what is above nothing, from a thousandth on.
            found.add(Bad("from", bound or 0.001, colour))
        else:
            found.add(Bad("below", bound, colour))
    return found


SHOWN: Final = list(shown())
WATCHED: Final = [one for one in SHOWN if one.name not in NOT_WATCHED]


def alerts_of(panel: Shown) -> list[str]:
    """Those that its description names."""
    return [alert for alert in ALERTS if re.search(rf"\b{alert}\b", panel.text)]


@pytest.mark.parametrize("panel", WATCHED, ids=lambda panel: panel.name)
def test_a_panel_is_coloured_where_its_alert_fires(panel: Shown) -> None:
    """The same number, on the same side of it, in the colour of its severity; of all alerts it names."""
    expected = {alert: fires(alert, panel) for alert in alerts_of(panel)}
    if "," in panel.name:
        # A table names the alerts of all its columns.
        expected = {alert: found for alert, found in expected.items() if found}
    assert expected
    assert panel.bad <= set().union(*expected.values())
    for alert, found in expected.items():
        assert panel.bad & found, f"{alert} is named, and nothing is coloured where it fires"


def test_there_is_no_colour_without_an_alert_but_for_these() -> None:
    """Each with its reason."""
    assert {one.name for one in SHOWN if not alerts_of(one) or one.name in NOT_WATCHED} == set(NOT_WATCHED)


def test_every_alert_is_seen_on_a_dashboard() -> None:
    """As a colour of a panel, or for a reason otherwise."""
    seen = {alert for one in WATCHED for alert in alerts_of(one)}
    assert set(ALERTS) - seen == set(NO_THRESHOLD)
