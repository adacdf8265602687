"""Storing compressed pages: admitted, charged, copied to the arena, entered in the page table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxldev.admission import Admission, Obstacle, Room, admit, admit_or_poison
from cxldev.config import PAGE_BYTES, ExhaustionMode
from cxldev.errors import NoMoreWrites, OutOfRange, RegionLimit, WriteRefused
from cxldev.faults import Command, Delay, Operation
from cxldev.outcomes import COMPRESSED, EMPTY, POISONED, RAW, SAME_FILLED, WriteOutcome
from cxldev.write_single import store_single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.codec import CompressedPages
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region

_UNLIMITED: Final = 2**62
"""Bytes; more than any device has."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What the pages of a write hold before it, one entry a page."""

    empty: NDArray[np.bool_]
    poisoned: NDArray[np.bool_]
    sectors: NDArray[np.int64]


def store_pages(
    power: PowerOn, region: Region, pages: NDArray[np.int64], packed: CompressedPages, in_flight_pages: int
) -> WriteOutcome:
    """Store the pages of one write, in order.

    Raises:
        OutOfRange: the region shrank since the write began; nothing is stored.
        NoMoreWrites, RegionLimit: a page did not fit. The pages before it are stored.
    """
    count = len(pages)
    assert len(packed) == count, (len(packed), count)
    if count == 1:
        outcome = store_single(power, region, pages.item(), packed, in_flight_pages)
        if outcome is not None:
            return outcome
    if int(pages.max()) >= region.pages:
        raise OutOfRange(f"the region shrank to {region.logical_bytes} bytes while the write was under way")
    config, ledger, table = power.config, power.ledger, region.table

    sector = config.sector_bytes
    plain_sectors = (packed.sizes + (sector - 1)) // sector
    sectors = power.faults.sectors_for(plain_sectors, sector)
    kinds_held = table.kind[pages]
    held = _Held(kinds_held == EMPTY, kinds_held == POISONED, table.sectors[pages].astype(np.int64))
    bare = held.empty | held.poisoned
    growth = (sectors - held.sectors) * sector + bare * config.metadata_bytes
    wanted_back = power.faults.held_back_bytes(ledger.physical_bytes) - ledger.reserved_bytes
    room = Room(
        free_bytes=ledger.free_bytes - wanted_back,
        unmet_of_others_bytes=ledger.unmet_of_others(region.account),
        limit_bytes=_room_in_limit(region, ledger.physical_bytes),
    )
    if config.exhaustion_mode is ExhaustionMode.REFUSE:
        decision = admit(growth, room)
    else:
        decision = admit_or_poison(growth, ~bare * -config.metadata_bytes - held.sectors * sector, room)

    accepted = decision.accepted
    device_ns = 0
    if accepted:
        kinds = _kinds(packed.sizes[:accepted], sectors[:accepted], PAGE_BYTES // sector)
        _enter(power, region, pages, packed, kinds=kinds, sectors=sectors, held=held, decision=decision)
        device_ns = power.latency.of_write(
            region.number, pages[:accepted], kinds, sectors[:accepted], in_flight_pages
        )
    delay = power.faults.delay(Command(Operation.WRITE, region.host, count), Delay(device_ns, 0))
    power.counters.write_requests += 1
    if accepted:
        if power.faults.armed:
            power.faults.stored(np.delete(plain_sectors[:accepted], decision.poisoned), sector)
        power.settle()
    if decision.poisoned:
        power.counters.poison_created_exhaustion_pages += len(decision.poisoned)
        power.faults.turned_away(len(decision.poisoned))
    if decision.media_exhausted:
        power.media_exhausted()
    if decision.obstacle is not None:
        raise _refusal(power, region, decision, pages, delay)
    return WriteOutcome(accepted, delay.device_ns, delay.wall_ns)


def _room_in_limit(region: Region, physical_bytes: int) -> int:
    """What the region may still take. All of the media is no limit: what is missing then is media."""
    account = region.account
    if account.limit_bytes >= physical_bytes:
        return _UNLIMITED
    return account.limit_bytes - account.used_bytes


def _kinds(sizes: NDArray[np.int64], sectors: NDArray[np.int64], page_sectors: int) -> NDArray[np.uint8]:
    """Kind of each page, by what it takes: of no bytes, of a whole page's sectors, of fewer."""
    kinds = (sectors >= page_sectors).astype(np.uint8)
    kinds += np.uint8(COMPRESSED)
    kinds[sizes == 0] = SAME_FILLED
    return kinds


def _enter(
    power: PowerOn,
    region: Region,
    pages: NDArray[np.int64],
    packed: CompressedPages,
    *,
    kinds: NDArray[np.uint8],
    sectors: NDArray[np.int64],
    held: _Held,
    decision: Admission,
) -> None:
    """Put the acknowledged pages into the books. `kinds` and `sectors` are changed where one is poisoned."""
    accepted = decision.accepted
    sizes, checksums = packed.sizes[:accepted], packed.checksums[:accepted]
    entries = packed.words[:accepted].copy()
    if decision.poisoned:
        sizes, checksums = sizes.copy(), checksums.copy()
        kinds[decision.poisoned] = POISONED
        for column in (sectors, sizes, checksums, entries):
            column[decision.poisoned] = 0
    pages, sectors = pages[:accepted], sectors[:accepted]

    # New places first: an open read may be looking at the old ones, and a failure here changes nothing.
    in_arena = sizes.nonzero()[0]
    if len(in_arena):
        arena_sizes = sizes[in_arena]
        places = power.arena.take(arena_sizes)
        whole = len(in_arena) == len(packed)
        pieces = packed.pieces if whole else [packed.pieces[index] for index in in_arena.tolist()]
        power.arena.store(places, arena_sizes, pieces)
        entries[in_arena] = places
    power.ledger.store(
        region.account,
        int(np.count_nonzero(held.empty[:accepted])),
        int(sectors.sum()) - int(held.sectors[:accepted].sum()),
        poisoned=len(decision.poisoned) - int(np.count_nonzero(held.poisoned[:accepted])),
    )
    power.free_places(region, pages)
    region.table.set(pages, kinds=kinds, sectors=sectors, sizes=sizes, checksums=checksums, places=entries)

    counters = power.counters
    counters.written_pages += accepted - len(decision.poisoned)
    counters.same_filled_pages += int(np.count_nonzero(kinds == SAME_FILLED))
    counters.raw_pages += int(np.count_nonzero(kinds == RAW))


def _refusal(
    power: PowerOn,
    region: Region,
    decision: Admission,
    pages: NDArray[np.int64],
    delay: Delay,
) -> WriteRefused:
    """Count the refused pages and say all that helps; never what a page takes: no host may know that."""
    accepted, obstacle = decision.accepted, decision.obstacle
    refused = len(pages) - accepted
    counters, ledger = power.counters, power.ledger
    power.refused_pages += refused
    dpa = int(pages[accepted]) * PAGE_BYTES
    where = f"page {dpa:#x} does not fit; {accepted} of {len(pages)} pages were accepted"
    if obstacle is Obstacle.LIMIT:
        counters.refused_limit_pages += refused
        account = region.account
        kind: type[WriteRefused] = RegionLimit
        message = (
            f"the region's limit of {account.limit_bytes} bytes has no room: {where}; the region uses "
            f"{account.used_bytes}. TRIM pages of this region and FLUSH, or attach with a higher limit"
        )
    else:
        if obstacle is Obstacle.GUARANTEE:
            counters.refused_guarantee_pages += refused
        else:
            counters.refused_media_pages += refused
        kind = NoMoreWrites
        power.faults.turned_away(refused)
        message = (
            f"no more writes: {where}; {ledger.free_bytes} bytes are free, of which "
            f"{ledger.unmet_of_others(region.account)} are guaranteed to other regions. TRIM pages and "
            "FLUSH, then try the rest again"
        )
    return kind(
        message,
        accepted_pages=accepted,
        refused_dpa=dpa,
        device_ns=delay.device_ns,
        wall_ns=delay.wall_ns,
        telemetry=power.telemetry(region),
    )
