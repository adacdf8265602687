"""Wire messages as plain dicts: the JSON that `cramctl` prints. Names as `cxl list` would choose them.

Sizes are bytes (`*_size`), ratios per mille (`*_milli`), times ns (`*_ns`) or ISO 8601 in UTC (`*_at`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cramwire.v1 import operator_pb2, types_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

JsonDict = dict[str, Any]


def describe_status(status: operator_pb2.GetStatusResponse) -> JsonDict:
    """The whole device: identity, media, regions, armed faults, counters."""
    identity, telemetry, media = status.identity, status.telemetry, status.media
    return {
        "memdev": identity.model,
        "version": identity.version,
        "generation": identity.generation,
        "origin": identity.origin,
        "logical_size": identity.logical_capacity_bytes,
        "physical_size": identity.physical_capacity_bytes,
        "page_size": identity.page_bytes,
        "sector_size": identity.sector_bytes,
        "page_metadata_size": identity.metadata_bytes,
        "exhaustion_mode": exhaustion_mode(identity.exhaustion_mode),
        "media": {
            "used_size": telemetry.media_used_bytes,
            "free_size": telemetry.media_free_bytes,
            "sectors_size": media.sectors_bytes,
            "metadata_size": media.metadata_bytes,
            "staged_size": media.staged_bytes,
            "reserved_size": media.reserved_bytes,
            "peak_used_size": media.peak_used_bytes,
        },
        "ratio_milli": telemetry.ratio_milli,
        "zratio_milli": telemetry.zratio_milli,
        "stored_pages": telemetry.stored_pages,
        "trim_queued_pages": telemetry.trim_queued_pages,
        "watermark": watermark(telemetry.watermark),
        "watermarks": {
            "high_size": identity.watermarks.high_bytes,
            "medium_size": identity.watermarks.medium_bytes,
            "low_size": identity.watermarks.low_bytes,
            "critical_size": identity.watermarks.critical_bytes,
            "hysteresis_size": identity.watermarks.hysteresis_bytes,
        },
        "no_more_writes": telemetry.no_more_writes,
        "event_sequence": telemetry.event_sequence,
        "regions": [describe_region(region) for region in status.regions],
        "faults": [describe_fault(fault) for fault in status.faults],
        "counters": scalars(status.counters),
        "pages_by_sectors": list(media.pages_by_sectors),
    }


def describe_region(region: operator_pb2.RegionStatus) -> JsonDict:
    """One host's share."""
    return {
        **describe_share(region.telemetry),
        "poisoned_pages": region.poisoned_pages,
        "lease_ns": region.lease_ns,
        "lease_remaining_ns": region.lease_remaining_ns,
    }


def describe_share(telemetry: types_pb2.RegionTelemetry) -> JsonDict:
    """The same as its host sees it. What is asked back is null while nothing is."""
    asked, forced = telemetry.HasField("asked_back_to_bytes"), telemetry.HasField("forced_in_ns")
    return {
        "region": telemetry.host,
        "size": telemetry.logical_bytes,
        "guaranteed_size": telemetry.guaranteed_media_bytes,
        "limit_size": telemetry.limit_media_bytes,
        "used_size": telemetry.media_used_bytes,
        "room_size": telemetry.room_bytes,
        "stored_pages": telemetry.stored_pages,
        "ratio_milli": telemetry.ratio_milli,
        "trim_queued_pages": telemetry.trim_queued_pages,
        "asked_back_to_size": telemetry.asked_back_to_bytes if asked else None,
        "forced_in_ns": telemetry.forced_in_ns if forced else None,
    }


def describe_fault(armed: operator_pb2.ArmedFault) -> JsonDict:
    """One armed fault: what it was armed with, what it is confined by, how often it fired, how long it stays.

    `left` and `ends_at` are null where nothing ends it but `cramctl clear`.
    """
    kind = armed.fault.WhichOneof("kind") or ""
    settings = scalars(getattr(armed.fault, kind), present=True) if kind else {}
    if "trouble" in settings:
        settings["trouble"] = _word(operator_pb2.EventTrouble.Name(settings["trouble"]), "EVENT_TROUBLE_")
    return {
        "fault": armed.fault_id,
        "kind": kind,
        **settings,
        "scope": _scope(armed.fault.scope),
        "armed_at": iso_time(armed.armed_wall_time_ns),
        "fired": armed.fired,
        "left": armed.left if armed.HasField("left") else None,
        "ends_at": iso_time(armed.ends_wall_time_ns) if armed.HasField("ends_wall_time_ns") else None,
    }


