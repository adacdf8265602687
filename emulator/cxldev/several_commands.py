"""Several commands carried out at once: each as it would be by itself, for the fixed costs of one.

They are small, and numpy's fixed costs are those of hundreds of pages. This takes only what needs no
decision: no fault is armed, nothing is staged, no page is named twice, all that is written fits, nothing
that is read is poisoned. All else is left to `write_path` and `read_path`, which define the rules, command by
command: None says so, and that nothing has changed.

Watermarks are looked at once, behind all writes, as behind one large write.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cxldev.admission import Admission
from cxldev.checks import page_numbers
from cxldev.config import PAGE_BYTES
from cxldev.outcomes import POISONED, WriteOutcome, WriteTicket
from cxldev.page_table import page_kinds
from cxldev.read_path import open_read
from cxldev.write_path import enter_pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cxldev.codec import CompressedPages
    from cxldev.device import Device
    from cxldev.latency import CachedBefore, LatencyModel
    from cxldev.outcomes import ReadTicket, SessionRef


def begin_writes(
    device: Device, ref: SessionRef, dpas: NDArray[np.uint64], now_ns: int
) -> WriteTicket | None:
    """Check writes before their pages are compressed: `dpas` of one behind those of the other.

    Raises:
        EmptyRequest, TooMany, NotAligned, OutOfRange, Overlapping: what is wrong with them together. By
            themselves they may be right.
    """
    power = device.power
    power.tick(now_ns)
    region = power.regions.find(ref)
    if power.faults.armed or power.staging is not None:
        return None
    pages = page_numbers(dpas, region.pages, device.config.max_pages_per_request)
    # Where they might not fit, they would be compressed for nothing, and again one by one.
    if not power.room(region).covers(len(pages) * (PAGE_BYTES + device.config.metadata_bytes)):
        return None
    return WriteTicket(ref, pages, region.pages)


def commit_writes(
    device: Device,
    ticket: WriteTicket,
    counts: Sequence[int],
    packed: CompressedPages,
    now_ns: int,
    *,
    in_flight_pages: int,
) -> list[WriteOutcome] | None:
    """Store all pages: what `Device.commit_write` returns for each write in turn, of `counts` pages each."""
    power = device.power
    power.tick(now_ns)
    region = power.regions.find(ticket.ref)
    pages, count, config = ticket.pages, ticket.count, power.config
    assert len(packed) == count == sum(counts), (len(packed), count, counts)
    if power.faults.armed or (region.pages < ticket.region_pages and int(pages.max()) >= region.pages):
        return None
    sector = config.sector_bytes
    sectors = (packed.sizes + (sector - 1)) // sector
    if not power.room(region).covers(int(np.add.reduce(sectors)) * sector + count * config.metadata_bytes):
        return None
    kinds = page_kinds(packed.sizes, sectors, PAGE_BYTES // sector)
    held = region.table.held(pages)
    decision = Admission(count, None)
    enter_pages(power, region, pages, packed, kinds=kinds, sectors=sectors, held=held, decision=decision)
    device_ns = [
        power.latency.of_write(region.number, pages[part], kinds[part], sectors[part], in_flight_pages)
        for part in _parts(counts)
    ]
    power.counters.write_requests += len(counts)
    power.settle()
    return [WriteOutcome(size, ns, 0) for size, ns in zip(counts, device_ns, strict=True)]


class Reads(NamedTuple):
    """Several reads that are under way."""

    ticket: ReadTicket
    """For the pages of all."""
    device_ns: list[int]
    """What each takes on the device."""
    latency: LatencyModel
    """Of the power-on that they began in."""
    cached: CachedBefore
    """What its block cache is to hold again if nothing comes of them."""


def begin_reads(
    device: Device,
    ref: SessionRef,
    dpas: NDArray[np.uint64],
    counts: Sequence[int],
    now_ns: int,
    *,
    in_flight_pages: int,
) -> Reads | None:
    """Look up all pages, `counts` of each read. They must be ended, by `end_reads` or `abandon_reads`.

    Raises:
        As `begin_writes`.
    """
    power = device.power
    power.tick(now_ns)
    region = power.regions.find(ref)
    if power.faults.armed:
        return None
    pages = page_numbers(dpas, region.pages, device.config.max_pages_per_request)
    if (region.table.kind[pages] == POISONED).any():
        return None
    ticket = open_read(power, region, ref, pages)
    kinds, sectors = ticket.stored.kinds, ticket.sectors
    cached = power.latency.cached_before(region.number, pages)
    device_ns = [
        power.latency.of_read(region.number, pages[part], kinds[part], sectors[part], in_flight_pages)
        for part in _parts(counts)
    ]
    return Reads(ticket, device_ns, power.latency, cached)


def end_reads(device: Device, reads: Reads, now_ns: int) -> None:
    """All have what their pages held when they began, all checked."""
    power = device.power
    power.tick(now_ns)
    reads.ticket.arena.end_read(reads.ticket.number)
    power.counters.read_requests += len(reads.device_ns)
    power.counters.read_pages += reads.ticket.count


def abandon_reads(device: Device, reads: Reads) -> None:
    """A page turned out damaged, or something else: each read is to be carried out by itself."""
    device.abandon_read(reads.ticket)
    reads.latency.put_back(reads.cached)


def _parts(counts: Sequence[int]) -> list[slice]:
    """Where the pages of each are."""
    ends = list(accumulate(counts))
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
