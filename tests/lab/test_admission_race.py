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

PAGE = 4096 + 16
DEVICES = {
    "poisons": ('exhaustion-mode = "poison"', (1 << 20) // PAGE),
    "stages": ('staging = "256KiB"\nstaging-delay = "20ms"', (3 << 18) // PAGE),
}
"""What is special of it, and how many incompressible pages it has room for."""


def lost(tmp_path: Path, device: str, admission: str) -> tuple[float, float]:
    """(pages that the device poisoned, pages that it took of the host's demotions) in one run."""
    path = tmp_path / f"{admission}.toml"
    path.write_text(SCENARIO.format(device=device, admission=admission))
    outcome = simulate(read_scenario(path, None))
    assert not outcome.problems

    def last(who: str, name: str, **labels: str) -> float:
        found = outcome.measurements.find(who, name, labels)
        assert found, name
        return sum(outcome.measurements.samples(series)[-1][1] for series in found)

    poisoned = last("device", "cxldev_poison_created_exhaustion_pages_total")
    poisoned += last("device", "cxldev_poison_created_staging_pages_total")
    return poisoned, last("a", "cram_demotions_total", outcome="ok")


@pytest.mark.parametrize(("device", "room"), DEVICES.values(), ids=DEVICES)
def test_optimistic_loses_and_upper_bound_wins(tmp_path: Path, device: str, room: int) -> None:
    """Both fill the device; only one of them beyond what there is. The other leaves little of it empty."""
    optimistic, demoted = lost(tmp_path, device, "optimistic")
    bounded, demoted_within = lost(tmp_path, device, "upper-bound")
    assert optimistic > 0
    assert demoted > room
    assert bounded == 0
    assert room * 3 / 4 < demoted_within <= room
