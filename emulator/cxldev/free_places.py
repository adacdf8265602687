"""Places that were freed: a stack for each size.

A batch has pages of dozens of sizes. It is taken from its stacks page by page, in plain Python: to work the
batch out at once, in numpy, takes several times as long for a hundred pages, and as long for a thousand.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_FEW: Final = 512
"""Places up to which they are laid down one by one. A TRIM gives back many more at one time."""


class FreePlaces:
    """Stacks of offsets, bytes, by size in steps. Last in, first out. 8 bytes for each free place."""

    def __init__(self, step: int, classes: int) -> None:
        """Stacks for 1..`classes` steps of `step` bytes."""
        self._step = step
        # What takes no step has no place: that stack stays empty.
        self._stacks = [array("q") for _ in range(classes + 1)]

    def push(self, places: NDArray[np.int64], steps: NDArray[np.int64]) -> None:
        """Lay places down, each on the stack of its size."""
        stacks = self._stacks
        if len(steps) <= _FEW:
            for place, step in zip(places.tolist(), steps.tolist(), strict=True):
                stacks[step].append(place)
            return
        # Small numbers are sorted by counting them.
        ranked = places[steps.astype(np.uint8).argsort(kind="stable")]
        ends = np.bincount(steps, minlength=len(stacks)).cumsum().tolist()
        for stack, (begin, end) in zip(stacks, pairwise([0, *ends]), strict=True):
            stack.frombytes(ranked[begin:end].tobytes())

    def pop(self, steps: Sequence[int], top: int) -> tuple[list[int], int]:
        """A place of each size: from its stack while that has one, then fresh ones from `top` on.

        Returns:
            The places, 0 where there are no steps, and the new top.
        """
        stacks, width = self._stacks, self._step
        places: list[int] = []
        for step in steps:
            if stacks[step]:
                places.append(stacks[step].pop())
            elif step:
                places.append(top)
                top += step * width
            else:
                places.append(0)
        return places, top

    def forget(self) -> None:
        """All stacks are empty."""
        self._stacks = [array("q") for _ in self._stacks]

    def push_single(self, place: int, steps: int) -> None:
        """As `push`, for one place."""
        self._stacks[steps].append(place)

    def pop_single(self, steps: int) -> int | None:
        """The place of that size that was freed last, if there is one."""
        stack = self._stacks[steps]
        return stack.pop() if stack else None

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], int]]:
        """All places, by size in bytes: for the audit."""
        for steps, stack in enumerate(self._stacks):
            if stack:
                yield np.array(stack, np.int64), steps * self._step
