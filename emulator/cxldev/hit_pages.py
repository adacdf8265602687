"""Faults that hit pages once: they are done when they are injected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldev.config import PAGE_BYTES
from cxldev.faults import BitFlipFault
from cxldev.outcomes import PageKind

if TYPE_CHECKING:
    from cxldev.faults.page_choice import PageChoice
    from cxldev.power_on import PowerOn


def hit_pages(power: PowerOn, fault: PageChoice) -> tuple[int, ...]:
    """Choose the pages, and poison them or flip their bits. Their addresses, bytes.

    Nobody is told: a later read finds out.

    Raises:
        UnknownHost: the host has no region.
        InvalidField, NotAligned, OutOfRange, Overlapping: as `PageChoice.choose`.
    """
    region = power.regions.must_have(fault.host)
    pages = fault.choose(region.table, power.config)
    if isinstance(fault, BitFlipFault):
        fault.flip(region.table, power.arena, pages)
        power.counters.bit_flipped_pages += len(pages)
    else:
        fresh = pages[region.table.kind[pages] != PageKind.POISONED]
        power.counters.poison_created_injected_pages += len(fresh)
        power.poison(region, fresh)
        power.settle()
    return tuple((pages * PAGE_BYTES).tolist())
