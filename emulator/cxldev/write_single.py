"""Storing one page, as page faults do: the same as `write_path`, in plain numbers.

numpy's fixed costs are those of hundreds of pages. This takes only what needs no decision: no fault is
armed, there is no staging, and the page fits and heals no poison. All else is left to the general path,
which is the one that defines the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldev.config import PAGE_BYTES
from cxldev.outcomes import COMPRESSED, EMPTY, POISONED, RAW, SAME_FILLED, WriteOutcome

if TYPE_CHECKING:
    from cxldev.codec import PackedPage
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


def store_single(
    power: PowerOn, region: Region, page: int, packed: PackedPage, in_flight_pages: int
) -> WriteOutcome | None:
    """Store the one page of a write; None, with nothing changed, if that is not for this path."""
    config, ledger, table, account = power.config, power.ledger, region.table, region.account
    if power.faults.armed or power.staging is not None or page >= region.pages:
        return None
    held = table.kind.item(page)
    if held == POISONED:
        return None
    size, sector = packed.size, config.sector_bytes
    sectors = (size + sector - 1) // sector
    was_empty = held == EMPTY
    more_sectors = sectors - table.sectors.item(page)
    growth = more_sectors * sector + was_empty * config.metadata_bytes
    if growth > 0 and (
        growth > ledger.free_bytes - ledger.unmet_of_others(account) - was_empty * account.promised_bytes
        or account.used_bytes + growth > account.limit_bytes
    ):
        return None

    entry, frame_size = packed.word, packed.frame_size
    if frame_size:
        entry = power.arena.take_single(frame_size)
        power.arena.memory[entry : entry + frame_size] = packed.piece
    ledger.store(account, int(was_empty), more_sectors)
    old_size = table.size.item(page)
    if old_size:
        power.arena.give_back_single(table.place.item(page), old_size)
    if not size:
        kind = SAME_FILLED
        power.counters.same_filled_pages += 1
    elif sectors * sector >= PAGE_BYTES:
        kind = RAW
        power.counters.raw_pages += 1
    else:
        kind = COMPRESSED
    table.set_single(page, kind=kind, sectors=sectors, size=frame_size, place=entry)
    power.counters.written_pages += 1
    power.counters.write_requests += 1
    device_ns = power.latency.of_single_write(
        region.number, page, sectors, in_flight_pages, same_filled=not size
    )
    power.settle()
    return WriteOutcome(1, device_ns, 0)
