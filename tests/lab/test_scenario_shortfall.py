"""Hosts that could not keep their rate are named; those of whom nobody knows what they owe are not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cramlab.scenario.shortfall import shortfalls
from scenario_helpers import MeasuredRun, scenario_of

if TYPE_CHECKING:
    from pathlib import Path

PAUSED = '[[timeline]]\nat = "1s"\npause = "bear-2"\n'
"""Each host is to make 2,000 accesses a second, for ten seconds."""


def test_a_host_that_made_too_few_accesses_is_named(tmp_path: Path) -> None:
    """With both figures. One that made most of them is not, nor one that was paused."""
    run = MeasuredRun(scenario_of(tmp_path, PAUSED))
    for host, made in (("quiet", 5_000), ("bear-1", 19_000), ("bear-2", 100)):
        run.sample(host, "cram_accesses_total", 0, made, kind="read")
    live = replace(run.outcome(), engine="live")
    (line,) = shortfalls(live)
    assert line.startswith("quiet made 5,000 of the 20,000 accesses that were due at 2,000 a second")
    assert not list(shortfalls(replace(live, engine="simulated")))
