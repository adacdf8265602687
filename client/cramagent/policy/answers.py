"""What the host answers and is told: accesses, places, frees, readings. Plain values, no behaviour.

Import them from `cramagent.policy.host`, beside the facade that uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from cramagent.policy.effects import Tier
from cramagent.policy.settings import PAGE_BYTES


class AccessKind(Enum):
    """How an access ends."""

    DRAM = "dram"
    """The CPU reads or writes the frame."""
    NODE = "node"
    """The CPU reads or writes the device page, through `Host.load` or `Host.store`."""
    BUS_ERROR = "bus_error"
    """The bytes are lost, or the device could not take the store, or the space was killed for that."""
    STALLED = "stalled"
    """The device does not answer now. Nothing was changed by this access: ask again later."""
    OUT_OF_MEMORY = "out_of_memory"
    """No frame is free and nothing could be reclaimed. Nothing was changed by this access."""


@dataclass(frozen=True, slots=True)
class Access:
    """One answered access. `where` is a frame number (DRAM), else 0.

    There is one object for each answer (`Frames.answer` keeps those of the frames): an access makes none.
    """

    kind: AccessKind
    where: int = 0


class LossCause(Enum):
    """Why a page's bytes are lost."""

    POISON = "poison"
    """The device page went bad."""
    SESSION = "session"
    """The session ended, and the region with it."""
    FORCED_RELEASE = "forced_release"
    """The device took that part of the region by force."""


@dataclass(frozen=True, slots=True)
class LostPage:
    """One mapper's page became LOST: told once, when it happened."""

    space: int
    vpn: int
    cause: LossCause
    node: int = 0
    """Number of the node that lost it."""


ON_NODE: Final = Access(AccessKind.NODE)
BUS_ERROR: Final = Access(AccessKind.BUS_ERROR)
STALLED: Final = Access(AccessKind.STALLED)
OUT_OF_MEMORY: Final = Access(AccessKind.OUT_OF_MEMORY)


class Backend(Enum):
    """Where a folio's bytes are."""

    NONE = "none"
    """Nowhere: the page is not mapped and reads as zeros."""
    DRAM = "dram"
    NODE = "node"
    ZSWAP = "zswap"
    SWAPFILE = "swapfile"
    LOST = "lost"

    @property
    def tier(self) -> Tier | None:
        """The tier behind the node that this is, if it is one."""
        return _TIER_OF.get(self)


_TIER_OF: Final = {Backend.ZSWAP: Tier.ZSWAP, Backend.SWAPFILE: Tier.SWAPFILE}
BACKEND_OF_TIER: Final = {tier: backend for backend, tier in _TIER_OF.items()}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one page's bytes are now.

    `where` is a frame number (DRAM), a DPA in bytes (NODE), a tier's handle (ZSWAP, SWAPFILE), else 0.
    """

    backend: Backend
    where: int = 0
    node: int = 0
    """Number of the node, if that is where they are."""


class FreeAnswer(Enum):
    """How a free ends, in the words of the kernel's callback for private nodes."""

    DONE = "done"
    """Nothing is left to do."""
    DEFERRED = "deferred"
    """The device page waits for TRIM; or, unnoticed, its entry is a zombie until the reaper finds it."""
    BUFFER_FULL = "buffer_full"
    """The TRIM buffer has no room: the entry keeps the device page until the reaper finds room."""


@dataclass(frozen=True, slots=True)
class NodeReading:
    """What one telemetry answer or event says of the node. Ratios per mille, capacities in bytes.

    Raises:
        ValueError: the watermark level is not one of the wire's five.
    """

    watermark: int
    """1 above high, 2 high, 3 medium, 4 low, 5 critical: as `cramwire.v1.WatermarkLevel`."""
    no_more_writes: bool
    media_free_bytes: int
    """Of the device's free media, what new pages of this region may take."""
    ratio_milli: int
    """Observed in this host's region; 0 while nothing is stored."""
    zratio_milli: int
    """Assumed when the capacity was advertised."""
    stored_pages: int
    """Pages that hold data, in this host's region."""
    region_free_bytes: int
    """The region's media limit less what it uses."""
    region_limit_bytes: int
    """Media that the region may take at most."""
    logical_bytes: int
    """Size of the region's DPA space."""
    worst_page_bytes: int = PAGE_BYTES + 16
    """Media that a page takes at most: stored raw, with the device's metadata (its default here)."""

    asked_back_to_bytes: int | None = None
    """The size that the device asks the region to shrink to; None: it does not ask."""
    forced_in_ns: int | None = None
    """How long until it does so by force; None: it waits."""

    def __post_init__(self) -> None:
        if not 1 <= self.watermark <= 5:
            raise ValueError(f"a watermark level is 1 to 5, not {self.watermark}")

    @property
    def logical_pages(self) -> int:
        """Size of the region's DPA space, in pages."""
        return self.logical_bytes // PAGE_BYTES
