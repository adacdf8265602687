"""Scenarios that stand in the docs, with what is told of them: they run, and the figures are nearly those."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cramlab.scenario.reader import read_scenario
from cramlab.simulated.simulate import simulate

if TYPE_CHECKING:
    from cramlab.scenario.measurements import Outcome

DOCS = Path(__file__).parents[2] / "docs"


def run(folder: Path, page: str, *changes: tuple[str, str]) -> Outcome:
    """The scenario of a page, with these lines in the place of others."""
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (text,) = [block for block in blocks if block.startswith("question")]
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "told.toml"
    path.write_text(text)
    outcome = simulate(read_scenario(path))
    assert not outcome.problems
    return outcome


def last(of: Outcome, who: str, metric: str, **labels: str) -> float:
    """What it came to."""
    found = of.measurements.find(who, metric, labels)
    assert found, metric
    return sum(of.measurements.samples(series)[-1][1] for series in found)


def poisoned(outcome: Outcome) -> float:
    """Pages that were acknowledged and not kept."""
    return sum(
        last(outcome, "device", f"cxldev_poison_created_{by}_pages_total") for by in ("exhaustion", "staging")
    )


def test_a_slow_wire_costs_pages(tmp_path: Path) -> None:
    """docs/emulated-time.md: none with interrupts of 10 us, 252 with 200 ms."""
    page = "emulated-time.md"
    assert poisoned(run(tmp_path, page)) == 0
    late = [
        (f'{way} = "{told}"', f'{way} = "200ms"') for way, told in (("event", "10us"), ("control", "20us"))
    ]
    slow = run(tmp_path, page, *late)
    assert 252 / 1.5 < poisoned(slow) < 252 * 1.5


@pytest.mark.parametrize(
    ("admission", "staging", "lost", "taken"),
    [
        ("optimistic", False, 65, 1155),
        ("optimistic", True, 161, 1409),
        ("upper-bound", False, 0, 800),
        ("upper-bound", True, 0, 752),
    ],
)
def test_what_a_race_costs(tmp_path: Path, admission: str, lost: int, taken: int, *, staging: bool) -> None:
    """docs/experiments.md, one seed of its table: pages poisoned, and demotions that the device took."""
    buffer = [("# staging =", "staging =")] if staging else []
    outcome = run(tmp_path, "experiments.md", ('"optimistic"', f'"{admission}"'), *buffer)
    assert lost / 1.5 <= poisoned(outcome) <= lost * 1.5
    assert taken / 1.3 < last(outcome, "a", "cram_demotions_total", outcome="ok") < taken * 1.3
