"""Dynamic capacity: the device changes a region while its host uses it.

In CXL's words:

- *Add Capacity*: the region's DPA space grows at its end. The host is told; it need not answer.
- *Release Capacity*: the end of the DPA space is asked back. The host empties it (TRIM) and answers with a
  Resize to that size or less, which is refused while a page there holds data.
- *Forced Capacity Release*: the same, and a time after which the device does not ask any more. What the
  region still holds there is lost; the session, the generation and everything before the cut stay.

The latest request wins: another release replaces the one that was asked for, and what is added withdraws it.
A region keeps at least one page. Its share of the media (guarantee and limit) can be changed live as well:
a limit below what the region holds takes nothing away, but nothing may grow until it is under it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldev.checks import check_capacity_bytes, check_media_bounds
from cxldev.config import PAGE_BYTES
from cxldev.errors import GuaranteeCapacity, InvalidField
from cxldev.events import AddCapacity, ForcedCapacityRelease, RegionShareChanged, ReleaseCapacity
from cxldev.placement import check_logical_capacity, set_size
from cxldev.regions import AskedBack

if TYPE_CHECKING:
    from collections.abc import Callable

    from cxldev.power_on import PowerOn
    from cxldev.regions import Region
    from cxldev.telemetry import Telemetry


class CapacityControl:
    """The operator's hand on the regions. `power`: the power-on of now.

    All methods answer the telemetry of the region afterwards, and raise UnknownHost before anything else.
    """

    def __init__(self, power: Callable[[], PowerOn]) -> None:
        self._power = power

    def add(self, host: str, length_bytes: int, now_ns: int) -> Telemetry:
        """Grow a region's DPA space at its end.

        Raises:
            InvalidField, NotAligned: not a length.
            LogicalCapacity: regions would outgrow the logical capacity.
        """
        power, region = self._region(host, now_ns)
        check_capacity_bytes(length_bytes)
        check_logical_capacity(power, region.logical_bytes + length_bytes, region)
        start = region.logical_bytes
        region.asked_back = None
        set_size(region, start + length_bytes)
        power.counters.capacity_added_bytes += length_bytes
        power.record(AddCapacity(host, start, length_bytes), region)
        return power.telemetry(region)

    def release(
        self, host: str, length_bytes: int, now_ns: int, *, force_after_ns: int | None = None
    ) -> Telemetry:
        """Ask for the last `length_bytes` of a region back; with `force_after_ns`, take them then.

        Raises:
            InvalidField, NotAligned: not a length, or the region would have no page left.
        """
        power, region = self._region(host, now_ns)
        check_capacity_bytes(length_bytes)
        start = region.logical_bytes - length_bytes
        if start < PAGE_BYTES:
            raise InvalidField(
                f"{length_bytes} bytes cannot be asked back: the region of {host} has {region.logical_bytes} "
                f"and keeps {PAGE_BYTES} at least; detach its host to have all"
            )
        due_ns = None if force_after_ns is None else power.now_ns + force_after_ns
        region.asked_back = AskedBack(start, due_ns)
        power.record(ReleaseCapacity(host, start, length_bytes, force_after_ns), region)
        if due_ns is not None:
            power.wake_by(due_ns)
            # At once, if no time was given.
            power.tick(power.now_ns)
        return power.telemetry(region)

    def share(
        self,
        host: str,
        now_ns: int,
        *,
        guaranteed_media_bytes: int | None = None,
        limit_media_bytes: int | None = None,
    ) -> Telemetry:
        """Change a region's guarantee, its limit, or both. None: as it is.

        Raises:
            InvalidField: a guarantee above the limit, or a limit above the media.
            GuaranteeCapacity: guarantees would outgrow the physical capacity.
        """
        power, region = self._region(host, now_ns)
        account, physical = region.account, power.config.physical_capacity_bytes
        guaranteed = account.guaranteed_bytes if guaranteed_media_bytes is None else guaranteed_media_bytes
        limit = account.limit_bytes if limit_media_bytes is None else limit_media_bytes
        check_media_bounds(guaranteed, limit, physical)
        others = power.ledger.guaranteed_bytes - account.guaranteed_bytes
        if others + guaranteed > physical:
            raise GuaranteeCapacity(
                f"a guarantee of {guaranteed} bytes and the others' {others} are more than the {physical} "
                f"bytes of media: {physical - others} can be guaranteed to {host}"
            )
        account.guaranteed_bytes, account.limit_bytes = guaranteed, limit
        power.record(RegionShareChanged(host, guaranteed, limit), region)
        return power.telemetry(region)

    def _region(self, host: str, now_ns: int) -> tuple[PowerOn, Region]:
        power = self._power()
        power.tick(now_ns)
        return power, power.regions.must_have(host)


def take_due(power: PowerOn, until_ns: int) -> None:
    """Take by force what was asked back and is due by then."""
    for region in power.regions:
        asked = region.asked_back
        if asked is not None and asked.forced_at_ns is not None and asked.forced_at_ns <= until_ns:
            _take(power, region, asked.logical_bytes)


def _take(power: PowerOn, region: Region, logical_bytes: int) -> None:
    """Cut the region there. What its pages beyond hold is lost, and their media is free at once."""
    first, start, length = logical_bytes // PAGE_BYTES, logical_bytes, region.logical_bytes - logical_bytes
    pages = region.table.stored_in(first, region.pages)
    lost = len(pages)
    if lost:
        with_media = lost - power.heal(region, pages)
        sectors = power.empty(region, pages)
        power.ledger.store(region.account, -with_media, -sectors)
    region.asked_back = None
    set_size(region, logical_bytes)
    power.counters.capacity_forced_bytes += length
    power.counters.capacity_lost_pages += lost
    power.record(ForcedCapacityRelease(region.host, start, length, lost), region)
    power.settle()
