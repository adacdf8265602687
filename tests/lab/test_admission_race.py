"""The race between reading the capacity and allocating it, on one seed, in emulated time.

Between two readings a host demotes more than the last one had room for. A device that acknowledges what it
cannot store (mode `poison`, or a staging buffer) lets it: the pages are lost, and nobody is told in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cramlab.scenario.reader import read_scenario
from cramlab.simulated.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

SCENARIO = """
question = "Who loses the race between reading the capacity and allocating it?"
seed = 7
duration = "1s"
sample = "1s"

[device]
physical = "1MiB"
zratio = 4000
watermark-critical = 0
{device}

[host.a]
pages = 600
dram = "20%"
zero = 0.0
incompressible = 1.0
rate = 2000
close-pressure = 1000
admission = "{admission}"
"""

DEVICES = {
    "poisons": 'exhaustion-mode = "poison"',
    "stages": 'staging = "256KiB"\nstaging-delay = "20ms"',
}


def lost(tmp_path: Path, device: str, admission: str) -> tuple[float, float]:
    """(pages that the device poisoned, pages that the host demoted) in one run."""
    path = tmp_path / f"{admission}.toml"
    path.write_text(SCENARIO.format(device=device, admission=admission))
    outcome = simulate(read_scenario(path, None))
    assert not outcome.problems

    def last(who: str, name: str) -> float:
        found = outcome.measurements.find(who, name, {})
        assert found, name
        return sum(outcome.measurements.samples(series)[-1][1] for series in found)

    poisoned = last("device", "cxldev_poison_created_exhaustion_pages_total")
    poisoned += last("device", "cxldev_poison_created_staging_pages_total")
    return poisoned, last("a", "cram_demotions_total")


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_optimistic_loses_and_upper_bound_wins(tmp_path: Path, device: str) -> None:
    """Both fill the device as far as they can; only one of them beyond what there is."""
    optimistic, demoted = lost(tmp_path, device, "optimistic")
    bounded, demoted_within = lost(tmp_path, device, "upper-bound")
    assert optimistic > 0
    assert bounded == 0
    assert demoted_within > demoted / 2
