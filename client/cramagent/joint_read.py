"""Reads of several decisions as one command to each device, and what of the answer is whose."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard, cast

from cramagent.policy.effects import NodeLoad, NodeLoaded, NodeStatus, Together

if TYPE_CHECKING:
    from cramagent.policy.effects import Effect, Outcome

Read: TypeAlias = NodeLoad | Together
"""A read of one device, or of several at the same time."""


def is_read(effect: Effect) -> TypeGuard[Read]:
    """Whether an effect reads device pages."""
    return isinstance(effect, NodeLoad) or (
        isinstance(effect, Together) and isinstance(effect.effects[0], NodeLoad)
    )


class JointRead:
    """At least one read, joined: `effect` is to be performed in their place, then asked for `outcomes`."""

    def __init__(self, *reads: Read) -> None:
        self._reads: Final = reads
        self._of_node: dict[int, list[NodeLoad]] = {}
        for load in chain.from_iterable(_loads(read) for read in reads):
            self._of_node.setdefault(load.node, []).append(load)
        joined = tuple([_join(loads) for loads in self._of_node.values()])
        self.effect: Final[Read] = joined[0] if len(joined) == 1 else Together(joined)

    def outcomes(self, outcome: Outcome) -> list[Outcome]:
        """For each read what it would have been answered by itself."""
        answers = (outcome,) if isinstance(self.effect, NodeLoad) else cast("tuple[Outcome, ...]", outcome)
        parts: dict[int, NodeLoaded] = {}
        for answer, loads in zip(answers, self._of_node.values(), strict=True):
            assert isinstance(answer, NodeLoaded), answer
            first = 0
            for load in loads:
                parts[id(load)] = _part(answer, range(first, first + len(load.dpas)))
                first += len(load.dpas)
        found: list[Outcome] = []
        for read in self._reads:
            own = tuple([parts[id(load)] for load in _loads(read)])
            found.append(own[0] if isinstance(read, NodeLoad) else own)
        return found


def _loads(read: Read) -> tuple[NodeLoad, ...]:
    return (read,) if isinstance(read, NodeLoad) else cast("tuple[NodeLoad, ...]", read.effects)


def _join(loads: list[NodeLoad]) -> NodeLoad:
    dpas = tuple(chain.from_iterable([load.dpas for load in loads]))
    return NodeLoad(dpas, tuple(chain.from_iterable([load.frames for load in loads])), loads[0].node)


def _part(loaded: NodeLoaded, places: range) -> NodeLoaded:
    """What the answer says of the pages at these places."""
    if loaded.status is not NodeStatus.POISONED:
        return loaded
    poisoned = frozenset([place - places.start for place in loaded.poisoned if place in places])
    return NodeLoaded(NodeStatus.POISONED if poisoned else NodeStatus.OK, poisoned)
