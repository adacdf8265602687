"""What the policy asks the runner to do, and how the runner says what came of it.

The policy is written as generators: it yields one `Effect`, the runner performs it and sends back
its outcome, and the policy goes on from there. So a decision reads from top to bottom, every I/O
is one visible `yield`, and a test plays the runner with a few lines.

Frames are numbers of 4096-byte slots in the runner's DRAM; device pages are DPAs in bytes within
the host's region of one node, which an effect names by its number; tier handles are numbers that a
tier gave out. The policy never sees a byte. All effects are batches: `frames[i]` belongs to `dpas[i]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator


class NodeStatus(Enum):
    """How the device answered."""

    OK = "ok"
    NO_MORE_WRITES = "no_more_writes"
    REGION_LIMIT = "region_limit"
    POISONED = "poisoned"
    UNAVAILABLE = "unavailable"
    """No answer for as long as the runner waits. A write may have happened or not; asking again is safe."""
    GONE = "gone"
    """The session is over: new generation, lease expired, or taken over. All bytes in the region are lost."""


class Tier(Enum):
    """Where bytes go behind the node, in this order."""

    ZSWAP = "zswap"
    SWAPFILE = "swapfile"


# -- outcomes -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeWritten:
    """Of the pages asked for, the first `accepted` are stored; `status` says why not the others."""

    status: NodeStatus
    accepted: int


@dataclass(frozen=True, slots=True)
class NodeLoaded:
    """Positions of the request that are `poisoned`; with OK and POISONED the others are in their frames."""

    status: NodeStatus
    poisoned: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class NodeTrimmed:
    """Whether the device took the ranges."""

    status: NodeStatus


@dataclass(frozen=True, slots=True)
class TierStored:
    """A handle for each of the first `len(handles)` frames; the tier had no room for the rest."""

    handles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """For effects that cannot fail."""


Outcome: TypeAlias = (
    NodeWritten
    | NodeLoaded
    | NodeTrimmed
    | TierStored
    | Done
    | tuple[NodeWritten, ...]
    | tuple[NodeLoaded, ...]
)


# -- effects --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeWrite:
    """Write DRAM frames to device pages, in order. Answer: `NodeWritten`."""

    dpas: tuple[int, ...]
    frames: tuple[int, ...]
    node: int = 0


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """Read device pages into DRAM frames. Answer: `NodeLoaded`."""

    dpas: tuple[int, ...]
    frames: tuple[int, ...]
    node: int = 0


@dataclass(frozen=True, slots=True)
class Together:
    """Loads of several nodes, or writes to several: nothing orders them, so they may go on at the same time.

    One effect for each node. Answer: a tuple of their outcomes, in that order.
    """

    effects: tuple[NodeWrite, ...] | tuple[NodeLoad, ...]


@dataclass(frozen=True, slots=True)
class NodeTrim:
    """TRIM ranges of (start, length) bytes, merged and in order. Answer: `NodeTrimmed`."""

    ranges: tuple[tuple[int, int], ...]
    node: int = 0


@dataclass(frozen=True, slots=True)
class TierPut:
    """Store DRAM frames in a tier. Answer: `TierStored`."""

    tier: Tier
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TierGet:
    """Load from a tier into DRAM frames; the tier keeps its copy. Answer: `Done`."""

    tier: Tier
    handles: tuple[int, ...]
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TierDrop:
    """Give handles of a tier back. Answer: `Done`."""

    tier: Tier
    handles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ZeroFrames:
    """Fill frames with zeros. Answer: `Done`."""

    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CopyFrame:
    """Copy one frame to another. Answer: `Done`."""

    source: int
    target: int


Effect: TypeAlias = (
    NodeWrite | NodeLoad | Together | NodeTrim | TierPut | TierGet | TierDrop | ZeroFrames | CopyFrame
)

T = TypeVar("T")

Decision: TypeAlias = "Generator[Effect, Any, T]"
"""A decision under way: yields effects, is sent their outcomes, returns a T."""
