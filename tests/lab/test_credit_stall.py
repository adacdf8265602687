"""`budget = tokens` while the control path stalls and the data path runs, in emulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.scenario.reader import read_scenario
from cramlab.simulated.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = """
question = "What does a stalled control path cost a host that writes on credits?"
seed = 3
duration = "4s"
sample = "500ms"

[device]
physical = "8MiB"

[host.a]
pages = 600
dram = "25%"
rate = 2000
write-share = 0.3
budget = "tokens"
credit-stock = 32
lease = "30s"

[[timeline]]
at = "1s"
inject = "control-stall"
"""


def test_credits_run_out_and_writes_promote(tmp_path: Path) -> None:
    """No mkwrite any more once the credits are spent; nothing is lost, and the data path goes on."""
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    outcome = simulate(read_scenario(path, None))
    assert not outcome.problems

    def samples(name: str, **labels: str) -> list[float]:
        found = outcome.measurements.find("a", name, labels)
        assert len(found) == 1, name
        return [value for _, value in outcome.measurements.samples(found[0])]

    spent = samples("cram_write_credits_total", outcome="spent")
    denied = samples("cram_mkwrite_denied_total", reason="credits")
    assert spent[1] > 32
    assert spent[-1] - spent[2] <= 32
    assert denied[-1] > denied[1]
    assert samples("cram_credit_requests_unanswered_total")[-1] > 0

    assert sum(samples("cram_pages_lost_total", reason="poison")) == 0
