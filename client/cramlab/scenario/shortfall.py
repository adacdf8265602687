"""Hosts of a live run that could not keep their rate: its figures are as much about the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramlab.scenario.expectation import Figure, Window
from cramlab.scenario.figures import evaluate_figure
from cramlab.scenario.model import Clear, Inject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramlab.scenario.measurements import Outcome
    from cramlab.scenario.model import Scenario

_ENOUGH: Final = 0.8
"""Of the accesses that were due: below that, it is told."""
_ACCESSES: Final = Figure("cram_accesses_total", of="growth")


def shortfalls(outcome: Outcome) -> Iterator[str]:
    """A line for each host that made far fewer accesses than its rate asks for.

    Of hosts that are there from the start to the end: what others owe depends on when they had stored
    their pages. In emulated time nobody is late because of the machine.
    """
    if outcome.engine != "live":
        return
    scenario = outcome.scenario
    for host in scenario.hosts:
        if not host.options["rate"] or host.options["accesses"] or not _stays(scenario, host.name):
            continue
        window = Window(0, scenario.duration_ns)
        made = evaluate_figure(_ACCESSES, outcome.measurements, host.name, window)
        due = host.options["rate"] * scenario.duration_ns / 1e9
        if made is not None and made < _ENOUGH * due:
            yield (
                f"{host.name} made {made:,.0f} of the {due:,.0f} accesses that were due at "
                f"{host.options['rate']:,} a second: the machine is too slow, or busy; try --simulated"
            )


def _stays(scenario: Scenario, host: str) -> bool:
    """Whether it is there all the time, and never paused."""
    return not any(
        not isinstance(step.action, Inject | Clear) and step.action.host == host for step in scenario.timeline
    )
