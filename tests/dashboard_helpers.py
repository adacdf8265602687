"""The dashboards as Grafana reads them: what it asks Prometheus for, and what a panel then shows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER: Final = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
DASHBOARDS: Final[dict[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}
_LABEL_VALUES: Final = re.compile(r"label_values\((?P<series>.*), (?P<label>\w+)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """One expression of a dashboard."""

    place: str
    expression: str
    over_time: bool
    """Asked of all the time shown; else of now."""


def asked(dashboard: Mapping[str, Any]) -> Iterator[Asked]:
    """Whatever Grafana would ask for."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield Asked(f"panel {panel['title']}", target["expr"], bool(target["range"]))
    for annotation in dashboard["annotations"]["list"]:
        yield Asked(f"annotation {annotation['name']}", annotation["expr"], over_time=True)
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found = _LABEL_VALUES.fullmatch(variable["query"])
            assert found is not None
            label = found["label"]
            # A series without the label would be matched by one without any.
            values = f"group by ({label}) ({found['series']}) unless on ({label}) vector(1)"
            yield Asked(f"variable {variable['name']}", values, over_time=False)


def filled(expression: str, values: Mapping[str, str]) -> str:
    """With its variables filled in."""
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    assert "$" not in expression
    return expression


def panel(dashboard: str, title: str) -> dict[str, Any]:
    """The first panel of this title."""
    found: list[dict[str, Any]] = DASHBOARDS[dashboard]["panels"]
    return next(one for one in found if one["title"] == title)


def looks(of: Mapping[str, Any], value: float) -> tuple[str, str]:
    """What a stat says of a value, and its colour: by its words, else by its thresholds."""
    settings = of["fieldConfig"]["defaults"]
    for mapping in settings.get("mappings", []):
        said = mapping["options"].get(f"{value:g}")
        if said:
            return said["text"], said["color"]
    steps = settings["thresholds"]["steps"]
    below = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return f"{value:g}", below[-1]
