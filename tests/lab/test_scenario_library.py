"""The shipped scenarios in emulated time: each keeps what it promises, and gives the same JSON every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from cramlab.scenario.evaluate import evaluate
from cramlab.scenario.library import shipped
from cramlab.scenario.reader import read_scenario
from cramlab.scenario.report import make_report
from cramlab.simulated.simulate import simulate

PAGE: Final = Path(__file__).parents[2] / "docs/scenarios.md"
TOLD: Final[dict[str, dict[str, float]]] = {
    "exhaustion-while-demoting": {"1,350": 1350},
    "bear": {"356 ms": 0.356, "5.4 ms": 0.0054, "20 stores": 20},
    "bear-on-a-budget": {"64 pages": 64, "one bus error": 1, "14,018": 14_018},
    "slow-control-path": {"24 ms": 0.024},
    "lost-interrupt": {"275": 0.275, "395 ms": 0.395},
    "latent-poison": {"33 pages": 33, "8 of them": 8},
    "dirty-cpu-cache": {"65,434": 65_434, "543 ms": 0.543, "206 in all": 206},
    "noisy-neighbour": {"49.2": 49.2e-6},
    "ratio-drift": {"4.3 MiB": 4.3 * (1 << 20)},
    "reset-under-load": {"2,968": 2968, "3,036": 3036, "1,131": 1131, "1,172": 1172},
    "balloon-against-a-hot-set": {"3.2 MiB": 3.2 * (1 << 20), "14,054": 14_054},
    "zombie-storm": {"2,433": 2433, "1,919": 1919},
    "stuck-trim": {"2,261": 2261},
    "forced-release": {"53 ms": 0.053, "794 times": 794},
}
"""What the library's table says was found, by the words there; in s, bytes and counts."""
_NEAR: Final = 1.5
"""A change of the host's ways may move a figure by so much, and the table still tells what is so."""


def report_of(path: Path) -> str:
    """One run, as `--json` writes it."""
    outcome = simulate(read_scenario(path))
    return json.dumps(make_report(outcome, evaluate(outcome)), indent=1)


@pytest.mark.timeout(600)  # the dirty cache is 256 MiB, twice; a busy machine takes minutes
@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_two_runs_give_the_same_json(path: Path) -> None:
    """Bit for bit; and all that is expected holds."""
    first = report_of(path)
    report = json.loads(first)
    broken = [finding for finding in report["measured"]["findings"] if not finding["holds"]]
    assert report["passed"], (broken, report["problems"])
    assert report_of(path) == first
    assert not_found(path.stem, report["measured"]["findings"]) == []


def not_found(scenario: str, findings: list[dict[str, Any]]) -> list[str]:
    """What the page tells of a scenario and the run has not found, nearly."""
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{scenario}` |")]
    figures = [finding["figure"] for finding in findings if finding["figure"]]
    wrong = [f"the page has no {words!r}" for words in TOLD[scenario] if words not in row]
    return wrong + [
        f"told {words!r}, found {figures}"
        for words, told in TOLD[scenario].items()
        if not any(told / _NEAR <= figure <= told * _NEAR for figure in figures)
    ]


def test_a_figure_that_is_far_off_is_seen() -> None:
    """As that of a page which nobody touched while the host changed."""
    page = [{"figure": 33.0}, {"figure": 8.0}]
    assert not_found("latent-poison", page) == []
    assert not_found("latent-poison", [{"figure": 33.0}, {"figure": 24.0}]) == [
        "told '8 of them', found [33.0, 24.0]"
    ]
