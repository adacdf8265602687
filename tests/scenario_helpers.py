"""Scenario files as text, and measurements without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.scenario.measurements import Measurements, Outcome
from cramlab.scenario.reader import read_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scenario.model import Scenario

NS_PER_S = 1_000_000_000

HEAD = """\
question = "What holds?"
seed = 7
duration = "10s"

[device]
physical = "4MiB"
[host.quiet]
pages = 500

[host.bear]
count = 2
pages = 500
"""
"""Twelve lines; what a test adds begins in line 13."""


def scenario_of(folder: Path, text: str = "", *, head: str = HEAD, seed: int | None = None) -> Scenario:
    """The scenario that this file describes."""
    path = folder / "test-scenario.toml"
    path.write_text(head + text)
    return read_scenario(path, seed)


class MeasuredRun:
    """A run of a scenario, its samples given by hand. At first nothing went wrong with any host."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.measured = Measurements()
        for host in scenario.hosts:
            self.sample(host.name, "cram_mismatched_pages_total", 0)

    def sample(self, who: str, name: str, *values: float, at_s: float = 0, **labels: str) -> None:
        """One value a second, from `at_s` on."""
        for second, value in enumerate(values):
            self.measured.add(int((at_s + second) * NS_PER_S), who, name, labels, value)

    def event(self, at_s: float, who: str, name: str, **facts: str) -> None:
        """Something happened."""
        self.measured.happened(int(at_s * NS_PER_S), who, name, **facts)

    def outcome(self, *problems: str) -> Outcome:
        """What came of it."""
        return Outcome(self.scenario, "live", self.measured, {"zstd": "1.5.7"}, problems)
