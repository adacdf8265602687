"""Giving regions their place on the device: attach and resize, checked whole before anything changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxldev.checks import check_host, check_lease, check_logical_bytes, check_media_bounds
from cxldev.config import PAGE_BYTES
from cxldev.errors import GuaranteeCapacity, LogicalCapacity, RegionInUse
from cxldev.events import DetachCause, RegionAttached, RegionResized
from cxldev.trim_queue import TrimQueue

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


@dataclass(frozen=True, slots=True)
class RegionRequest:
    """What a host asks for. Bytes and ns; None: the device's default."""

    session: str
    host: str
    logical_bytes: int
    guaranteed_media_bytes: int
    limit_media_bytes: int | None
    lease_ns: int | None
    take_over: bool

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField or NotAligned for what no device of this kind could give."""
        check_host(self.host)
        check_logical_bytes(self.logical_bytes)
        check_media_bounds(
            self.guaranteed_media_bytes, self.limit_media_bytes, config.physical_capacity_bytes
        )
        if self.lease_ns is not None:
            check_lease(self.lease_ns, config.max_lease_ns)


def attach_region(power: PowerOn, request: RegionRequest) -> Region:
    """Give a host a region; one that it takes over is trimmed first.

    Raises:
        InvalidField, NotAligned, AlreadyAttached, LogicalCapacity, GuaranteeCapacity: nothing changed.
    """
    config = power.config
    physical = config.physical_capacity_bytes
    request.check(config)
    old = power.regions.check_new(request.session, request.host, take_over=request.take_over)
    if len(power.regions) - (old is not None) >= config.max_regions:
        raise LogicalCapacity(f"the device has {config.max_regions} regions: as many as it can")
    check_logical_capacity(power, request.logical_bytes, old)
    guaranteed = power.ledger.guaranteed_bytes - (old.account.guaranteed_bytes if old else 0)
    if guaranteed + request.guaranteed_media_bytes > physical:
        raise GuaranteeCapacity(
            f"a guarantee of {request.guaranteed_media_bytes} bytes and the others' {guaranteed} are more "
            f"than the {physical} bytes of media: ask for {physical - guaranteed} at most"
        )

    if old is not None:
        power.drop(old, DetachCause.TAKEN_OVER)
    limit = physical if request.limit_media_bytes is None else request.limit_media_bytes
    account = power.ledger.open_account(request.guaranteed_media_bytes, limit)
    region = power.regions.add(
        session=request.session,
        host=request.host,
        logical_bytes=request.logical_bytes,
        lease_ns=config.default_lease_ns if request.lease_ns is None else request.lease_ns,
        now_ns=power.now_ns,
        account=account,
        trims=TrimQueue(power.ledger, account),
    )
    power.wake_by(region.expires_ns)
    power.counters.attaches += 1
    power.record(RegionAttached(request.host), region)
    return region


def resize_region(power: PowerOn, region: Region, logical_bytes: int) -> None:
    """Grow or shrink a region's DPA space, as its host asks. It answers a release if it is small enough.

    Raises:
        InvalidField, NotAligned, LogicalCapacity, RegionInUse: nothing changed.
    """
    check_logical_bytes(logical_bytes)
    check_logical_capacity(power, logical_bytes, region)
    asked = region.asked_back
    if asked is not None and logical_bytes > region.logical_bytes:
        raise LogicalCapacity(
            f"the region cannot grow to {logical_bytes} bytes: the device asks for all behind "
            f"{asked.logical_bytes} back; shrink to that first"
        )
    pages = logical_bytes // PAGE_BYTES
    if pages == region.pages:
        return
    if pages < region.pages:
        held = region.table.stored_in(pages, region.pages)
        if held.size:
            raise RegionInUse(
                f"{len(held)} pages from {int(held[0]) * PAGE_BYTES:#x} on hold data: TRIM them, then shrink "
                f"to {logical_bytes} bytes"
            )
    if asked is not None:
        power.counters.capacity_released_bytes += region.logical_bytes - logical_bytes
        if logical_bytes <= asked.logical_bytes:
            region.asked_back = None
    set_size(region, logical_bytes)
    power.record(RegionResized(region.host, logical_bytes), region)


def set_size(region: Region, logical_bytes: int) -> None:
    """Another size; what would be cut off is empty."""
    region.table = region.table.resized(logical_bytes // PAGE_BYTES)
    region.logical_bytes = logical_bytes


def check_logical_capacity(power: PowerOn, logical_bytes: int, instead_of: Region | None) -> None:
    """Whether a region of this size fits. Raises LogicalCapacity."""
    others = power.regions.logical_bytes - (instead_of.logical_bytes if instead_of else 0)
    capacity = power.config.logical_capacity_bytes
    if others + logical_bytes > capacity:
        raise LogicalCapacity(
            f"a region of {logical_bytes} bytes and the others' {others} are more than the logical capacity "
            f"of {capacity} bytes"
        )
