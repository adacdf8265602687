"""Places that were freed: a stack for each size, all in one array, filled and drained in one step.

A batch has pages of dozens of sizes. To go through them one by one would cost more than all the rest of
the batch's bookkeeping; so the position in its stack is worked out for all places of a batch at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cxldev.sparse import sparse_zeros

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class FreePlaces:
    """Stacks of offsets, bytes, by size in steps. Last in, first out.

    The places of a size lie apart from one another, so no stack can outgrow the arena divided by its size:
    each has as much sparse memory, and takes 8 bytes for each place that it ever held at one time.
    """

    def __init__(self, arena_bytes: int, step: int, classes: int) -> None:
        """Stacks for 1..`classes` steps of `step` bytes."""
        self._step = step
        sizes = np.arange(1, classes + 1, dtype=np.int64) * step
        self._begins = np.zeros(classes + 1, np.int64)
        """Where each stack begins. There is none for 0 steps."""
        room = (arena_bytes // sizes).cumsum()
        self._begins[2:] = room[:-1]
        self._places = sparse_zeros(int(room[-1]), np.int64)
        self._counts = np.zeros(classes + 1, np.int64)

    def push(self, places: NDArray[np.int64], steps: NDArray[np.int64]) -> None:
        """Lay places down, each on the stack of its size."""
        order, ranked, rank, counts = self._ranks(steps)
        self._places[self._begins[ranked] + self._counts[ranked] + rank] = places[order]
        self._counts += counts

    def pop(self, steps: NDArray[np.int64], top: int) -> tuple[NDArray[np.int64], int]:
        """A place of each size: from its stack while that has one, then fresh ones from `top` on.

        Returns:
            The places, and the new top.
        """
        order, ranked, rank, counts = self._ranks(steps)
        depth = self._counts[ranked] - rank
        taken = self._begins[ranked] + (depth - 1)
        fresh = depth <= 0
        if fresh.any():
            taken[fresh] = 0
            widths = fresh * ranked
            widths *= self._step
            ends = widths.cumsum()
            found = np.where(fresh, top + ends - widths, self._places[taken])
            top += ends.item(-1)
            self._counts -= np.minimum(self._counts, counts)
        else:
            found = self._places[taken]
            self._counts -= counts
        places = np.empty(len(steps), np.int64)
        places[order] = found
        return places, top

    def forget(self) -> None:
        """All stacks are empty."""
        self._counts[:] = 0

    def push_single(self, place: int, steps: int) -> None:
        """As `push`, for one place."""
        count = self._counts.item(steps)
        self._places[self._begins.item(steps) + count] = place
        self._counts[steps] = count + 1

    def pop_single(self, steps: int) -> int | None:
        """The place of that size that was freed last, if there is one."""
        count = self._counts.item(steps)
        if not count:
            return None
        self._counts[steps] = count - 1
        return self._places.item(self._begins.item(steps) + count - 1)

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], int]]:
        """All places, by size in bytes: for the audit."""
        for steps in range(1, len(self._counts)):
            begin, count = self._begins.item(steps), self._counts.item(steps)
            yield self._places[begin : begin + count], steps * self._step

    def _ranks(
        self, steps: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Order by size; sizes in that order; each one's rank among those of its size; how many of each."""
        # Small numbers are sorted by counting them.
        order = steps.astype(np.uint8).argsort(kind="stable")
        ranked = steps[order]
        counts = np.bincount(steps, minlength=len(self._counts))
        rank = np.arange(len(steps)) - (counts.cumsum() - counts)[ranked]
        return order, ranked, rank, counts
