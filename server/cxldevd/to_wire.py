"""The device's values as messages."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from cramwire.transport import COMMANDS_PER_MESSAGE, MESSAGE_BYTES
from cramwire.v1 import device_pb2, operator_pb2, types_pb2
from cxldev import events
from cxldev.config import PAGE_BYTES, ExhaustionMode
from cxldev.events import ClearCause, DetachCause
from cxldev.outcomes import PageKind
from cxldevd.fault_messages import armed_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxldev.config import DeviceConfig
    from cxldev.outcomes import PageDescription
    from cxldev.telemetry import Counters, MediaUse, RegionStatus, RegionTelemetry, Status, Telemetry
    from cxldevd.watching import Started

_MODEL: Final = "cramulator"
_VERSION: Final = version("cramulator")
"""Looked up once: that reads a folder of files."""

_MODES: Final = {
    ExhaustionMode.REFUSE: types_pb2.EXHAUSTION_MODE_REFUSE,
    ExhaustionMode.POISON: types_pb2.EXHAUSTION_MODE_POISON,
}
_CAUSES: Final = {
    DetachCause.REQUESTED: types_pb2.DETACH_CAUSE_REQUESTED,
    DetachCause.LEASE_EXPIRED: types_pb2.DETACH_CAUSE_LEASE_EXPIRED,
    DetachCause.TAKEN_OVER: types_pb2.DETACH_CAUSE_TAKEN_OVER,
}
_CLEAR_CAUSES: Final = {
    ClearCause.REQUESTED: types_pb2.FAULT_CLEAR_CAUSE_REQUESTED,
    ClearCause.COUNT: types_pb2.FAULT_CLEAR_CAUSE_COUNT,
    ClearCause.DURATION: types_pb2.FAULT_CLEAR_CAUSE_DURATION,
}
_PAGE_KINDS: Final = {
    PageKind.EMPTY: operator_pb2.PAGE_KIND_EMPTY,
    PageKind.COMPRESSED: operator_pb2.PAGE_KIND_COMPRESSED,
    PageKind.RAW: operator_pb2.PAGE_KIND_RAW,
    PageKind.SAME_FILLED: operator_pb2.PAGE_KIND_SAME_FILLED,
    PageKind.POISONED: operator_pb2.PAGE_KIND_POISONED,
    PageKind.STAGED: operator_pb2.PAGE_KIND_STAGED,
}


def identity(config: DeviceConfig, generation: str, origin: str) -> device_pb2.IdentifyResponse:
    """What the device is."""
    marks = config.watermarks
    physical = config.physical_capacity_bytes
    return device_pb2.IdentifyResponse(
        model=_MODEL,
        version=_VERSION,
        generation=generation,
        logical_capacity_bytes=config.logical_capacity_bytes,
        physical_capacity_bytes=physical,
        page_bytes=PAGE_BYTES,
        sector_bytes=config.sector_bytes,
        metadata_bytes=config.metadata_bytes,
        zratio_milli=config.zratio_milli,
        exhaustion_mode=_MODES[config.exhaustion_mode],
        limits=device_pb2.Limits(
            pages_per_request=config.max_pages_per_request,
            ranges_per_trim=config.max_ranges_per_trim,
            message_bytes=MESSAGE_BYTES,
            commands_per_message=COMMANDS_PER_MESSAGE,
        ),
        default_lease_ns=config.default_lease_ns,
        watermarks=device_pb2.Watermarks(
            high_bytes=physical * marks.high_milli // 1000,
            medium_bytes=physical * marks.medium_milli // 1000,
            low_bytes=physical * marks.low_milli // 1000,
            critical_bytes=physical * marks.critical_milli // 1000,
            hysteresis_bytes=physical * marks.hysteresis_milli // 1000,
        ),
        staging_bytes=config.staging.bytes,
        origin=origin,
    )


def region(of: RegionTelemetry) -> types_pb2.RegionTelemetry:
    """One region as its host may see it."""
    return types_pb2.RegionTelemetry(
        host=of.host,
        logical_bytes=of.logical_bytes,
        guaranteed_media_bytes=of.guaranteed_media_bytes,
        limit_media_bytes=of.limit_media_bytes,
        media_used_bytes=of.media_used_bytes,
        stored_pages=of.stored_pages,
        ratio_milli=of.ratio_milli,
        trim_queued_pages=of.trim_queued_pages,
        credit_pages=of.credit_pages,
        room_bytes=of.room_bytes,
        asked_back_to_bytes=of.asked_back_to_bytes,
        forced_in_ns=of.forced_in_ns,
    )


def telemetry(of: Telemetry) -> types_pb2.Telemetry:
    """Totals, and the region where one is meant."""
    return types_pb2.Telemetry(
        generation=of.generation,
        event_sequence=of.event_sequence,
        logical_capacity_bytes=of.logical_capacity_bytes,
        physical_capacity_bytes=of.physical_capacity_bytes,
        media_used_bytes=of.media_used_bytes,
        media_free_bytes=of.media_free_bytes,
        stored_pages=of.stored_pages,
        ratio_milli=of.ratio_milli,
        zratio_milli=of.zratio_milli,
        watermark=types_pb2.WatermarkLevel.ValueType(of.watermark),
        no_more_writes=of.no_more_writes,
        trim_queued_pages=of.trim_queued_pages,
        writes_refused_pages=of.writes_refused_pages,
        region=None if of.region is None else region(of.region),
        media_staged_bytes=of.media_staged_bytes,
    )


def event(of: events.Event, wall_ns: Callable[[int], int]) -> types_pb2.Event:
    """One event; `wall_ns` turns the device's clock into time since the epoch."""
    made = types_pb2.Event(
        sequence=of.sequence,
        generation=of.generation,
        wall_time_ns=wall_ns(of.now_ns),
        telemetry=telemetry(of.telemetry),
    )
    match of.kind:
        case events.WatermarkCrossed(from_level, to_level):
            made.watermark_crossed.from_level = types_pb2.WatermarkLevel.ValueType(from_level)
            made.watermark_crossed.to_level = types_pb2.WatermarkLevel.ValueType(to_level)
        case events.NoMoreWritesEntered():
            made.no_more_writes_entered.SetInParent()
        case events.NoMoreWritesLeft():
            made.no_more_writes_left.SetInParent()
        case events.PoisonFound(dpas):
            made.poison_found.dpas.extend(dpas)
        case events.RegionAttached(host):
            made.region_attached.host = host
        case events.RegionDetached(host, cause):
            made.region_detached.host = host
            made.region_detached.cause = _CAUSES[cause]
        case events.RegionResized(host, logical_bytes):
            made.region_resized.host = host
            made.region_resized.logical_bytes = logical_bytes
        case events.AddCapacity(host, start, length):
            made.add_capacity.host = host
            made.add_capacity.range.start, made.add_capacity.range.length = start, length
        case events.ReleaseCapacity(host, start, length, force_after_ns):
            made.release_capacity.host = host
            made.release_capacity.range.start, made.release_capacity.range.length = start, length
            if force_after_ns is not None:
                made.release_capacity.force_after_ns = force_after_ns
        case events.ForcedCapacityRelease(host, start, length, lost_pages):
            taken = made.forced_capacity_release
            taken.host, taken.lost_pages = host, lost_pages
            taken.range.start, taken.range.length = start, length
        case events.RegionShareChanged(host, guaranteed, limit):
            made.region_share_changed.host = host
            made.region_share_changed.guaranteed_media_bytes = guaranteed
            made.region_share_changed.limit_media_bytes = limit
        case events.FaultArmed(fault_id, kind):
            made.fault_armed.fault_id, made.fault_armed.kind = fault_id, kind
        case events.FaultCleared(fault_id, kind, clear_cause, fired):
            made.fault_cleared.fault_id, made.fault_cleared.kind = fault_id, kind
            made.fault_cleared.cause, made.fault_cleared.fired = _CLEAR_CAUSES[clear_cause], fired
        case events.DeviceReset(next_generation):
            made.device_reset.next_generation = next_generation
    return made


