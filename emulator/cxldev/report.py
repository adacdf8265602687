"""The device's state as values: telemetry for hosts, status for the operator. All Python ints."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cxldev.config import PAGE_BYTES
from cxldev.frames import media_bytes_of
from cxldev.ledger import ratio_milli
from cxldev.outcomes import PageDescription, PageKind
from cxldev.page_table import sum_census
from cxldev.telemetry import MediaUse, RegionStatus, RegionTelemetry, Status, Telemetry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


def region_telemetry(power: PowerOn, region: Region, unmet_bytes: int | None = None) -> RegionTelemetry:
    """One region as its host may see it. `unmet_bytes`: as for `PowerOn.room`."""
    ledger, account, asked = power.ledger, region.account, region.asked_back
    forced_at_ns = None if asked is None else asked.forced_at_ns
    with_bytes = account.stored_pages - account.poisoned_pages - account.staged_pages
    return RegionTelemetry(
        host=region.host,
        logical_bytes=region.logical_bytes,
        guaranteed_media_bytes=account.guaranteed_bytes,
        limit_media_bytes=account.limit_bytes,
        media_used_bytes=account.used_bytes,
        stored_pages=account.stored_pages,
        ratio_milli=ratio_milli(with_bytes, ledger.media_of(with_bytes, account.stored_sectors)),
        trim_queued_pages=account.queued_pages,
        credit_pages=account.promised_pages,
        room_bytes=_room_for_new_pages(power, region, unmet_bytes),
        asked_back_to_bytes=None if asked is None else asked.logical_bytes,
        forced_in_ns=None if forced_at_ns is None else max(0, forced_at_ns - power.now_ns),
    )


def _room_for_new_pages(power: PowerOn, region: Region, unmet_bytes: int | None) -> int:
    """What is staged will need as much media again, and a credit is no new page's."""
    room = power.room(region, unmet_bytes)
    open_bytes = room.open_bytes - room.promised_bytes - power.ledger.staged_bytes
    return max(0, min(open_bytes, room.limit_bytes))


def telemetry(power: PowerOn, region: RegionTelemetry | None, *, event_sequence: int) -> Telemetry:
    """The device as a host may see it."""
    config, ledger = power.config, power.ledger
    with_bytes = ledger.stored_pages - ledger.poisoned_pages - ledger.staged_bytes // PAGE_BYTES
    return Telemetry(
        generation=power.generation,
        event_sequence=event_sequence,
        logical_capacity_bytes=config.logical_capacity_bytes,
        physical_capacity_bytes=config.physical_capacity_bytes,
        media_used_bytes=ledger.used_bytes,
        media_free_bytes=ledger.free_bytes,
        stored_pages=ledger.stored_pages,
        ratio_milli=ratio_milli(with_bytes, ledger.media_of(with_bytes, ledger.stored_sectors)),
        zratio_milli=config.zratio_milli,
        watermark=power.gauge.level,
        no_more_writes=power.no_more_writes.active,
        trim_queued_pages=ledger.queued_pages,
        writes_refused_pages=power.refused_pages,
        media_staged_bytes=ledger.staged_bytes,
        region=region,
    )


def status(power: PowerOn) -> Status:
    """All that the operator may know.

    A look at each region, and at no page: hosts wait meanwhile.
    """
    config, ledger, unmet_bytes = power.config, power.ledger, power.ledger.unmet_bytes
    regions = tuple(power.regions)
    census = sum_census(region.table for region in regions)
    by_kind = census.sum(axis=1).tolist()
    return Status(
        telemetry=power.telemetry(),
        media=MediaUse(
            sectors_bytes=ledger.sectors_bytes,
            metadata_bytes=ledger.metadata_bytes,
            staged_bytes=ledger.staged_bytes,
            reserved_bytes=ledger.reserved_bytes,
            peak_used_bytes=power.counters.peak_media_used_bytes,
            pages_by_sectors=tuple(census.sum(axis=0)[: PAGE_BYTES // config.sector_bytes + 1].tolist()),
        ),
        regions=tuple(
            RegionStatus(
                telemetry=region_telemetry(power, region, unmet_bytes),
                lease_ns=region.lease_ns,
                lease_remaining_ns=max(0, region.expires_ns - power.now_ns),
                poisoned_pages=region.account.poisoned_pages,
            )
            for region in regions
        ),
        faults=power.faults.listed(),
        faults_fired=tuple(power.faults.fired_by_kind().items()),
        counters=dataclasses.replace(power.counters),
        same_filled_stored_pages=by_kind[PageKind.SAME_FILLED],
        raw_stored_pages=by_kind[PageKind.RAW],
        poisoned_stored_pages=by_kind[PageKind.POISONED],
    )


def describe(region: Region, pages: NDArray[np.int64]) -> list[PageDescription]:
    """What the media holds of each page."""
    table = region.table
    descriptions = []
    columns = (
        pages.tolist(),
        table.kind[pages].tolist(),
        table.size[pages].tolist(),
        table.sectors[pages].tolist(),
    )
    for page, kind, size, sectors in zip(*columns, strict=True):
        held = PAGE_BYTES if kind == PageKind.RAW else size and media_bytes_of(size)
        descriptions.append(PageDescription(page * PAGE_BYTES, PageKind(kind), held, sectors))
    return descriptions
