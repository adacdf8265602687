"""Performs what the policy asks for: the only place where its numbers become bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar, assert_never

from cramagent.policy.effects import (
    CopyFrame,
    Done,
    NodeLoad,
    NodeLoaded,
    NodeTrim,
    NodeWrite,
    TierDrop,
    TierGet,
    TierPut,
    TierStored,
    ZeroFrames,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cramagent.dram import Dram
    from cramagent.policy.effects import (
        Decision,
        Effect,
        NodeTrimmed,
        NodeWritten,
        Outcome,
        Tier,
    )
    from cramagent.tiers import TierStore

T = TypeVar("T")

_DONE = Done()


class NodePort(Protocol):
    """The device as the performer needs it."""

    def write(self, dpas: Sequence[int], data: bytes) -> NodeWritten:
        """Store page i of `data` at `dpas[i]`."""
        ...

    def read(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes | memoryview], None]
    ) -> NodeLoaded:
        """Read pages; `take` gets positions in `dpas` and the bytes of these pages."""
        ...

    def trim(self, ranges: Sequence[tuple[int, int]]) -> NodeTrimmed:
        """TRIM (start, length) ranges."""
        ...


class Performer:
    """DRAM, the node, and the tiers behind it."""

    def __init__(self, dram: Dram, node: NodePort, tiers: Mapping[Tier, TierStore]) -> None:
        self._dram = dram
        self._node = node
        self._tiers = tiers

    def drive(self, decision: Decision[T]) -> T:
        """Perform a decision to its end; what it decided.

        An effect that raises is thrown into the decision, so that it can put back what it holds, and
        comes out here again.
        """
        try:
            effect = next(decision)
            while True:
                try:
                    outcome = self.perform(effect)
                except BaseException as error:
                    decision.throw(error)
                    raise
                effect = decision.send(outcome)
        except StopIteration as end:
            answer: T = end.value
            return answer

    def perform(self, effect: Effect) -> Outcome:
        """One effect, and what came of it."""
        match effect:
            case NodeWrite(dpas, frames):
                return self._node.write(dpas, self._dram.gather(frames))
            case NodeLoad(dpas, frames):
                return self.load(dpas, frames)
            case NodeTrim(ranges):
                return self._node.trim(ranges)
            case TierPut(tier, frames):
                return TierStored(tuple(self._tiers[tier].put([self._dram.frame(frame) for frame in frames])))
            case TierGet(tier, handles, frames):
                for handle, frame in zip(handles, frames, strict=True):
                    self._tiers[tier].get(handle, self._dram.frame(frame))
                return _DONE
            case TierDrop(tier, handles):
                for handle in handles:
                    self._tiers[tier].drop(handle)
                return _DONE
            case ZeroFrames(frames):
                self._dram.zero(frames)
                return _DONE
            case CopyFrame(source, target):
                self._dram.copy(source, target)
                return _DONE
        assert_never(effect)

    def load(self, dpas: Sequence[int], frames: Sequence[int]) -> NodeLoaded:
        """Device pages into frames. Two mappers may ask for one device page: it is read once."""
        first: dict[int, int] = {}
        for position, dpa in enumerate(dpas):
            first.setdefault(dpa, position)
        if len(first) == len(dpas):
            return self._load_distinct(dpas, frames)
        asked = list(first)
        answer = self._load_distinct(asked, [frames[position] for position in first.values()])
        lost = {asked[position] for position in answer.poisoned}
        for position, dpa in enumerate(dpas):
            if first[dpa] != position and dpa not in lost:
                self._dram.copy(frames[first[dpa]], frames[position])
        return NodeLoaded(
            answer.status, frozenset(position for position, dpa in enumerate(dpas) if dpa in lost)
        )

    def _load_distinct(self, dpas: Sequence[int], frames: Sequence[int]) -> NodeLoaded:
        def take(positions: Sequence[int], data: bytes | memoryview) -> None:
            if len(positions) == len(frames):
                self._dram.scatter(frames, data)
            else:
                self._dram.scatter([frames[position] for position in positions], data)

        return self._node.read(dpas, take)
