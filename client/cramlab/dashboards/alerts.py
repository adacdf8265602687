"""The bounds that the alerting rules set: a panel turns red where an alert fires."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from pathlib import Path

COLOURS: Final = {"critical": "red", "warning": "orange", "info": "blue"}
"""By an alert's severity."""

JUST_ABOVE_ZERO: Final = 0.001
"""Grafana colours from a bound on, a rule fires above it. That matters at 0 only."""

_HORIZON: Final = re.compile(r"predict_linear\([^,]+,\s*(\d+)\)")


class NoSuchBound(LookupError):
    """A panel asks for a bound that no rule sets: the rule was changed, and the panel was not."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a value turns bad, and which alert says so."""

    alert: str
    colour: str
    bound: float
    """In the unit of the series."""
    below: bool
    """Bad below the bound, else from the bound on."""


ANY_IS_BAD: Final = Mark("", COLOURS["critical"], 1, below=False)
"""A count that no alert watches, and that should be 0."""


class Alerts:
    """All alerting rules of a folder.

    Args:
        folder: of Prometheus rule files, `*.yml`.
    """

    def __init__(self, folder: Path) -> None:
        rules = [
            rule
            for path in sorted(folder.glob("*.yml"))
            for group in yaml.safe_load(path.read_text())["groups"]
            for rule in group["rules"]
            if "alert" in rule
        ]
        self._rules: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in rules}

    def mark(self, alert: str, of: str) -> Mark:
        """The bound that an alert sets to a series.

        Args:
            alert: its name.
            of: what the rule compares: a metric, or what stands before the comparison.

        Raises:
            NoSuchBound: there is no such alert, or it compares something else.
        """
        # Labels and a window may follow the metric: increase(x{...}[10m]) > 0.
        compared = re.compile(rf"{re.escape(of)}(?:\{{[^}}]*\}})?(?:\[\w+\]\))?\s*(==|>=|<=|<|>)\s*([\d.]+)")
        found = compared.search(self._expression(alert))
        if found is None:
            raise NoSuchBound(f"{alert} does not compare {of} with a number: {self._expression(alert)}")
        sign, bound = found[1], float(found[2])
        if sign == "==" and bound == 0:
            return Mark(alert, self._colour(alert), 1, below=True)
        if sign == ">" and bound == 0:
            bound = JUST_ABOVE_ZERO
        return Mark(alert, self._colour(alert), bound, below=sign.startswith("<"))

    def horizon(self, alert: str) -> Mark:
        """How far ahead, in seconds, a forecasting alert looks; a time left is bad below it.

        Raises:
            NoSuchBound: there is no such alert, or it does not forecast.
        """
        found = _HORIZON.search(self._expression(alert))
        if found is None:
            raise NoSuchBound(f"{alert} does not forecast: {self._expression(alert)}")
        return Mark(alert, self._colour(alert), float(found[1]), below=True)

    def _expression(self, alert: str) -> str:
        try:
            return str(self._rules[alert]["expr"])
        except KeyError:
            raise NoSuchBound(f"there is no alert {alert}") from None

    def _colour(self, alert: str) -> str:
        return COLOURS[self._rules[alert]["labels"]["severity"]]
