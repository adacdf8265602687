"""The slow, full check: everything that is kept as a running total is counted again from the ground."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cxldev.arena import STEP
from cxldev.config import PAGE_BYTES
from cxldev.errors import CapacityIdentityBroken
from cxldev.frames import media_bytes
from cxldev.outcomes import COMPRESSED, POISONED, RAW, STAGED, PageKind
from cxldev.page_table import KINDS, MOST_SECTORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.arena import Arena
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


def audit(power: PowerOn) -> None:
    """Page tables against accounts, accounts against the ledger, page tables against the arena.

    Raises:
        CapacityIdentityBroken: says what differs.
    """
    ledger = power.ledger
    ledger.check()
    places: list[NDArray[np.int64]] = []
    sizes: list[NDArray[np.int64]] = []
    for region in power.regions:
        _check_table(region, PAGE_BYTES // power.config.sector_bytes)
        _check_account(region)
        ledger.check(region.account)
        pages = region.table.in_arena(0, region.pages)
        places.append(region.table.place[pages].astype(np.int64))
        sizes.append(region.table.size[pages].astype(np.int64))
    accounts = [region.account for region in power.regions]
    _equal("accounts and regions", len(ledger.accounts), len(accounts))
    _equal("stored pages", ledger.stored_pages, sum(one.stored_pages for one in accounts))
    _equal("stored sectors", ledger.stored_sectors, sum(one.stored_sectors for one in accounts))
    _equal("queued pages", ledger.queued_pages, sum(one.queued_pages for one in accounts))
    _equal("poisoned pages", ledger.poisoned_pages, sum(one.poisoned_pages for one in accounts))
    queued_sectors = sum(one.queued_sectors for one in accounts)
    _equal(
        "sector bytes", ledger.sectors_bytes, (ledger.stored_sectors + queued_sectors) * ledger.sector_bytes
    )
    held_back = power.faults.held_back_bytes(ledger.physical_bytes)
    _equal("reserved", ledger.reserved_bytes, min(held_back, ledger.reserved_bytes + ledger.room_bytes))
    _equal("staged", ledger.staged_bytes, sum(one.staged_pages for one in accounts) * PAGE_BYTES)
    _check_arena(power.arena, _joined(places), _joined(sizes))


def _equal(what: str, booked: int, counted: int) -> None:
    if booked != counted:
        raise CapacityIdentityBroken(f"{what}: {booked} booked, {counted} counted")


def _check_table(region: Region, page_sectors: int) -> None:
    """Every row of the page table's own table (see `page_table`), and the census."""
    table = region.table
    _equal("length of a page table", len(table), region.pages)
    stored = np.flatnonzero(table.kind)
    keys = table.kind[stored].astype(np.int64) * (MOST_SECTORS + 1) + table.sectors[stored]
    census = np.bincount(keys, minlength=KINDS * (MOST_SECTORS + 1)).reshape(KINDS, MOST_SECTORS + 1)
    if (census != table.census).any():
        raise CapacityIdentityBroken(f"the census of {region.host} does not match its page table")
    kind, sectors, size = table.kind[stored], table.sectors[stored], table.size[stored]
    taken = media_bytes(size.astype(np.int64))
    in_arena = (kind == COMPRESSED) | (kind == RAW)
    rules = (
        (
            "empty pages hold nothing",
            not (table.size[table.kind == 0].any() or table.sectors[table.kind == 0].any()),
        ),
        ("kinds are known", bool((kind < KINDS).all())),
        ("exactly compressed and raw pages have bytes", bool(((size > 0) == in_arena)[kind != STAGED].all())),
        (
            "raw pages take a whole page's sectors",
            bool((sectors[kind == RAW] == page_sectors).all()),
        ),
        ("compressed pages take fewer", bool((sectors[kind == COMPRESSED] < page_sectors).all())),
        ("poisoned pages take none", not sectors[kind == POISONED].any()),
        (
            "sectors hold the bytes",
            bool((sectors * np.int64(PAGE_BYTES // page_sectors) >= taken)[kind != STAGED].all()),
        ),
        (
            "staged pages are those of the buffer",
            stored[kind == STAGED].tolist() == sorted(region.staged),
        ),
    )
    for rule, holds in rules:
        if not holds:
            raise CapacityIdentityBroken(f"page table of {region.host}: {rule}")


def _check_account(region: Region) -> None:
    account, table, trims = region.account, region.table, region.trims
    _equal(f"stored pages of {region.host}", account.stored_pages, table.stored_pages)
    _equal(f"stored sectors of {region.host}", account.stored_sectors, int(table.sectors.sum(dtype=np.int64)))
    _equal(f"staged pages of {region.host}", account.staged_pages, table.pages_of(PageKind.STAGED))
    poisoned = table.pages_of(PageKind.POISONED)
    _equal(f"poisoned pages of {region.host}", account.poisoned_pages, poisoned)
    waiting = trims.waiting
    _equal(f"queued pages of {region.host}", account.queued_pages, sum(pages for pages, _ in waiting))
    _equal(f"queued sectors of {region.host}", account.queued_sectors, sum(sectors for _, sectors in waiting))
    _equal(f"queued TRIMs of {region.host}", trims.last_number - trims.done_number, len(waiting))


def _check_arena(arena: Arena, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
    """Places in use, free ones and those in limbo cover the arena up to its top, without gap or overlap.

    Those that are still to leave the other half do not overlap.
    """
    in_use = -(-sizes // STEP) * STEP
    leaving = ~arena.stays(places)
    _equal("bytes to leave a half of the arena", arena.left_bytes, int(in_use[leaving].sum()))
    order = np.argsort(places[leaving])
    starts = places[leaving][order]
    if (starts[1:] < (starts + in_use[leaving][order])[:-1]).any():
        raise CapacityIdentityBroken("places that are to leave a half of the arena overlap")
    places, in_use = places[~leaving], in_use[~leaving]
    _equal("live bytes of the arena", arena.live_bytes, int(in_use.sum()))
    idle = list(arena.idle_places())
    starts = _joined([places, *(some for some, _ in idle)])
    widths = _joined([in_use, *(some for _, some in idle)])
    order = np.argsort(starts, kind="stable")
    ends = np.cumsum(widths[order])
    if (starts[order] - arena.base != ends - widths[order]).any():
        raise CapacityIdentityBroken("places of the arena overlap or leave gaps")
    _equal("bytes of the arena below its top", arena.top, int(widths.sum()))


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
