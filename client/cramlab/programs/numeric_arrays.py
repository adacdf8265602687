"""Numeric arrays: a smooth field that relaxes, counters that are mostly zero, incompressible noise."""

from __future__ import annotations

import numpy as np

from cramlab.programs.paced import MIB, Options, parse_options, run_until_told

_NOISE_SHARE = 0.2
_COUNTER_SHARE = 0.3
_WINDOW = 2048
"""Values that one step changes: 4 pages of float64."""
_BUMPS = 64


class Arrays:
    """Three arrays of fixed size; every step changes a window of each."""

    def __init__(self, options: Options) -> None:
        self._random = np.random.default_rng(options.seed)
        values = options.mib * MIB // 8
        noise = int(values * _NOISE_SHARE)
        counters = int(values * _COUNTER_SHARE)
        # Rounded as measurements are; what is smooth and rounded compresses.
        grid = np.linspace(0.0, 40.0, values - noise - counters)
        self._field = np.round(np.sin(grid) * 100.0, 1)
        self._counters = np.zeros(counters, dtype=np.int64)
        self._noise = self._random.integers(0, 2**63, noise, dtype=np.int64)
        self._counters[self._random.integers(0, counters, counters // 16)] = 1

    def step(self) -> None:
        """Relax a window of the field, count some events, draw a window of noise anew."""
        start = int(self._random.integers(1, len(self._field) - _WINDOW - 1))
        window = self._field[start - 1 : start + _WINDOW + 1]
        window[1:-1] = np.round((window[:-2] + window[1:-1] + window[2:]) / 3.0 + 0.1, 1)
        at = int(self._random.integers(0, len(self._counters) - _WINDOW))
        self._counters[at + self._random.integers(0, _WINDOW, _BUMPS)] += 1
        at = int(self._random.integers(0, len(self._noise) - _WINDOW // 4))
        self._noise[at : at + _WINDOW // 4] = self._random.integers(0, 2**63, _WINDOW // 4, dtype=np.int64)

    def describe(self) -> str:
        """What it holds, for the log."""
        sizes = [array.nbytes / MIB for array in (self._field, self._counters, self._noise)]
        return f"a field of {sizes[0]:.1f} MiB, counters of {sizes[1]:.1f} MiB, noise of {sizes[2]:.1f} MiB"


def main() -> None:
    """Make the arrays, then change them until told to end."""
    options = parse_options(__doc__ or "", mib=32, rate=40)
    arrays = Arrays(options)
    run_until_told(options, arrays.step, arrays.describe)


if __name__ == "__main__":
    main()
