"""The staging buffer: pages are acknowledged before anybody knows what they compress to.

A part of the media is set aside for it (`StagingConfig.bytes`). A page of a write goes there if the
buffer has 4096 bytes left, its region's limit covers that and the page's metadata, and the device takes
writes (while no more writes holds, nothing is staged). Pages of one request go there in order, up to the
first that cannot; that one and the rest are written through: compressed and judged before the answer. A
page that is staged already gives its place to the newer bytes.

One compressor takes the buffer out, in the order of the writes; the pages of one write leave it together:

    due = max(write + delay, due of the write before) + pages * page_ns

What replaces a stored page leaves it on the media until then, so it always fits where it needs no more.
Another page needs room as any write does, and may find none: it was acknowledged, so it cannot be refused
any more, and is poisoned. That is exhaustion found late. In mode `refuse` the device says so with a
`PoisonFound` event at once; in mode `poison` it keeps silent until a read meets the page.

The bytes of a staged page lie in the arena in compressed form from the beginning: where the emulator keeps
them is its own economy. What is staged is the charge.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cxldev.admission import Room, admit_or_poison
from cxldev.config import PAGE_BYTES, ExhaustionMode
from cxldev.faults import Command, Operation
from cxldev.frames import media_bytes
from cxldev.outcomes import EMPTY, POISONED, RAW, SAME_FILLED, STAGED
from cxldev.page_table import page_kinds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import StagingConfig
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


@dataclass(frozen=True, slots=True)
class _StagedWrite:
    """Pages of one write. Those that were rewritten, trimmed or lost since are not staged in it any more."""

    number: int
    due_ns: int
    region: Region
    pages: tuple[int, ...]


class StagingQueue:
    """Staged writes of one power-on, oldest first; numbered 1, 2, 3, ..."""

    def __init__(self, config: StagingConfig) -> None:
        self._config = config
        self._waiting: deque[_StagedWrite] = deque()
        self._busy_until_ns = 0
        self.last_number = 0
        """Of the newest write that was staged; 0 before the first."""
        self.done_number = 0
        """Of the newest that was drained."""

    @property
    def memory(self) -> dict[str, Any]:
        """What `restore` makes the same queue of. Writes of regions that ended are left out."""
        waiting = [
            [write.number, write.due_ns, write.region.number, _staged_still(write)]
            for write in self._waiting
            if write.region.attached
        ]
        return {
            "busy_until_ns": self._busy_until_ns,
            "last_number": self.last_number,
            "done_number": self.done_number,
            "waiting": waiting,
        }

    def restore(self, memory: dict[str, Any], regions: dict[int, Region], later_ns: int) -> None:
        """Into a new queue, and into the regions, by number; due so much later."""
        self._busy_until_ns = memory["busy_until_ns"] + later_ns
        self.last_number, self.done_number = memory["last_number"], memory["done_number"]
        for number, due_ns, region_number, pages in memory["waiting"]:
            region = regions[region_number]
            self._waiting.append(_StagedWrite(number, due_ns + later_ns, region, tuple(pages)))
            region.staged.update(dict.fromkeys(pages, number))

    @property
    def next_due_ns(self) -> int | None:
        """When the oldest is to be drained."""
        return self._waiting[0].due_ns if self._waiting else None

    def push(self, region: Region, pages: NDArray[np.int64], now_ns: int) -> int:
        """These pages lie in the buffer. When they are to leave it."""
        self.last_number += 1
        self._busy_until_ns = (
            max(now_ns + self._config.delay_ns, self._busy_until_ns) + len(pages) * self._config.page_ns
        )
        write = _StagedWrite(self.last_number, self._busy_until_ns, region, tuple(pages.tolist()))
        self._waiting.append(write)
        region.staged.update(dict.fromkeys(write.pages, write.number))
        region.last_staged, region.last_staged_due_ns = write.number, write.due_ns
        return write.due_ns

    def pop(self) -> tuple[Region, NDArray[np.int64]]:
        """The oldest is drained: what of it is still staged in it. Forgets these pages."""
        write = self._waiting.popleft()
        staged, self.done_number = write.region.staged, write.number
        pages = _staged_still(write)
        for page in pages:
            del staged[page]
        return write.region, np.array(pages, np.int64)


def _staged_still(write: _StagedWrite) -> list[int]:
    """Those of its pages that were not rewritten, trimmed or lost since."""
    staged = write.region.staged
    return [page for page in write.pages if staged.get(page) == write.number]


def pages_to_stage(power: PowerOn, region: Region, pages: NDArray[np.int64]) -> int:
    """How many pages from the front of a write go into the buffer."""
    if power.no_more_writes.active:
        return 0
    ledger, account = power.ledger, region.account
    kinds = region.table.kind[pages]
    buffer = np.cumsum(kinds != STAGED) * PAGE_BYTES
    metadata = np.cumsum((kinds == EMPTY) | (kinds == POISONED)) * ledger.metadata_per_page
    wanted_back = power.faults.held_back_bytes(ledger.physical_bytes) - ledger.reserved_bytes
    room = ledger.room_bytes - wanted_back - ledger.unmet_of_others(account)
    fits = (
        (buffer <= ledger.staging_bytes - ledger.staged_bytes)
        & (metadata <= max(0, room))
        & (buffer + metadata <= ledger.room_in_limit(account))
    )
    return len(pages) if fits.all() else int(fits.argmin())


def forget(power: PowerOn, region: Region, pages: NDArray[np.int64]) -> None:
    """Those of these pages that are staged leave the buffer: they are rewritten, trimmed or lost."""
    staged = [page for page in pages.tolist() if page in region.staged]
    for page in staged:
        del region.staged[page]
    power.ledger.store(region.account, 0, 0, staged=-len(staged))


def drain_next(power: PowerOn) -> None:
    """The oldest staged write is compressed: its pages are stored, or poisoned where they do not fit."""
    assert power.staging is not None
    region, pages = power.staging.pop()
    if not len(pages):
        return
    ledger, table, account = power.ledger, region.table, region.account
    sector, sizes = ledger.sector_bytes, media_bytes(table.size[pages].astype(np.int64))
    command = Command(Operation.DRAIN, region.host, len(pages), pages)
    storing = power.faults.storing(command)
    sectors = storing.sectors_for((sizes + (sector - 1)) // sector, sector)
    held = table.sectors[pages].astype(np.int64)
    lost = power.faults.lost_in_drain(command)
    given_back = -held * sector - ledger.metadata_per_page
    wanted_back = power.faults.held_back_bytes(ledger.physical_bytes) - ledger.reserved_bytes
    decision = admit_or_poison(
        np.where(lost, given_back, (sectors - held) * sector),
        given_back,
        # Whatever a page compresses to, it takes no more of the limit than it did in the buffer.
        Room(
            ledger.room_bytes - wanted_back,
            ledger.unmet_of_others(account),
            ledger.physical_bytes,
            account.promised_bytes,
        ),
        held == 0,
    )
    lost[decision.poisoned] = True
    lost_pages = pages[lost]
    stored, sectors = pages[~lost], sectors[~lost]
    kinds = page_kinds(sizes[~lost], sectors, PAGE_BYTES // sector)
    ledger.store(
        account,
        0,
        int(sectors.sum()) - int(held.sum()),
        poisoned=len(lost_pages),
        staged=-len(pages),
    )
    table.drained(stored, kinds, sectors)
    counters = power.counters
    counters.drained_pages += len(stored)
    counters.same_filled_pages += int(np.count_nonzero(kinds == SAME_FILLED))
    counters.raw_pages += int(np.count_nonzero(kinds == RAW))
    storing.stored(~lost)
    power.faults.turned_away(len(decision.poisoned))
    if len(lost_pages):
        _lose(power, region, lost_pages)
    power.settle()
    if decision.media_exhausted:
        power.media_exhausted()
    if len(lost_pages) and power.config.exhaustion_mode is ExhaustionMode.REFUSE:
        power.tell_poison(region, lost_pages)


def _lose(power: PowerOn, region: Region, pages: NDArray[np.int64]) -> None:
    """Acknowledged pages that found no room. They are off the books already."""
    power.free_places(region.table.place[pages], region.table.size[pages])
    region.table.clear(pages, POISONED)
    power.latency.forget(region.number, pages)
    power.counters.poison_created_staging_pages += len(pages)


def read_from_buffer(kinds: NDArray[np.uint8], sizes: NDArray[np.int64], sectors: NDArray[np.int64]) -> None:
    """What a read is told of staged pages: nothing is read from sectors, and nothing is decompressed."""
    staged = kinds == STAGED
    sectors[staged] = 0
    kinds[staged & (sizes == 0)] = SAME_FILLED
