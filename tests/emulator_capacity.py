"""Rules of the device's random sequences: regions that grow, shrink and change their share while in use."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import rule

from cxldev.config import PAGE_BYTES
from cxldev.errors import GuaranteeCapacity, InvalidField, LogicalCapacity, UnknownHost
from cxldev.events import ForcedCapacityRelease
from emulator_machine import PHYSICAL, DeviceBesideModel

LOGICAL_PAGES = 60
hosts = st.sampled_from(("a", "b", "c"))
lengths = st.integers(1, 12)


class CapacityRules(DeviceBesideModel):
    """Dynamic capacity, beside the model."""

    @rule(host=hosts, pages=lengths)
    def add_capacity(self, host: str, pages: int) -> None:
        """It grows, and nothing is asked back any more; or the logical capacity has no room."""
        region, control = self.region(host), self.device.capacity
        if region is None:
            with pytest.raises(UnknownHost):
                control.add(host, pages * PAGE_BYTES, self.now)
        elif sum(one.pages_long for one in self.model.regions.values()) + pages > LOGICAL_PAGES:
            with pytest.raises(LogicalCapacity):
                control.add(host, pages * PAGE_BYTES, self.now)
        else:
            control.add(host, pages * PAGE_BYTES, self.now)
            region.pages_long += pages
            region.asked = None

    @rule(host=hosts, pages=lengths, force_after=st.sampled_from((None, 0, 10, 60)))
    def release_capacity(self, host: str, pages: int, force_after: int | None) -> None:
        """Asked for; taken at once if no time is given; refused if no page would be left."""
        region, control = self.region(host), self.device.capacity
        if region is None:
            return
        if pages >= region.pages_long:
            with pytest.raises(InvalidField):
                control.release(host, pages * PAGE_BYTES, self.now)
            return
        lost = self.device.counters.capacity_lost_pages
        control.release(host, pages * PAGE_BYTES, self.now, force_after_ns=force_after)
        region.asked = (region.pages_long - pages, None if force_after is None else self.now + force_after)
        if force_after == 0:
            cut = self.model.take(region)
            assert self.device.counters.capacity_lost_pages == lost + cut
            kinds = [event.kind for event in self.device.events.after(0)[1]]
            taken = [kind for kind in kinds if isinstance(kind, ForcedCapacityRelease)]
            assert taken[-1].lost_pages == cut

    @rule(
        host=hosts,
        guarantee=st.sampled_from((None, 0, 3 * PAGE_BYTES, 9 * PAGE_BYTES)),
        limit=st.sampled_from((None, 2 * PAGE_BYTES, 9 * PAGE_BYTES, PHYSICAL)),
    )
    def share(self, host: str, guarantee: int | None, limit: int | None) -> None:
        """Another guarantee, another limit, or a refusal that changes neither."""
        region, control = self.region(host), self.device.capacity
        if region is None:
            return
        wanted = region.guarantee if guarantee is None else guarantee
        most = region.limit if limit is None else limit
        others = sum(one.guarantee for one in self.model.regions.values() if one is not region)
        refusals: tuple[type[Exception], ...] = ()
        if wanted > most:
            refusals = (InvalidField,)
        elif others + wanted > PHYSICAL:
            refusals = (GuaranteeCapacity,)
        if refusals:
            with pytest.raises(refusals):
                control.share(host, self.now, guaranteed_media_bytes=guarantee, limit_media_bytes=limit)
            return
        control.share(host, self.now, guaranteed_media_bytes=guarantee, limit_media_bytes=limit)
        region.guarantee, region.limit = wanted, most
