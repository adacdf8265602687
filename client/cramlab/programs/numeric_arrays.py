"""Numeric arrays: a field that relaxes, counters mostly zero, incompressible noise, results that go."""

from __future__ import annotations

import mmap
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from cramlab.programs.paced import MIB, Options, parse_options, run_until_told

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NOISE_SHARE = 0.2
_COUNTER_SHARE = 0.3
_WINDOW = 2048
"""Values that one step changes: 4 pages of float64."""
_BUMPS = 64
_RESULTS = 6
_RESULT_EVERY = 40
_RESULT_VALUES = 65_536
"""128 pages of float64."""


class Arrays:
    """Three arrays of fixed size, of which every step changes a window; and the latest few results."""

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
        self._results: deque[NDArray[np.float64]] = deque(maxlen=_RESULTS)
        self._steps = 0

    def step(self) -> None:
        """Relax a window of the field, count some events, draw a window of noise anew."""
        start = int(self._random.integers(1, len(self._field) - _WINDOW - 1))
        window = self._field[start - 1 : start + _WINDOW + 1]
        window[1:-1] = np.round((window[:-2] + window[1:-1] + window[2:]) / 3.0 + 0.1, 1)
        at = int(self._random.integers(0, len(self._counters) - _WINDOW))
        self._counters[at + self._random.integers(0, _WINDOW, _BUMPS)] += 1
        at = int(self._random.integers(0, len(self._noise) - _WINDOW // 4))
        self._noise[at : at + _WINDOW // 4] = self._random.integers(0, 2**63, _WINDOW // 4, dtype=np.int64)
        self._steps += 1
        if self._steps % _RESULT_EVERY == 0:
            self._keep_result()

    def describe(self) -> str:
        """What it holds, for the log."""
        sizes = [array.nbytes / MIB for array in (self._field, self._counters, self._noise)]
        return f"a field of {sizes[0]:.1f} MiB, counters of {sizes[1]:.1f} MiB, noise of {sizes[2]:.1f} MiB"

    def _keep_result(self) -> None:
        """Copy a part of the field to memory of its own; the oldest such copy goes back to the kernel."""
        memory = mmap.mmap(-1, _RESULT_VALUES * 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        result = np.frombuffer(memory, dtype=np.float64)
        start = int(self._random.integers(0, len(self._field) - _RESULT_VALUES))
        result[:] = self._field[start : start + _RESULT_VALUES]
        self._results.append(result)


def main() -> None:
    """Make the arrays, then change them until told to end."""
    options = parse_options(__doc__ or "", mib=32, rate=25)
    arrays = Arrays(options)
    run_until_told(options, arrays.step, arrays.describe)


if __name__ == "__main__":
    main()