def _scope(scope: operator_pb2.FaultScope) -> JsonDict:
    """What a fault is confined by; empty: by nothing."""
    found = scalars(scope, present=True)
    if "range" in found:
        found["range"] = {"start": scope.range.start, "length": scope.range.length}
    if "operations" in found:
        found["operations"] = [
            _word(operator_pb2.Operation.Name(one), "OPERATION_") for one in scope.operations
        ]
    return found


def describe_event(event: types_pb2.Event) -> JsonDict:
    """One event: what happened, and the device at that moment."""
    kind = event.WhichOneof("kind") or "unknown"
    telemetry = event.telemetry
    return {
        "event": kind,
        "sequence": event.sequence,
        "generation": event.generation,
        "at": iso_time(event.wall_time_ns),
        "wall_time_ns": event.wall_time_ns,
        **_event_facts(event, kind),
        "media_free_size": telemetry.media_free_bytes,
        "media_used_size": telemetry.media_used_bytes,
        "ratio_milli": telemetry.ratio_milli,
        "stored_pages": telemetry.stored_pages,
        "watermark": watermark(telemetry.watermark),
        "no_more_writes": telemetry.no_more_writes,
    }


def _event_facts(event: types_pb2.Event, kind: str) -> JsonDict:
    """What only this kind of event tells."""
    if kind == "watermark_crossed":
        crossed = event.watermark_crossed
        return {"from": watermark(crossed.from_level), "to": watermark(crossed.to_level)}
    if kind == "poison_found":
        return {"region": event.telemetry.region.host, "dpas": list(event.poison_found.dpas)}
    if kind == "region_attached":
        return {"region": event.region_attached.host}
    if kind == "region_detached":
        detached = event.region_detached
        cause = types_pb2.DetachCause.Name(detached.cause).removeprefix("DETACH_CAUSE_").lower()
        return {"region": detached.host, "cause": cause}
    if kind == "region_resized":
        return {"region": event.region_resized.host, "size": event.region_resized.logical_bytes}
    if kind in {"add_capacity", "release_capacity", "forced_capacity_release"}:
        return _capacity_facts(getattr(event, kind))
    if kind == "region_share_changed":
        share = event.region_share_changed
        return {
            "region": share.host,
            "guaranteed_size": share.guaranteed_media_bytes,
            "limit_size": share.limit_media_bytes,
        }
    if kind == "fault_armed":
        return {"fault": event.fault_armed.fault_id, "kind": event.fault_armed.kind}
    if kind == "fault_cleared":
        cleared = event.fault_cleared
        cause = _word(types_pb2.FaultClearCause.Name(cleared.cause), "FAULT_CLEAR_CAUSE_")
        return {"fault": cleared.fault_id, "kind": cleared.kind, "cause": cause, "fired": cleared.fired}
    if kind == "device_reset":
        return {"next_generation": event.device_reset.next_generation}
    return {}


def _capacity_facts(change: Message) -> JsonDict:
    """Where, how much, and what only one of the three tells."""
    facts = scalars(change, present=True)
    where = facts.pop("range", None)
    told: JsonDict = {"region": facts.pop("host")}
    if where is not None:
        told |= {"start": where.start, "size": where.length}
    return told | facts


def scalars(message: Message, *, present: bool = False) -> JsonDict:
    """The fields of a flat message by name; with `present`, only those that were set."""
    found: JsonDict = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        value = list(value) if field.is_repeated else value
        if not present or (message.HasField(field.name) if field.has_presence else value):
            found[field.name] = value
    return found


def _word(name: str, prefix: str) -> str:
    """An enum's value as people write it."""
    return name.removeprefix(prefix).lower()


def watermark(level: int) -> str:
    """`above_high`, `high`, `medium`, `low`, `critical`."""
    return (
        types_pb2.WatermarkLevel.Name(types_pb2.WatermarkLevel.ValueType(level))
        .removeprefix("WATERMARK_LEVEL_")
        .lower()
    )


def exhaustion_mode(mode: int) -> str:
    """`refuse` or `poison`."""
    return (
        types_pb2.ExhaustionMode.Name(types_pb2.ExhaustionMode.ValueType(mode))
        .removeprefix("EXHAUSTION_MODE_")
        .lower()
    )


def iso_time(wall_time_ns: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(wall_time_ns / 1e9, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
