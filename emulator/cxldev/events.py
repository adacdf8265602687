"""What the device tells without being asked, and the log that watchers read at their own pace."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxldev.telemetry import Telemetry, WatermarkLevel


class DetachCause(Enum):
    """Why a region went away."""

    REQUESTED = "requested"
    LEASE_EXPIRED = "lease_expired"
    TAKEN_OVER = "taken_over"


@dataclass(frozen=True, slots=True)
class WatermarkCrossed:
    """Remaining media moved to another level."""

    from_level: WatermarkLevel
    to_level: WatermarkLevel


@dataclass(frozen=True, slots=True)
class NoMoreWritesEntered:
    """The first write since the last recovery that the device could not take."""


@dataclass(frozen=True, slots=True)
class NoMoreWritesLeft:
    """Enough media is free again."""


@dataclass(frozen=True, slots=True)
class PoisonFound:
    """A read met these poisoned pages for the first time. Addresses of the region, 512 at most."""

    dpas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RegionAttached:
    """A host got a region."""

    host: str


@dataclass(frozen=True, slots=True)
class RegionDetached:
    """A host's region was trimmed and its session ended."""

    host: str
    cause: DetachCause


@dataclass(frozen=True, slots=True)
class RegionResized:
    """A region's DPA space grew or shrank."""

    host: str
    logical_bytes: int


@dataclass(frozen=True, slots=True)
class AddCapacity:
    """A region's DPA space grew at its end, by the device's will."""

    host: str
    start: int
    """First address of what was added, bytes."""
    length: int


@dataclass(frozen=True, slots=True)
class ReleaseCapacity:
    """The device asks for the end of a region's DPA space back."""

    host: str
    start: int
    """First address of what is to go, bytes."""
    length: int
    force_after_ns: int | None
    """How long it waits for the host; None: for as long as it takes."""


@dataclass(frozen=True, slots=True)
class ForcedCapacityRelease:
    """The end of a region's DPA space was taken by force."""

    host: str
    start: int
    """First address of what is gone, bytes."""
    length: int
    lost_pages: int
    """Pages there that held data."""


@dataclass(frozen=True, slots=True)
class RegionShareChanged:
    """A region's guarantee or limit was changed. Bytes of media."""

    host: str
    guaranteed_media_bytes: int
    limit_media_bytes: int


@dataclass(frozen=True, slots=True)
class FaultArmed:
    """The operator armed a fault. Hosts are not told."""

    fault_id: str
    kind: str


class ClearCause(Enum):
    """Why a fault is not armed any more."""

    REQUESTED = "requested"
    COUNT = "count"
    """It has fired as often as it was to."""
    DURATION = "duration"
    """Its time was over."""


@dataclass(frozen=True, slots=True)
class FaultCleared:
    """A fault is not armed any more. Hosts are not told."""

    fault_id: str
    kind: str
    cause: ClearCause
    fired: int
    """How often it changed something while it was armed."""


@dataclass(frozen=True, slots=True)
class DeviceReset:
    """Power was lost: the last event of its generation."""

    next_generation: str


EventKind = (
    WatermarkCrossed
    | NoMoreWritesEntered
    | NoMoreWritesLeft
    | PoisonFound
    | RegionAttached
    | RegionDetached
    | RegionResized
    | AddCapacity
    | ReleaseCapacity
    | ForcedCapacityRelease
    | RegionShareChanged
    | FaultArmed
    | FaultCleared
    | DeviceReset
)

DEVICE_WIDE = (WatermarkCrossed, NoMoreWritesEntered, NoMoreWritesLeft, DeviceReset)
"""Kinds that every host is told."""
OPERATOR_ONLY = (FaultArmed, FaultCleared)
"""Kinds that no host is told."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `sequence` counts 1, 2, 3, ... within a generation."""

    sequence: int
    generation: str
    now_ns: int
    """The clock that the device was called with."""
    telemetry: Telemetry
    """The device at that moment; its `region` is the one concerned, if one is."""
    kind: EventKind

    def concerns(self, host: str) -> bool:
        """Whether the host is to be told: of the device as a whole, and of its own region."""
        if isinstance(self.kind, DEVICE_WIDE):
            return True
        if isinstance(self.kind, OPERATOR_ONLY):
            return False
        return self.telemetry.region is not None and self.telemetry.region.host == host


@dataclass(frozen=True, slots=True)
class Missed:
    """Events that were dropped before they could be read: sequence numbers, both inclusive."""

    first_sequence: int
    last_sequence: int


class EventLog:
    """The last `entries` events. A watcher is a number: the sequence it has read up to.

    That keeps a watcher that never reads from costing anything: the log moves on, and the watcher
    is told what it missed.
    """

    def __init__(self, entries: int) -> None:
        self._events: deque[Event] = deque(maxlen=entries)
        self._last_sequence = 0

    @property
    def last_sequence(self) -> int:
        """Sequence number of the newest event; 0 before the first."""
        return self._last_sequence

    def restore(self, last_sequence: int) -> None:
        """In a new log: so many events came before, and are not here any more."""
        self._last_sequence = last_sequence

    def append(self, event: Event) -> None:
        """Add the next event. Its sequence must follow the last one's."""
        assert event.sequence == self._last_sequence + 1, (event.sequence, self._last_sequence)
        self._last_sequence = event.sequence
        self._events.append(event)

    def after(self, sequence: int) -> tuple[Missed | None, list[Event]]:
        """What came behind `sequence`, and what of it is no longer here."""
        behind = self._last_sequence - sequence
        if behind <= 0:
            return None, []
        missed = None
        if behind > len(self._events):
            missed = Missed(sequence + 1, self._last_sequence - len(self._events))
        start = max(0, len(self._events) - behind)
        return missed, list(islice(self._events, start, None))