def started(of: Started) -> device_pb2.WatchStarted:
    """The first item of a stream."""
    return device_pb2.WatchStarted(after_sequence=of.after_sequence, telemetry=telemetry(of.telemetry))


def missed(of: events.Missed) -> device_pb2.EventsMissed:
    """A gap in a stream."""
    return device_pb2.EventsMissed(first_sequence=of.first_sequence, last_sequence=of.last_sequence)


# -- for operators only -------------------------------------------------------------------------


def status(
    of: Status, config: DeviceConfig, origin: str, wall_ns: Callable[[int], int]
) -> operator_pb2.GetStatusResponse:
    """All that the operator may know."""
    return operator_pb2.GetStatusResponse(
        identity=identity(config, of.telemetry.generation, origin),
        telemetry=telemetry(of.telemetry),
        media=_media(of.media),
        regions=[_region_status(one) for one in of.regions],
        faults=[armed_fault(one, wall_ns) for one in of.faults],
        counters=_counters(of.counters),
    )


def page(of: PageDescription) -> operator_pb2.PageDescription:
    """What the media holds of one page."""
    return operator_pb2.PageDescription(
        dpa=of.dpa, kind=_PAGE_KINDS[of.kind], compressed_bytes=of.compressed_bytes, sectors=of.sectors
    )


def _media(of: MediaUse) -> operator_pb2.MediaUse:
    return operator_pb2.MediaUse(
        sectors_bytes=of.sectors_bytes,
        metadata_bytes=of.metadata_bytes,
        staged_bytes=of.staged_bytes,
        reserved_bytes=of.reserved_bytes,
        peak_used_bytes=of.peak_used_bytes,
        pages_by_sectors=of.pages_by_sectors,
    )


def _region_status(of: RegionStatus) -> operator_pb2.RegionStatus:
    return operator_pb2.RegionStatus(
        telemetry=region(of.telemetry),
        lease_remaining_ns=of.lease_remaining_ns,
        lease_ns=of.lease_ns,
        poisoned_pages=of.poisoned_pages,
    )


def _counters(of: Counters) -> operator_pb2.DeviceCounters:
    return operator_pb2.DeviceCounters(
        capacity_identity_checks=of.capacity_identity_checks,
        written_pages=of.written_pages,
        read_pages=of.read_pages,
        trimmed_pages=of.trimmed_pages,
        no_more_writes=of.no_more_writes,
        refused_pages=(
            of.refused_media_pages
            + of.refused_guarantee_pages
            + of.refused_limit_pages
            + of.refused_read_only_pages
        ),
        poison_created_pages=(
            of.poison_created_exhaustion_pages
            + of.poison_created_injected_pages
            + of.poison_created_checksum_pages
            + of.poison_created_staging_pages
        ),
        poison_read_pages=of.poison_read_pages,
        peak_media_used_bytes=of.peak_media_used_bytes,
        resets=of.resets,
        leases_expired=of.leases_expired,
        bit_flipped_pages=of.bit_flipped_pages,
        capacity_added_bytes=of.capacity_added_bytes,
        capacity_released_bytes=of.capacity_released_bytes,
        capacity_forced_bytes=of.capacity_forced_bytes,
        capacity_lost_pages=of.capacity_lost_pages,
    )
