"""Bytes of synthetic pages: zeros, noise that no codec shrinks, and something like a program's heap.

A page's bytes follow from the seed and the page's stamp alone, so none need to be kept. Two stamps
never give the same bytes, except where both pages are zeros: a page that is mixed up is found.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import numpy as np
from xxhash import xxh3_64_intdigest

from cramagent.policy.settings import PAGE_BYTES

_POOL_BYTES: Final = 1 << 20
_ROW_BYTES: Final = 64
_NOISE_IN_ROW: Final = 18
"""Bytes of each 64 that are noise: zstd makes about 3:1 of the whole, as of much real memory."""
_SCALE: Final = 1 << 32


class Content:
    """Makes pages. `zero` and `incompressible` are shares of 0..1; the rest is compressible."""

    def __init__(self, seed: int, *, zero: float, incompressible: float) -> None:
        self._seed = seed
        self._zero_below = int(zero * _SCALE)
        self._first_stamps = [0]
        self._noise_below = [int((zero + incompressible) * _SCALE)]
        """Shares by the stamps from which on they hold, ascending."""
        noise = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, _POOL_BYTES, dtype=np.uint8)
        rows = np.tile(
            np.frombuffer(b"the quick brown fox jumps over it".ljust(_ROW_BYTES, b"\0"), np.uint8),
            (_POOL_BYTES // _ROW_BYTES, 1),
        )
        rows[:, -_NOISE_IN_ROW:] = noise.reshape(-1, _ROW_BYTES)[:, :_NOISE_IN_ROW]
        self._noise = memoryview(noise.tobytes())
        self._heap = memoryview(rows.tobytes())

    def drift(self, first_stamp: int, incompressible: float) -> None:
        """Stamps from here on are drawn with another share of incompressible pages.

        Args:
            first_stamp: above all that pages were made of.
            incompressible: the new share; with `zero` at most 1.
        """
        assert first_stamp > self._first_stamps[-1], (first_stamp, self._first_stamps[-1])
        self._first_stamps.append(first_stamp)
        self._noise_below.append(self._zero_below + int(incompressible * _SCALE))

    def keep(self) -> tuple[list[int], list[int]]:
        """How it has drifted; all else follows from the settings."""
        return self._first_stamps, self._noise_below

    def recall(self, kept: tuple[list[int], list[int]]) -> None:
        """Go on from there."""
        self._first_stamps, self._noise_below = kept

    def page(self, stamp: int) -> bytes:
        """The 4096 bytes that `stamp` (0..2^63) stands for."""
        name = stamp.to_bytes(8, "little")
        drawn = xxh3_64_intdigest(name, self._seed)
        kind, place = drawn % _SCALE, drawn // _SCALE
        if kind < self._zero_below:
            return bytes(PAGE_BYTES)
        noise_below = self._noise_below[bisect_right(self._first_stamps, stamp) - 1]
        pool = self._noise if kind < noise_below else self._heap
        start = place * _ROW_BYTES % (_POOL_BYTES - PAGE_BYTES)
        return name + pool[start + len(name) : start + PAGE_BYTES]
