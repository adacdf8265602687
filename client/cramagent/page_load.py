"""A read of one device into frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy.effects import NodeLoaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramagent.dram import Dram


class PageLoad:
    """Device pages on their way into frames, each of them once."""

    def __init__(self, dram: Dram, dpas: Sequence[int], frames: Sequence[int]) -> None:
        self._dram = dram
        self._wanted, self._frames = dpas, frames
        self._first: dict[int, int] = {}
        for position, dpa in enumerate(dpas):
            self._first.setdefault(dpa, position)
        self._distinct = len(self._first) == len(dpas)
        self.dpas: Final = dpas if self._distinct else list(self._first)
        """What is to be read."""
        self._into = frames if self._distinct else [frames[position] for position in self._first.values()]

    def take(self, positions: Sequence[int], data: bytes | memoryview) -> None:
        """Bytes of the pages at these positions of `dpas`."""
        if len(positions) == len(self._into):
            self._dram.scatter(self._into, data)
        else:
            self._dram.scatter([self._into[position] for position in positions], data)

    def loaded(self, answer: NodeLoaded) -> NodeLoaded:
        """What the device's answer is to the pages as they were asked for."""
        if self._distinct:
            return answer
        lost = {self.dpas[position] for position in answer.poisoned}
        for position, dpa in enumerate(self._wanted):
            if self._first[dpa] != position and dpa not in lost:
                self._dram.copy(self._frames[self._first[dpa]], self._frames[position])
        poisoned = [position for position, dpa in enumerate(self._wanted) if dpa in lost]
        return NodeLoaded(answer.status, frozenset(poisoned))
