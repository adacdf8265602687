"""The host's memory: one mapping of 4096-byte frames, numbered from 0.

Frames below `pages` are the policy's; the ones behind them are the runner's scratch, where bytes
pass on their way between a workload and a device page.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from cramagent.policy.settings import PAGE_BYTES
from cramagent.truth import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SCRATCH_PAGES: Final = 256
"""Frames of the runner, one batch of loads or of stores."""

_ZEROS: Final = bytes(PAGE_BYTES)
_PAGE: Final = np.dtype(f"V{PAGE_BYTES}")


class Dram:
    """Frames, and how whole batches of them move. Contiguous ones move in one piece."""

    def __init__(self, pages: int, scratch_pages: int = SCRATCH_PAGES) -> None:
        self.pages: Final = pages
        self.scratch: Final = range(pages, pages + scratch_pages)
        """Numbers of the scratch frames; contiguous."""
        self._mapping = mmap.mmap(-1, (pages + scratch_pages) * PAGE_BYTES, mmap.MAP_PRIVATE)
        self._view = memoryview(self._mapping)
        self._rows: NDArray[np.void] = np.frombuffer(self._mapping, _PAGE)
        """The same memory, an element a frame: a batch moves in one call."""

    def frame(self, number: int) -> memoryview:
        """The 4096 bytes of one frame; writable, and only good until the frame is used for something else."""
        return self._view[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]

    def gather(self, frames: Sequence[int]) -> bytes:
        """The bytes of the frames, one behind the other: one copy."""
        view = self._view
        if _contiguous(frames):
            return bytes(view[frames[0] * PAGE_BYTES : (frames[-1] + 1) * PAGE_BYTES])
        return b"".join([view[number * PAGE_BYTES : (number + 1) * PAGE_BYTES] for number in frames])

    def digests(self, frames: Sequence[int]) -> list[int]:
        """The hash of each frame's bytes."""
        view = self._view
        return [digest(view[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]) for number in frames]

    def scatter(self, frames: Sequence[int], data: bytes | memoryview) -> None:
        """Page i of `data` into `frames[i]`: one copy."""
        if _contiguous(frames):
            self._view[frames[0] * PAGE_BYTES : (frames[-1] + 1) * PAGE_BYTES] = data
        else:
            self._rows[list(frames)] = np.frombuffer(data, _PAGE)

    def put(self, frames: Sequence[int], data: bytes | memoryview, positions: Sequence[int]) -> None:
        """Page `positions[i]` of `data` into `frames[i]`."""
        if positions:
            self._rows[list(frames)] = np.frombuffer(data, _PAGE).take(positions)

    def zero(self, frames: Sequence[int]) -> None:
        """Fill frames with zeros."""
        for number in frames:
            self.frame(number)[:] = _ZEROS

    def copy(self, source: int, target: int) -> None:
        """One frame's bytes into another."""
        self.frame(target)[:] = self.frame(source)

    def keep(self) -> bytes:
        """The bytes of the policy's frames."""
        return bytes(self._view[: self.pages * PAGE_BYTES])

    def recall(self, kept: bytes) -> None:
        """Hold these bytes."""
        self._view[: self.pages * PAGE_BYTES] = kept

    def close(self) -> None:
        """Give the memory back; where a view of a frame is still held (by a traceback), with that one."""
        self._view.release()
        self._rows = np.empty(0, _PAGE)
        with suppress(BufferError):
            self._mapping.close()


def _contiguous(frames: Sequence[int]) -> bool:
    if not frames or frames[-1] - frames[0] != len(frames) - 1:
        return False
    return all(after - before == 1 for before, after in pairwise(frames))
