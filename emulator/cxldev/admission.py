"""Which pages of a write fit. Pure: numbers in, a decision out.

A page fits if what it needs more than it holds now is covered by its region's own limit, and by the
free media less what other regions are guaranteed or promised; a new page leaves alone what is promised
to its own region, too. Pages are judged in order, each on the ground of
those before it. A page that needs no more than it holds always fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Obstacle(Enum):
    """What a page did not fit into."""

    MEDIA = "media"
    """The media has no room at all."""
    GUARANTEE = "guarantee"
    """There is room, and it is guaranteed to other regions, or promised to writable pages."""
    LIMIT = "limit"
    """The region's own limit. Told first where several stand in the way: waiting will not help."""
    READ_ONLY = "read-only"
    """A fault that lets nobody write. Told only of pages that would fit."""


# Every write makes these: frozen dataclasses would take longer than the decision.


class Room(NamedTuple):
    """What a region's write may grow into, bytes. May be below 0."""

    free_bytes: int
    """Free media, less what faults take of the next that is freed."""
    unmet_of_others_bytes: int
    limit_bytes: int
    """Limit less what the region has."""
    promised_bytes: int = 0
    """What the region's new pages leave to those that it has."""

    @property
    def open_bytes(self) -> int:
        """Free, and guaranteed to nobody else."""
        return self.free_bytes - self.unmet_of_others_bytes

    def covers(self, media_bytes: int) -> bool:
        """Whether pages that take so much fit for sure, whatever they hold now and in which order."""
        return media_bytes <= min(self.open_bytes, self.limit_bytes) - self.promised_bytes


@dataclass(slots=True)
class Admission:
    """The decision on one request."""

    accepted: int
    """Pages from the front that are acknowledged."""
    obstacle: Obstacle | None
    """What the page behind them met; None if there is none."""
    poisoned: list[int] = field(default_factory=list)
    """Indices of acknowledged pages that did not fit (mode `poison`)."""
    media_exhausted: bool = False
    """Whether the media itself had no room for a page, refused or poisoned."""


def admit(growth: NDArray[np.int64], room: Room, new: NDArray[np.bool_]) -> Admission:
    """Mode `refuse`: the first page that does not fit ends the request.

    Args:
        growth: bytes that each page needs more than it holds; negative where it needs less.
        room: what there is.
        new: which pages the media does not hold yet.
    """
    least = min(room.open_bytes, room.limit_bytes)
    running = growth.cumsum()
    if int(running.max()) <= least - room.promised_bytes:
        return Admission(len(growth), None)
    beyond = np.flatnonzero(
        ((running > least) | (running + new * room.promised_bytes > room.open_bytes)) & (growth > 0)
    )
    if not beyond.size:
        return Admission(len(growth), None)
    first = int(beyond[0])
    obstacle = _obstacle(int(running[first]), room)
    return Admission(first, obstacle, media_exhausted=obstacle is Obstacle.MEDIA)


def admit_or_poison(
    growth: NDArray[np.int64], poisoned_growth: NDArray[np.int64], room: Room, new: NDArray[np.bool_]
) -> Admission:
    """Mode `poison`: a page that does not fit the media is acknowledged and poisoned.

    A poisoned page takes no media at all, so the request ends only at the region's own limit.

    Args:
        growth: as of `admit`.
        poisoned_growth: the same, if the page is poisoned: it gives back all that it holds. Never above 0.
        room: what there is.
        new: as of `admit`.
    """
    decision = admit(growth, room, new)
    if decision.obstacle is None:
        return decision
    taken = 0
    poisoned: list[int] = []
    media_exhausted = False
    kept_bytes = (new * room.promised_bytes).tolist()
    pages = zip(growth.tolist(), poisoned_growth.tolist(), kept_bytes, strict=True)
    for index, (whole, lost, kept) in enumerate(pages):
        if whole > 0 and taken + whole > room.limit_bytes:
            return Admission(index, Obstacle.LIMIT, poisoned, media_exhausted)
        if whole <= 0 or taken + whole + kept <= room.open_bytes:
            taken += whole
        else:
            media_exhausted |= taken + whole > room.free_bytes
            taken += lost
            poisoned.append(index)
    return Admission(len(growth), None, poisoned, media_exhausted)


def _obstacle(taken_bytes: int, room: Room) -> Obstacle:
    if taken_bytes > room.limit_bytes:
        return Obstacle.LIMIT
    if taken_bytes > room.free_bytes:
        return Obstacle.MEDIA
    return Obstacle.GUARANTEE
