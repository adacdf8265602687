"""Storing compressed pages: admitted, charged, copied to the arena, entered in the page table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cxldev.admission import Admission, Obstacle, admit, admit_or_poison
from cxldev.config import PAGE_BYTES, ExhaustionMode
from cxldev.errors import MediaReadOnly, NoMoreWrites, OutOfRange, RegionLimit, WriteRefused
from cxldev.faults import Command, Delay, Operation
from cxldev.faults.storing import PLAIN
from cxldev.outcomes import EMPTY, POISONED, RAW, SAME_FILLED, STAGED, WriteOutcome
from cxldev.page_table import KINDS, Held, page_kinds
from cxldev.staging import forget, pages_to_stage
from cxldev.write_single import store_single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.codec import CompressedPages
    from cxldev.outcomes import WriteTicket
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


def store_pages(
    power: PowerOn, region: Region, ticket: WriteTicket, packed: CompressedPages, in_flight_pages: int
) -> WriteOutcome:
    """Store the pages of one write, in order.

    Raises:
        OutOfRange: the region shrank since the write began; nothing is stored.
        NoMoreWrites, RegionLimit: a page did not fit. The pages before it are stored.
    """
    pages, count = ticket.pages, ticket.count
    assert len(packed) == count, (len(packed), count)
    if count == 1:
        outcome = store_single(power, region, pages.item(), packed.first(), in_flight_pages)
        if outcome is not None:
            return outcome
    if region.pages < ticket.region_pages and int(pages.max()) >= region.pages:
        raise OutOfRange(f"the region shrank to {region.logical_bytes} bytes while the write was under way")
    command = Command(Operation.WRITE, region.host, count, pages)
    storing = power.faults.storing(command)
    writable = storing.writable(count)
    sector = power.config.sector_bytes
    sectors = storing.sectors_for((packed.sizes + (sector - 1)) // sector, sector)
    staged = device_ns = 0
    if power.staging is not None:
        staged, device_ns = _stage(power, region, pages[:writable], packed, in_flight_pages)
        if staged == count:
            power.counters.write_requests += 1
            power.settle()
            delay = power.faults.delay(command, Delay(device_ns, 0))
            return WriteOutcome(count, delay.device_ns, delay.wall_ns)
        packed = packed.behind(staged)
    asked, pages = pages, pages[staged:]
    sectors, writable = sectors[staged:], writable - staged
    held = region.table.held(pages)
    decision = _decide(power, region, held, sectors, writable)

    accepted = decision.accepted
    if accepted:
        kinds = page_kinds(packed.sizes[:accepted], sectors[:accepted], PAGE_BYTES // sector)
        enter_pages(power, region, pages, packed, kinds=kinds, sectors=sectors, held=held, decision=decision)
        device_ns += power.latency.of_write(
            region.number, pages[:accepted], kinds, sectors[:accepted], in_flight_pages
        )
    delay = power.faults.delay(command, Delay(device_ns, 0))
    power.counters.write_requests += 1
    if storing is not PLAIN:
        kept = np.zeros(count, np.bool_)
        kept[staged : staged + accepted] = True
        kept[[staged + index for index in decision.poisoned]] = False
        storing.stored(kept)
    if accepted or staged:
        power.settle()
    if decision.poisoned:
        power.counters.poison_created_exhaustion_pages += len(decision.poisoned)
        power.faults.turned_away(len(decision.poisoned))
    if decision.media_exhausted:
        power.media_exhausted()
    if decision.obstacle is not None:
        if decision.obstacle is Obstacle.READ_ONLY:
            storing.turned_back(count - staged - accepted)
        raise _refusal(power, region, replace(decision, accepted=staged + accepted), asked, delay)
    return WriteOutcome(staged + accepted, delay.device_ns, delay.wall_ns)


def _decide(
    power: PowerOn, region: Region, held: Held, sectors: NDArray[np.int64], writable: int
) -> Admission:
    """How many of the pages that are to take these sectors are accepted, and what the next one met."""
    config, room, count = power.config, power.room(region), len(sectors)
    sector, metadata = config.sector_bytes, config.metadata_bytes
    if writable == count and room.covers(int(np.add.reduce(sectors)) * sector + count * metadata):
        return Admission(count, None)
    if not writable:
        return Admission(0, Obstacle.READ_ONLY)
    bare = (held.kinds == EMPTY) | (held.kinds == POISONED)
    held_bytes = held.sectors.astype(np.int64) * sector
    growth = sectors * sector - held_bytes + bare * metadata
    if config.exhaustion_mode is ExhaustionMode.REFUSE:
        decision = admit(growth[:writable], room, bare[:writable])
    else:
        given_back = ~bare * -metadata - held_bytes
        decision = admit_or_poison(growth[:writable], given_back[:writable], room, bare[:writable])
    if decision.obstacle is None and writable < count:
        decision.obstacle = Obstacle.READ_ONLY
    return decision


def _stage(
    power: PowerOn, region: Region, pages: NDArray[np.int64], packed: CompressedPages, in_flight_pages: int
) -> tuple[int, int]:
    """Acknowledge pages from the front into the staging buffer: how many, and the device time, ns."""
    staging = power.staging
    assert staging is not None
    count = pages_to_stage(power, region, pages)
    power.counters.staged_pages += count
    power.counters.written_through_pages += len(pages) - count
    if not count:
        return 0, 0
    pages = pages[:count]
    held = region.table.held(pages)
    kinds = np.full(count, STAGED, np.uint8)
    enter_pages(
        power,
        region,
        pages,
        packed,
        kinds=kinds,
        sectors=held.sectors.astype(np.int64),
        held=held,
        decision=Admission(count, None),
        staged=count,
    )
    power.wake_by(staging.push(region, pages, power.now_ns))
    return count, power.latency.of_write(
        region.number, pages, kinds, np.zeros(count, np.int64), in_flight_pages
    )


def enter_pages(
    power: PowerOn,
    region: Region,
    pages: NDArray[np.int64],
    packed: CompressedPages,
    *,
    kinds: NDArray[np.uint8],
    sectors: NDArray[np.int64],
    held: Held,
    decision: Admission,
    staged: int = 0,
) -> None:
    """Put the acknowledged pages into the books. `kinds` and `sectors` are changed where one is poisoned.

    `staged` of them, all or none, go into the staging buffer.
    """
    accepted = decision.accepted
    sizes, words = packed.frame_sizes[:accepted], packed.words[:accepted]
    if decision.poisoned:
        sizes, words = sizes.copy(), words.copy()
        kinds[decision.poisoned] = POISONED
        for column in (sectors, sizes, words):
            column[decision.poisoned] = 0
    if accepted < len(pages):
        pages, sectors = pages[:accepted], sectors[:accepted]
        held = region.table.held(pages)

    # New places first: an open read may be looking at the old ones, and a failure here changes nothing.
    places = power.arena.put(sizes.tolist(), packed.pieces[:accepted])
    # A page has a place or is filled by a word: the other one is 0.
    entries = words + np.array(places, np.uint64)
    if region.staged:
        forget(power, region, pages)
    account = region.account
    healed = int(np.count_nonzero(held.kinds == POISONED)) if account.poisoned_pages else 0
    power.ledger.store(
        account,
        accepted - int(np.count_nonzero(held.kinds)),
        int(np.add.reduce(sectors)) - int(np.add.reduce(held.sectors)),
        poisoned=len(decision.poisoned) - healed,
        staged=staged,
    )
    power.free_places(held.places, held.sizes)
    region.table.set(
        pages,
        kinds=kinds,
        sectors=sectors,
        sizes=sizes,
        places=entries,
        held=held,
    )

    counters = power.counters
    counters.written_pages += accepted - len(decision.poisoned)
    of_kind = np.bincount(kinds, minlength=KINDS)
    counters.same_filled_pages += of_kind.item(SAME_FILLED)
    counters.raw_pages += of_kind.item(RAW)


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
    elif obstacle is Obstacle.READ_ONLY:
        counters.refused_read_only_pages += refused
        kind = MediaReadOnly
        message = (
            f"the media is read-only at page {dpa:#x}; {accepted} of {len(pages)} pages were accepted. Reads "
            "and TRIMs go on; keep the pages elsewhere, or try again later"
        )
    else:
        if obstacle is Obstacle.GUARANTEE:
            counters.refused_guarantee_pages += refused
        else:
            counters.refused_media_pages += refused
        kind = NoMoreWrites
        power.faults.turned_away(refused)
        promised_bytes = region.account.promised_bytes
        promised = f" and {promised_bytes} promised to writable pages of this one" if promised_bytes else ""
        message = (
            f"no more writes: {where}; {ledger.room_bytes} bytes are free, of which "
            f"{ledger.unmet_of_others(region.account)} are guaranteed to other regions{promised}. TRIM "
            "pages and FLUSH, then try the rest again"
        )
    return kind(
        message,
        accepted_pages=accepted,
        refused_dpa=dpa,
        device_ns=delay.device_ns,
        wall_ns=delay.wall_ns,
        telemetry=power.telemetry(region),
    )
