"""One power-on of the device: all state that a reset loses. Its parts, and the rules between them.

Whoever changes media calls `settle` afterwards: faults take what they hold back, watermarks and the
no-more-writes state move, and the arena is tidied up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cxldev.admission import Room
from cxldev.arena import MOST_PLACE_BYTES, STEP, Arena
from cxldev.capacity import take_due
from cxldev.config import PAGE_BYTES
from cxldev.events import (
    DetachCause,
    Event,
    EventKind,
    EventLog,
    FaultArmed,
    FaultCleared,
    NoMoreWritesEntered,
    NoMoreWritesLeft,
    PoisonFound,
    RegionDetached,
    WatermarkCrossed,
)
from cxldev.latency import LatencyModel
from cxldev.ledger import Ledger
from cxldev.outcomes import EMPTY, POISONED
from cxldev.regions import RegionTable
from cxldev.report import region_telemetry, telemetry
from cxldev.staging import StagingQueue, drain_next, forget
from cxldev.watermarks import NoMoreWritesState, WatermarkGauge

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.faults import FaultLayers
    from cxldev.faults.armed import Disarmed
    from cxldev.regions import Region
    from cxldev.saved_state import ChangeMark
    from cxldev.telemetry import Counters, RegionTelemetry, Telemetry

_MOVED_TOGETHER: Final = 512
"""Pages whose bytes are moved in one step when the arena is compacted: well below a millisecond's work."""
_SEEN_TOGETHER: Final = 1 << 17
"""Entries of page tables that are looked at for them in one step."""
_TOLD_TOGETHER: Final = 512
"""Addresses of one poison event at most, as in the error of a read."""


