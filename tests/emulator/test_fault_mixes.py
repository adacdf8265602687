"""Each fault alone, and 200 seeded mixes: no wrong byte, no loss untold, no media gone, nothing waits on."""

from __future__ import annotations

import pytest

from emulator_mixes import run_mix
from emulator_random_faults import KINDS

DONE_AT_ONCE = {"poison", "bit_flip", "reset"}
"""These are not counted as firing."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone(kind: str) -> None:
    """Six seeds: both exhaustion modes, with and without TRIM delay and staging. It does fire."""
    mixes = [run_mix(seed, [kind]) for seed in range(6)]
    fired = sum(dict(mix.device.status(mix.now).faults_fired).get(kind, 0) for mix in mixes)
    assert fired or kind in DONE_AT_ONCE


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_mixes(first: int) -> None:
    """All kinds, up to five held faults at once."""
    for seed in range(first, first + 20):
        run_mix(1000 + seed, KINDS)


def test_a_mix_is_repeatable() -> None:
    """The same seed: the same counters, the same faults, as often."""
    one, same = run_mix(7, KINDS), run_mix(7, KINDS)
    assert one.device.status(one.now) == same.device.status(same.now)


def test_the_mixes_fire_every_kind() -> None:
    """A mix that no fault met would prove nothing. Those with odd seeds have a staging buffer."""
    fired: dict[str, int] = {}
    for seed in range(1001, 1081, 2):
        mix = run_mix(seed, KINDS)
        for kind, times in mix.device.status(mix.now).faults_fired:
            fired[kind] = fired.get(kind, 0) + times
    assert all(fired.values()), fired
