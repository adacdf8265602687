"""Reading: what the page table says when it begins, what the checksums say when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cxldev.codec import StoredPages
from cxldev.config import PAGE_BYTES
from cxldev.errors import Poisoned
from cxldev.faults import Command, Delay, Operation
from cxldev.outcomes import POISONED, ReadOutcome, ReadTicket, SessionRef
from cxldev.staging import read_from_buffer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.codec import ExpandedPages
    from cxldev.faults.loss import Loss
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


def open_read(
    power: PowerOn, region: Region, ref: SessionRef, pages: NDArray[np.int64], loss: Loss | None = None
) -> ReadTicket:
    """Look the pages up. What they hold now is what the read gives, whatever happens meanwhile."""
    table = region.table
    kinds, sizes = table.kind[pages], table.size[pages].astype(np.int64)
    sectors = table.sectors[pages].astype(np.int64)
    if region.staged:
        read_from_buffer(kinds, sizes, sectors)
    stored = StoredPages(
        kinds=kinds,
        sizes=sizes,
        places=table.place[pages],
        memory=power.arena.memory,
    )
    return ReadTicket(ref, region, pages, sectors, stored, power.arena, power.arena.begin_read(), loss)


def close_read(
    power: PowerOn, ticket: ReadTicket, expanded: ExpandedPages, in_flight_pages: int
) -> ReadOutcome:
    """Hand the pages out, or none of them if one is poisoned or damaged. Damaged pages become poisoned.

    The session may have ended since the read began, by a lease or a reset: the read is good all the same.

    Raises:
        Poisoned: names all pages of the request that are lost.
    """
    ticket.arena.end_read(ticket.number)
    region, stored, counters = ticket.region, ticket.stored, power.counters
    count = ticket.count
    counters.read_requests += 1
    device_ns = power.latency.of_read(
        region.number, ticket.pages, stored.kinds, ticket.sectors, in_flight_pages
    )
    delay = Delay(device_ns, 0)
    if power.faults.armed:
        delay = power.faults.delay(Command(Operation.READ, region.host, count, ticket.pages), delay)
    lost = _poisoned(stored.kinds)
    if expanded.bad:
        _poison_damaged(power, ticket, np.array(expanded.bad, np.int64))
        lost = sorted({*lost, *expanded.bad})
    if not lost:
        counters.read_pages += count
        return ReadOutcome(expanded.data, delay.device_ns, delay.wall_ns)

    counters.poison_read_pages += len(lost)
    dpas = tuple((ticket.pages[lost] * PAGE_BYTES).tolist())
    if region.attached:
        power.tell_poison(region, ticket.pages[lost])
    raise Poisoned(
        f"the bytes of {len(dpas)} of {count} pages are lost, the first at {dpas[0]:#x}; read the others "
        "without them; a write or a TRIM heals a page",
        dpas=dpas,
        device_ns=delay.device_ns,
        wall_ns=delay.wall_ns,
    )


def _poisoned(kinds: NDArray[np.uint8]) -> list[int]:
    """Indices of poisoned pages. For one page, numpy's fixed costs would be most of a read."""
    if len(kinds) == 1:
        return [0] if kinds.item() == POISONED else []
    lost: list[int] = (kinds == POISONED).nonzero()[0].tolist()
    return lost


def _poison_damaged(power: PowerOn, ticket: ReadTicket, bad: NDArray[np.int64]) -> None:
    """Poison the pages that still hold the bytes that were found damaged."""
    region, stored = ticket.region, ticket.stored
    bad = bad[ticket.pages[bad] < region.pages]
    if not region.attached or not bad.size:
        return
    table, pages = region.table, ticket.pages[bad]
    # While the read was open its places were not used anew: the bytes that it found are still there. The
    # pages may have moved meanwhile, or hold other bytes.
    now, found = power.arena.memory, stored.memory
    same = [
        held == size and now[place : place + size] == found[old : old + size]
        for held, place, size, old in zip(
            table.size[pages].tolist(),
            table.place[pages].tolist(),
            stored.sizes[bad].tolist(),
            stored.places[bad].tolist(),
            strict=True,
        )
    ]
    pages = pages[same]
    if pages.size:
        power.counters.poison_created_checksum_pages += len(pages)
        power.poison(region, pages)
        power.settle()