class PowerOn:
    """Ledger, arena, regions, queue, watermarks, cache and event log of one generation."""

    def __init__(
        self, config: DeviceConfig, generation: str, counters: Counters, faults: FaultLayers, now_ns: int
    ) -> None:
        self.config = config
        self.generation = generation
        self.counters = counters
        self.faults = faults
        self.now_ns = now_ns
        self.ledger = Ledger(
            config.physical_capacity_bytes,
            config.sector_bytes,
            config.metadata_bytes,
            counters,
            config.staging.bytes,
        )
        self.staging = StagingQueue(config.staging) if config.staging.bytes else None
        self.arena = self._new_arena()
        self.regions = RegionTable(generation)
        self.gauge = WatermarkGauge(config)
        self.no_more_writes = NoMoreWritesState(config)
        self.latency = LatencyModel(config.latency)
        self.events = EventLog(config.event_log_entries)
        self.refused_pages = 0
        self._to_move: list[tuple[Region, int]] = []
        """Regions whose pages are to move within the arena, and the page to go on from. The last is next."""
        self._faults_due_ns = faults.advance(now_ns)
        """When a fault changes or ends by itself."""
        self._wake_ns = self._faults_due_ns
        """No lease ends, no TRIM, staged write or forced release is due, no fault changes before this."""

    # -- time -----------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Take the time: drain and release what is due, end leases that ran out. It never goes backwards."""
        self.now_ns = max(self.now_ns, now_ns)
        if self.faults.armed:
            self.disarmed(self.faults.expire(self.now_ns))
        if self._wake_ns is None or self.now_ns < self._wake_ns:
            return
        self._faults_due_ns = self.faults.advance(self.now_ns)
        self.take_back()
        while self.staging is not None:
            due_ns = self.staging.next_due_ns
            if due_ns is None or due_ns > self.now_ns:
                break
            # What came back before it was drained is room for it, however late the clock is looked at.
            self._come_back(due_ns)
            drain_next(self)
        self._come_back(self.now_ns)
        self._wake_ns = self.deadline()

    def _come_back(self, until_ns: int) -> None:
        """Release the TRIMs, take what was asked back, and end the leases that are due by then."""
        self.release_trims(until_ns)
        self.settle()
        take_due(self, until_ns)
        for region in self.regions:
            if region.expires_ns <= until_ns:
                self.counters.leases_expired += 1
                self.drop(region, DetachCause.LEASE_EXPIRED)

    @property
    def change_mark(self) -> ChangeMark:
        """Moves with everything that a saved state tells of, but for time and the renewal of leases."""
        changes = self.ledger.changes + self.events.last_sequence + self.refused_pages
        return self.generation, changes + self.counters.bit_flipped_pages

    def deadline(self) -> int | None:
        """When something is to happen by itself, if anything is."""
        armed, now_ns = self.faults.ids, self.now_ns
        times = [region.expires_ns for region in self.regions]
        for region in self.regions:
            due_ns = region.trims.next_due_ns(armed, now_ns)
            if due_ns is not None:
                times.append(due_ns)
            if region.asked_back is not None and region.asked_back.forced_at_ns is not None:
                times.append(region.asked_back.forced_at_ns)
        if self.staging is not None and (due := self.staging.next_due_ns) is not None:
            times.append(due)
        if self._faults_due_ns is not None:
            times.append(self._faults_due_ns)
        return min(times, default=None)

    def wake_by(self, due_ns: int) -> None:
        """Something is to happen by itself at that time."""
        self._wake_ns = due_ns if self._wake_ns is None else min(self._wake_ns, due_ns)

    # -- faults ---------------------------------------------------------------------------------

    def armed(self, fault_id: str, kind: str) -> None:
        """A fault lies on the device from now on."""
        self._faults_due_ns = self.faults.advance(self.now_ns)
        if self._faults_due_ns is not None:
            self.wake_by(self._faults_due_ns)
        # The event tells of the device as the fault leaves it, and comes before all that follows.
        self.take_back()
        self.record(FaultArmed(fault_id, kind))
        self.settle()

    def disarmed(self, faults: list[Disarmed]) -> None:
        """These faults do not lie on the device any more: what they held goes on at once."""
        if not faults:
            return
        self._faults_due_ns = self.faults.advance(self.now_ns)
        self.take_back()
        for one in faults:
            self.record(FaultCleared(one.fault_id, one.kind, one.cause, one.fired))
        self.release_trims(self.now_ns)
        self.settle()
        self._wake_ns = self.deadline()

    def take_back(self) -> bool:
        """Let faults have what they hold back of the free media, or give back what they hold no more."""
        ledger = self.ledger
        wanted = self.faults.held_back_bytes(ledger.physical_bytes)
        change = min(wanted - ledger.reserved_bytes, ledger.room_bytes)
        if change:
            ledger.reserve(change)
        return change > 0

    def room(self, region: Region, unmet_bytes: int | None = None) -> Room:
        """What a region's writes may grow into now.

        `unmet_bytes`: the ledger's, of who asks for many regions: it is a sum over all of them.
        """
        ledger, account = self.ledger, region.account
        unmet = ledger.unmet_bytes if unmet_bytes is None else unmet_bytes
        wanted_back = self.faults.held_back_bytes(ledger.physical_bytes) - ledger.reserved_bytes
        return Room(
            free_bytes=ledger.room_bytes - wanted_back,
            unmet_of_others_bytes=unmet - account.unmet_bytes,
            limit_bytes=ledger.room_in_limit(account),
            promised_bytes=account.promised_bytes,
        )

    # -- what changes media ---------------------------------------------------------------------

    def release_trims(self, until_ns: int) -> None:
        """Release the media of all TRIMs that are due by then. Does not settle."""
        armed = self.faults.ids
        for region in self.regions:
            self.counters.released_pages += region.trims.release_due(armed, until_ns)

    def trim_queued(self, region: Region) -> int | None:
        """A TRIM was queued: release what is due, and see to the rest in time.

        Returns when the last of its region is due; None: no TRIM waits, or one is stuck.
        """
        armed = self.faults.ids
        released = region.trims.release_due(armed, self.now_ns)
        if released:
            self.counters.released_pages += released
            self.settle()
        next_ns = region.trims.next_due_ns(armed, self.now_ns)
        if next_ns is None:
            return None
        self.wake_by(next_ns)
        return region.trims.due_ns(region.trims.last_number, armed, self.now_ns)

    def settle(self) -> None:
        """Media was taken or released: let all that follows from it happen."""
        ledger = self.ledger
        if (self.faults.armed or ledger.reserved_bytes) and self.take_back():
            self.faults.took_freed()
        moved = self.gauge.move(ledger.room_bytes)
        if moved is not None:
            if moved[1] > moved[0]:
                self.counters.watermark_falls += 1
            else:
                self.counters.watermark_rises += 1
            self.record(WatermarkCrossed(*moved))
        if self.no_more_writes.left(ledger.room_bytes):
            self.record(NoMoreWritesLeft())
        if self.arena.untidy or self.arena.wasteful:
            self.tidy()

    def tidy(self) -> bool:
        """Do one bounded step of what keeps the arena small. Returns whether another would do more now.

        Moving all pages at once would hold the lock for seconds: hosts would lose their leases.
        """
        arena = self.arena
        if arena.crammed:
            self._rebuild()
        elif arena.moving:
            self._move_some()
        elif arena.untidy:
            return arena.let_go()
        elif arena.wasteful:
            arena.begin_move()
            self._to_move = [(region, 0) for region in self.regions]
            self._move_some()
        return arena.untidy

    def media_exhausted(self) -> None:
        """A page found no room on the media: not even what others are guaranteed would have held it."""
        if self.no_more_writes.enter():
            self.counters.no_more_writes += 1
            self.record(NoMoreWritesEntered())

    def empty(self, region: Region, pages: NDArray[np.int64], kind: int = EMPTY) -> int:
        """Stored pages become empty, or poisoned. Returns their sectors, which are still booked."""
        table = region.table
        if region.staged:
            forget(self, region, pages)
        sectors = int(table.sectors[pages].sum())
        self.free_places(table.place[pages], table.size[pages])
        table.clear(pages, kind)
        self.latency.forget(region.number, pages)
        return sectors

    def free_places(self, places: NDArray[np.uint64], sizes: NDArray[np.uint16]) -> None:
        """These places of pages in the arena are not needed; pages of size 0 have none there."""
        held = sizes.nonzero()[0]
        self.arena.give_back(places[held].astype(np.int64), sizes[held].astype(np.int64))

    def poison(self, region: Region, pages: NDArray[np.int64]) -> None:
        """Stored pages that are not poisoned lose their bytes, and with them all media. Does not settle."""
        sectors = self.empty(region, pages, POISONED)
        self.ledger.store(region.account, 0, -sectors, poisoned=len(pages))

    def heal(self, region: Region, pages: NDArray[np.int64]) -> int:
        """Those of these stored pages that are poisoned leave the books: they hold no media. How many."""
        if not region.account.poisoned_pages:
            return 0
        poisoned = int(np.count_nonzero(region.table.kind[pages] == POISONED))
        self.ledger.store(region.account, -poisoned, 0, poisoned=-poisoned)
        return poisoned

    def drop(self, region: Region, cause: DetachCause) -> int:
        """End a region: all its media comes back at once. Returns the bytes released."""
        region.staged.clear()  # its account says what that releases
        self.empty(region, region.table.stored_in(0, region.pages))
        self.counters.released_pages += region.account.queued_pages
        released = self.ledger.close_account(region.account)
        self.regions.remove(region, cause)
        self.counters.detaches += 1
        self.record(RegionDetached(region.host, cause), region)
        self.settle()
        return released

    # -- what is told ---------------------------------------------------------------------------

    def record(self, kind: EventKind, region: Region | None = None) -> None:
        """Append an event to the log, with the telemetry of this moment."""
        sequence = self.events.last_sequence + 1
        seen = telemetry(self, self.region_telemetry(region), event_sequence=sequence)
        self.events.append(Event(sequence, self.generation, self.now_ns, seen, kind))

    def tell_poison(self, region: Region, pages: NDArray[np.int64]) -> None:
        """Record what was found: each page once for each time that it was poisoned, however often it is met.

        A page that was healed meanwhile is not told of.
        """
        pages = pages[pages < region.pages]
        dpas = (pages[region.table.tell_poisoned(pages)] * PAGE_BYTES).tolist()
        for start in range(0, len(dpas), _TOLD_TOGETHER):
            self.record(PoisonFound(tuple(dpas[start : start + _TOLD_TOGETHER])), region)

    def telemetry(self, region: Region | None = None) -> Telemetry:
        """The device now, and one region."""
        return telemetry(self, self.region_telemetry(region), event_sequence=self.events.last_sequence)

    def region_telemetry(self, region: Region | None) -> RegionTelemetry | None:
        """One region now."""
        return None if region is None else region_telemetry(self, region)

    # -- the arena ------------------------------------------------------------------------------

    def _new_arena(self) -> Arena:
        config = self.config
        # A frame's place may outgrow by a step what its page is charged for.
        live_bytes = config.physical_capacity_bytes + STEP * (config.logical_capacity_bytes // PAGE_BYTES)
        return Arena(live_bytes, config.max_pages_per_request * MOST_PLACE_BYTES)

    def _move_some(self) -> None:
        """Move the next pages to the arena's new half. What is written meanwhile is there already."""
        arena = self.arena
        moves, looks = _MOVED_TOGETHER, _SEEN_TOGETHER
        while self._to_move and arena.left_bytes and moves > 0 and looks > 0:
            region, start = self._to_move.pop()
            table = region.table
            end = min(start + looks, len(table))
            if not region.attached or start >= end:
                continue
            pages = table.in_arena(start, end)
            pages = pages[~arena.stays(table.place[pages].astype(np.int64))]
            if len(pages) > moves:
                pages, end = pages[:moves], int(pages[moves])
            if len(pages):
                places, sizes = table.place[pages].astype(np.int64), table.size[pages].astype(np.int64)
                table.place[pages] = arena.move(places, sizes).astype(np.uint64)
            moves -= len(pages)
            looks -= end - start
            self._to_move.append((region, end))
        if not arena.left_bytes or not self._to_move:
            self._to_move.clear()
            arena.end_move()

    def _rebuild(self) -> None:
        """Move all bytes in use to a new arena, at once. Open reads keep the old one until they end.

        Only if steps were too slow for what is written, or a read stays open for very long.
        """
        old, new = self.arena, self._new_arena()
        self._to_move.clear()
        for region in self.regions:
            table = region.table
            pages = table.in_arena(0, len(table))
            for start in range(0, len(pages), _MOVED_TOGETHER):
                some = pages[start : start + _MOVED_TOGETHER]
                places, sizes = table.place[some].astype(np.int64), table.size[some].astype(np.int64)
                table.place[some] = old.copy_to(new, places, sizes).astype(np.uint64)
        self.arena = new
