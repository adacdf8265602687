"""The device beside its model: what the random sequences of `test_device_machine` stand on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

import pytest
import zstandard
from hypothesis.stateful import RuleBasedStateMachine, invariant

from cxldev import arena, power_on
from cxldev.codec import PageCodec
from cxldev.config import PAGE_BYTES, DeviceConfig, ExhaustionMode, StagingConfig
from cxldev.device import Device, FlushTicket, ReadTicket, SessionRef, WriteTicket
from cxldev.errors import NoMoreWrites, RegionLimit
from cxldev.events import NoMoreWritesEntered, NoMoreWritesLeft, WatermarkCrossed
from cxldev.telemetry import WatermarkLevel
from emulator_helpers import at, random_page, same_page, zero_page
from emulator_model import POISON, ModelDevice, ModelRegion, Refused

if TYPE_CHECKING:
    from cxldev.faults import Fault

SECTOR, METADATA = 64, 16
PHYSICAL = 20 * PAGE_BYTES
REGION_PAGES = 16
STAGING_DELAY = 20
NO_LOG = (0, WatermarkLevel.ABOVE_HIGH, False)

POOL = [
    zero_page(),
    same_page(b"\x7f"),
    same_page(b"cxlcram!"),
    *(
        random_page(seed, size)
        for seed, size in enumerate((8, 700, 1500, 2800, 3900, 4030, 4096, 4096, 4096))
    ),
]


def _plain_sectors(page: bytes) -> int:
    if page == page[:8] * 512:
        return 0
    frame = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(page)
    return min(64, -(-len(frame) // SECTOR))


SECTORS = {page: _plain_sectors(page) for page in POOL}


@dataclass
class OpenRead:
    """A read that began, and what it must give."""

    ticket: ReadTicket
    pages: list[int]
    expected: list[bytes | None]


@dataclass
class OpenWrite:
    """A write that began."""

    ticket: WriteTicket
    region: ModelRegion
    pages: list[int]
    contents: list[bytes]
    generation: str


@dataclass
class OpenFlush:
    """A FLUSH that was asked for."""

    ticket: FlushTicket
    region: ModelRegion
    due_ns: int
    released_before: int
    trims_due: int
    """When the last TRIM before it is due; -1: none waits."""
    through_staged: int


class DeviceBesideModel(RuleBasedStateMachine):
    """A device and its model. After every step both tell the same, and the audit passes."""

    def __init__(self) -> None:
        super().__init__()
        # Compaction would need 64 MiB of waste: here it is to happen all the time.
        # And in many steps, though there are few pages.
        self.patches = [
            mock.patch.object(arena, "SLACK_BYTES", 0),
            mock.patch.object(power_on, "_MOVED_TOGETHER", 3),
        ]
        for patch in self.patches:
            patch.start()
        self.ids = itertools.count(1)
        self.now = 0
        self.codec = PageCodec(1)
        self.faults: list[str] = []
        self.reads: list[OpenRead] = []
        self.writes: list[OpenWrite] = []
        self.flushes: list[OpenFlush] = []
        self.log_from = NO_LOG
        """Number, level and no more writes of the last event that no log has any more: of a restart."""

    def build(self, mode: ExhaustionMode, trim_delay: int, staging: int) -> None:
        """Power both on."""
        config = DeviceConfig(
            physical_capacity_bytes=PHYSICAL,
            exhaustion_mode=mode,
            trim_delay_ns=trim_delay,
            default_lease_ns=1_000_000,
            metadata_bytes=METADATA,
            sector_bytes=SECTOR,
            # One ns a page behind the delay.
            staging=StagingConfig(staging, STAGING_DELAY, 1 << 43),
        )
        self.device = Device(config, generation="g0", now_ns=0)
        self.model = ModelDevice(
            PHYSICAL,
            SECTOR,
            METADATA,
            poisons=mode is ExhaustionMode.POISON,
            trim_delay=trim_delay,
            sectors=SECTORS,
            staging=staging,
            staging_delay=STAGING_DELAY,
        )

    def teardown(self) -> None:
        """Undo what `__init__` patched."""
        for patch in self.patches:
            patch.stop()

    def ref(self, region: ModelRegion) -> SessionRef:
        """What its host shows."""
        return SessionRef(region.session, self.device.generation)

    def region(self, host: str) -> ModelRegion | None:
        """The model's region of a host."""
        return self.model.regions.get(host)

    def commit(self, ticket: WriteTicket, region: ModelRegion, pages: list[int], chosen: list[bytes]) -> None:
        """Store pages in both: both accept as many, and refuse for the same reason."""
        packed = self.codec.compress(b"".join(chosen))
        expected = self.model.write(region.host, pages, chosen)
        if expected is None:
            outcome = self.device.commit_write(ticket, packed, self.now)
            assert outcome.accepted_pages == len(pages)
            assert outcome.wall_ns == sum(self.model.wall.values())
            return
        kind = RegionLimit if expected.reason == "limit" else NoMoreWrites
        with pytest.raises(kind) as caught:
            self.device.commit_write(ticket, packed, self.now)
        assert Refused(caught.value.accepted_pages, expected.reason) == expected
        assert caught.value.refused_dpa == pages[expected.accepted] * PAGE_BYTES

    def open_flush(self, region: ModelRegion) -> OpenFlush:
        """Ask for a FLUSH of both: it waits for the TRIMs and the staged writes so far."""
        trims_due = region.queue[-1][0] if region.queue else -1
        ticket = self.device.begin_flush(self.ref(region), self.now)
        due_ns = self.device.flush_due(ticket, self.now)
        assert due_ns is not None
        assert due_ns == max(self.now, trims_due, region.last_staged_due)
        return OpenFlush(ticket, region, due_ns, region.trim_released, trims_due, region.last_staged)

    def end_flush(self, flush: OpenFlush) -> bool:
        """Ask for its outcome: done when both say so. Whether it is."""
        outcome = self.device.flush_done(flush.ticket, self.now)
        waits = any(due <= flush.trims_due for due, _, _ in flush.region.queue)
        waits |= self.model.last_drained < flush.through_staged
        assert (outcome is None) == waits
        if outcome is not None:
            assert outcome.released_media_bytes == flush.region.trim_released - flush.released_before
        return outcome is not None

    def arm(self, fault: Fault) -> str:
        """Inject into the device; the id is kept for `clear`."""
        number = next(self.ids)
        injected = self.device.inject(fault, self.now, next_generation=f"g{number}")
        if injected.fault_id:
            self.faults.append(injected.fault_id)
        return injected.fault_id

    # -- what always holds ----------------------------------------------------------------------

    @invariant()
    def adds_up(self) -> None:
        """The books, counted again from the ground."""
        self.device.audit()

    @invariant()
    def tells_the_same(self) -> None:
        """All totals, the level and the state."""
        seen = self.device.telemetry(None, self.now)
        model = self.model
        assert (seen.media_used_bytes, seen.media_free_bytes) == (model.used, model.free)
        assert seen.stored_pages == sum(len(region.pages) for region in model.regions.values())
        queued = sum(pages for region in model.regions.values() for _, pages, _ in region.queue)
        assert seen.trim_queued_pages == queued
        assert seen.writes_refused_pages == model.refused_pages
        assert seen.media_staged_bytes == model.staged
        assert self.device.counters.poison_created_staging_pages == model.lost_late
        assert (int(seen.watermark), seen.no_more_writes) == (model.level, model.no_more_writes)
        for region in model.regions.values():
            mine = self.device.telemetry(self.ref(region), self.now).region
            assert mine is not None
            assert (mine.media_used_bytes, mine.stored_pages) == (region.used, len(region.pages))
            assert mine.credit_pages == region.promised
            assert (mine.logical_bytes, mine.room_bytes) == (
                region.pages_long * PAGE_BYTES,
                self.model.room_of(region),
            )
            assert (mine.guaranteed_media_bytes, mine.limit_media_bytes) == (region.guarantee, region.limit)
            asked = None if region.asked is None else region.asked[0] * PAGE_BYTES
            assert mine.asked_back_to_bytes == asked

    @invariant()
    def the_log_tells_the_same(self) -> None:
        """Without a gap, one event for each crossing and each change of state, up to what is now."""
        log = self.device.events
        first, level, full = self.log_from
        missed, events = log.after(first)
        assert missed is None
        assert [event.sequence for event in events] == list(range(first + 1, log.last_sequence + 1))
        time = 0
        for event in events:
            assert time <= event.now_ns <= self.now
            assert (event.generation, event.telemetry.event_sequence) == (
                self.device.generation,
                event.sequence,
            )
            time = event.now_ns
            if isinstance(event.kind, WatermarkCrossed):
                assert event.kind.from_level == level != event.kind.to_level
                level = event.kind.to_level
            elif isinstance(event.kind, NoMoreWritesEntered | NoMoreWritesLeft):
                assert full is isinstance(event.kind, NoMoreWritesLeft)
                full = not full
            assert (event.telemetry.watermark, event.telemetry.no_more_writes) == (level, full)
        assert (int(level), full) == (self.model.level, self.model.no_more_writes)

    @invariant()
    def every_page_reads_as_written(self) -> None:
        """What is not poisoned."""
        for region in self.model.regions.values():
            pages = [page for page in range(region.pages_long) if region.pages.get(page, b"") is not POISON]
            if pages:
                outcome = self.device.read(self.ref(region), at(*pages), self.now, codec=self.codec)
                expected = b"".join(region.pages.get(page) or bytes(PAGE_BYTES) for page in pages)
                assert bytes(outcome.data) == expected
