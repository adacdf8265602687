"""What the device tells about itself: to hosts, and, further down, to the operator only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxldev.faults import ArmedFault


class WatermarkLevel(IntEnum):
    """How much media remains; higher means less. Values match the wire."""

    ABOVE_HIGH = 1
    HIGH = 2
    MEDIUM = 3
    LOW = 4
    CRITICAL = 5


@dataclass(frozen=True, slots=True)
class RegionTelemetry:
    """One region as its host may see it. Sizes in bytes."""

    host: str
    logical_bytes: int
    guaranteed_media_bytes: int
    limit_media_bytes: int
    media_used_bytes: int
    stored_pages: int
    ratio_milli: int
    trim_queued_pages: int
    credit_pages: int
    """Write credits that it was promised and holds, spent or not."""
    room_bytes: int
    """Media that new pages of the region may take now: free, in its limit, and nobody else's."""
    asked_back_to_bytes: int | None = None
    """The size that the device asks it to shrink to; None: it does not ask."""
    forced_in_ns: int | None = None
    """How long until the device does so by force; None: it waits for the host."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Totals of the device, and the region that they were asked for with. Sizes in bytes."""

    generation: str
    event_sequence: int
    logical_capacity_bytes: int
    physical_capacity_bytes: int
    media_used_bytes: int
    media_free_bytes: int
    stored_pages: int
    ratio_milli: int
    zratio_milli: int
    watermark: WatermarkLevel
    no_more_writes: bool
    trim_queued_pages: int
    writes_refused_pages: int
    media_staged_bytes: int
    region: RegionTelemetry | None = None


@dataclass(frozen=True, slots=True)
class MediaUse:
    """Where the media went, bytes: used = sectors + metadata + staged + reserved."""

    sectors_bytes: int
    metadata_bytes: int
    staged_bytes: int
    reserved_bytes: int
    peak_used_bytes: int
    pages_by_sectors: tuple[int, ...]
    """Entry i counts the stored pages that take i sectors."""

    @property
    def used_bytes(self) -> int:
        """All media that is not free."""
        return self.sectors_bytes + self.metadata_bytes + self.staged_bytes + self.reserved_bytes


@dataclass(frozen=True, slots=True)
class RegionStatus:
    """One region as the operator may see it."""

    telemetry: RegionTelemetry
    lease_ns: int
    lease_remaining_ns: int
    poisoned_pages: int


@dataclass(slots=True)
class Counters:
    """What happened since the process started, over all generations. Each moves as its line says."""

    capacity_identity_checks: int = 0
    """The capacity identity was asserted."""
    write_requests: int = 0
    read_requests: int = 0
    trim_requests: int = 0
    flush_requests: int = 0
    written_pages: int = 0
    """A page was stored (one per write, overwrites too)."""
    read_pages: int = 0
    """A page was read and handed out."""
    trimmed_pages: int = 0
    """A page that held data was trimmed by its host."""
    released_pages: int = 0
    """A trimmed page's media came back."""
    same_filled_pages: int = 0
    """A written page was one repeated byte or word, and took no sector."""
    raw_pages: int = 0
    """A written page saved no sector, and was stored raw."""
    staged_pages: int = 0
    """A page was acknowledged into the staging buffer."""
    drained_pages: int = 0
    """A staged page was compressed and stored."""
    written_through_pages: int = 0
    """A page of a device with staging did not go into the buffer: it was full, or the device too."""
    credits_granted: int = 0
    """A write credit was granted."""
    credits_denied: int = 0
    """A write credit was asked for and not granted."""
    no_more_writes: int = 0
    """The device went into no more writes (once per episode)."""
    refused_media_pages: int = 0
    """A page was turned away because the media had no room."""
    refused_guarantee_pages: int = 0
    """A page was turned away because the room was guaranteed to other regions, or promised as credits."""
    refused_limit_pages: int = 0
    """A page was turned away by its region's limit."""
    refused_read_only_pages: int = 0
    """A page was turned away because a fault made the media read-only."""
    poison_created_exhaustion_pages: int = 0
    """A write was acknowledged and poisoned for want of media (mode `poison`)."""
    poison_created_injected_pages: int = 0
    """The operator poisoned a page."""
    poison_created_staging_pages: int = 0
    """A page was acknowledged into the staging buffer, and found no room when it was drained."""
    bit_flipped_pages: int = 0
    """The operator flipped bits of a page on the media."""
    poison_created_checksum_pages: int = 0
    """A read found bytes that do not match their checksum."""
    poison_read_pages: int = 0
    """A read met a poisoned page."""
    watermark_falls: int = 0
    watermark_rises: int = 0
    attaches: int = 0
    detaches: int = 0
    leases_expired: int = 0
    capacity_added_bytes: int = 0
    """DPA space was added to a region by the device."""
    capacity_released_bytes: int = 0
    """DPA space came back from a host that was asked for it."""
    capacity_forced_bytes: int = 0
    """DPA space was taken by force."""
    capacity_lost_pages: int = 0
    """A page that held data was lost by that."""
    resets: int = 0
    peak_media_used_bytes: int = 0
    """The most media ever used at one time."""


@dataclass(frozen=True, slots=True)
class Status:
    """All that the operator may know, in one consistent reading."""

    telemetry: Telemetry
    media: MediaUse
    regions: tuple[RegionStatus, ...]
    faults: tuple[ArmedFault, ...]
    faults_fired: tuple[tuple[str, int], ...]
    """How often faults of each kind changed something since the process started, armed or not any more."""
    counters: Counters
    """A copy: it does not move."""
    same_filled_stored_pages: int
    raw_stored_pages: int
    poisoned_stored_pages: int
