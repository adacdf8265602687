"""Random sequences of everything a device can be asked, against a dict of pages."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, precondition, rule

from cxldev.config import PAGE_BYTES, ExhaustionMode
from cxldev.credits import CreditRequest
from cxldev.errors import (
    AlreadyAttached,
    GuaranteeCapacity,
    LogicalCapacity,
    OutOfRange,
    Poisoned,
    RegionInUse,
    SessionError,
    StaleGeneration,
)
from cxldev.faults import ExhaustionFault, LatencyFault, PoisonFault, RatioCollapseFault, ResetFault
from emulator_capacity import CapacityRules
from emulator_helpers import addresses, at
from emulator_machine import (
    NO_LOG,
    PHYSICAL,
    POOL,
    REGION_PAGES,
    OpenRead,
    OpenWrite,
)
from emulator_model import POISON, ModelRegion
from saved_state_helpers import saved_and_restored

HOSTS = ("a", "b", "c")
hosts = st.sampled_from(HOSTS)
contents = st.sampled_from(POOL)
some_pages = st.lists(st.integers(0, REGION_PAGES - 1), min_size=1, max_size=10, unique=True)


class DeviceMachine(CapacityRules):
    """All that can be asked, as rules."""

    @initialize(
        mode=st.sampled_from(ExhaustionMode),
        trim_delay=st.sampled_from((0, 50)),
        staging=st.sampled_from((0, 6 * PAGE_BYTES)),
    )
    def power_on(self, mode: ExhaustionMode, trim_delay: int, staging: int) -> None:
        """Every combination of the settings that matter, three hosts attached."""
        self.build(mode, trim_delay, staging)
        for host in HOSTS:
            self.attach(host, REGION_PAGES, 0, None, take_over=False)

    # -- sessions -------------------------------------------------------------------------------

    @rule(
        host=hosts,
        pages=st.sampled_from((4, REGION_PAGES, REGION_PAGES, 24)),
        guarantee=st.sampled_from((0, 0, 0, 3 * PAGE_BYTES, 9 * PAGE_BYTES)),
        limit=st.sampled_from((None, None, 9 * PAGE_BYTES, PHYSICAL)),
        take_over=st.booleans(),
    )
    def attach(self, host: str, pages: int, guarantee: int, limit: int | None, take_over: bool) -> None:
        """A new region, one that is taken over, or a refusal."""
        model, session = self.model, f"s{next(self.ids)}"
        old = self.region(host)
        others = [region for region in model.regions.values() if region is not old]
        refusals: tuple[type[Exception], ...] = ()
        if old is not None and not take_over:
            refusals = (AlreadyAttached,)
        elif sum(region.pages_long for region in others) + pages > 60:
            refusals = (LogicalCapacity,)
        elif sum(region.guarantee for region in others) + guarantee > PHYSICAL:
            refusals = (GuaranteeCapacity,)

        def call() -> None:
            self.device.attach(
                session=session,
                host=host,
                logical_bytes=pages * PAGE_BYTES,
                guaranteed_media_bytes=guarantee,
                limit_media_bytes=limit,
                take_over=take_over,
                now_ns=self.now,
            )

        if refusals:
            with pytest.raises(refusals):
                call()
            return
        call()
        if old is not None:
            model.detach(host)
        model.regions[host] = ModelRegion(
            host,
            session,
            pages,
            guarantee,
            PHYSICAL if limit is None else limit,
            1_000_000,
            self.now + 1_000_000,
        )

    @rule(host=hosts, really=st.integers(0, 2))
    def detach(self, host: str, really: int) -> None:
        """All media comes back; the session is over."""
        region = self.region(host)
        if region is not None and not really:
            assert self.device.detach(self.ref(region), self.now) == self.model.detach(host)
            with pytest.raises(SessionError):
                self.device.renew(self.ref(region), self.now)

    @rule(host=hosts)
    def renew(self, host: str) -> None:
        """The lease begins anew."""
        if region := self.region(host):
            self.device.renew(self.ref(region), self.now)
            region.expires_ns = self.now + region.lease_ns

    @rule(host=hosts, pages=st.integers(1, 24))
    def resize(self, host: str, pages: int) -> None:
        """Grow or shrink; pages that hold data are never cut off."""
        if region := self.region(host):
            total = sum(one.pages_long for one in self.model.regions.values()) - region.pages_long + pages
            if total > 60 or (region.asked is not None and pages > region.pages_long):
                with pytest.raises(LogicalCapacity):
                    self.device.resize(self.ref(region), pages * PAGE_BYTES, self.now)
            elif any(page >= pages for page in region.pages):
                with pytest.raises(RegionInUse):
                    self.device.resize(self.ref(region), pages * PAGE_BYTES, self.now)
            else:
                self.device.resize(self.ref(region), pages * PAGE_BYTES, self.now)
                region.pages_long = pages
                if region.asked is not None and pages <= region.asked[0]:
                    region.asked = None

    @rule(step=st.sampled_from((1, 1, 20, 20, 50, 50, 400_000, 1_000_000)))
    def pass_time(self, step: int) -> None:
        """TRIMs are released, leases run out."""
        self.now += step
        self.device.advance(self.now)
        self.model.advance(self.now)

    # -- data -----------------------------------------------------------------------------------

    @rule(host=hosts, pages=some_pages, data=st.data())
    def write(self, host: str, pages: list[int], data: st.DataObject) -> None:
        """Pages and contents in any mixture."""
        region = self.region(host)
        if region is None:
            return
        chosen = data.draw(st.lists(contents, min_size=len(pages), max_size=len(pages)))
        if max(pages) >= region.pages_long:
            with pytest.raises(OutOfRange):
                self.device.begin_write(self.ref(region), at(*pages), len(pages) * PAGE_BYTES, self.now)
            return
        ticket = self.device.begin_write(self.ref(region), at(*pages), len(pages) * PAGE_BYTES, self.now)
        self.commit(ticket, region, pages, chosen)

    @rule(host=hosts, first=st.integers(0, 8), page=contents)
    def fill(self, host: str, first: int, page: bytes) -> None:
        """Eight pages of one kind: what exhausts a device."""
        region = self.region(host)
        pages = list(range(first, first + 8))
        if region is not None and first + 8 <= region.pages_long:
            ticket = self.device.begin_write(self.ref(region), at(*pages), len(pages) * PAGE_BYTES, self.now)
            self.commit(ticket, region, pages, [page] * len(pages))

    @rule(host=hosts, page=st.integers(0, REGION_PAGES - 1), data=contents)
    def write_one(self, host: str, page: int, data: bytes) -> None:
        """What a page fault does."""
        region = self.region(host)
        if region is not None and page < region.pages_long:
            ticket = self.device.begin_write(self.ref(region), at(page), PAGE_BYTES, self.now)
            self.commit(ticket, region, [page], [data])

    @rule(host=hosts, pages=some_pages, page=contents)
    def begin_write(self, host: str, pages: list[int], page: bytes) -> None:
        """A write that is committed later, or never."""
        region = self.region(host)
        if region is not None and max(pages) < region.pages_long and len(self.writes) < 4:
            ticket = self.device.begin_write(self.ref(region), at(*pages), len(pages) * PAGE_BYTES, self.now)
            self.writes.append(OpenWrite(ticket, region, pages, [page] * len(pages), self.device.generation))

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def commit_write(self, data: st.DataObject) -> None:
        """The session, the region or the device may be gone by then."""
        write = self.writes.pop(data.draw(st.integers(0, len(self.writes) - 1)))
        packed = self.codec.compress(b"".join(write.contents))
        if write.generation != self.device.generation:
            with pytest.raises(StaleGeneration):
                self.device.commit_write(write.ticket, packed, self.now)
        elif self.region(write.region.host) is not write.region:
            with pytest.raises(SessionError):
                self.device.commit_write(write.ticket, packed, self.now)
        elif max(write.pages) >= write.region.pages_long:
            with pytest.raises(OutOfRange):
                self.device.commit_write(write.ticket, packed, self.now)
        else:
            self.commit(write.ticket, write.region, write.pages, write.contents)

    @rule(host=hosts, pages=some_pages)
    def begin_read(self, host: str, pages: list[int]) -> None:
        """A read that ends later, or never."""
        region = self.region(host)
        if region is not None and max(pages) < region.pages_long and len(self.reads) < 4:
            ticket = self.device.begin_read(self.ref(region), at(*pages), self.now)
            self.reads.append(OpenRead(ticket, pages, self.model.read(host, pages)))

    @precondition(lambda self: self.reads)
    @rule(data=st.data(), abandon=st.integers(0, 5))
    def end_read(self, data: st.DataObject, abandon: int) -> None:
        """It gives what the pages held when it began."""
        read = self.reads.pop(data.draw(st.integers(0, len(self.reads) - 1)))
        if not abandon:
            self.device.abandon_read(read.ticket)
            return
        expanded = self.codec.expand(read.ticket.stored)
        lost = [page for page, data in zip(read.pages, read.expected, strict=True) if data is POISON]
        if lost:
            with pytest.raises(Poisoned) as caught:
                self.device.end_read(read.ticket, expanded, self.now)
            assert sorted(caught.value.dpas) == [page * PAGE_BYTES for page in sorted(lost)]
        else:
            outcome = self.device.end_read(read.ticket, expanded, self.now)
            assert bytes(outcome.data) == b"".join(page for page in read.expected if page is not None)

    @rule(host=hosts)
    def read_all(self, host: str) -> None:
        """Poison is named whole, and nothing else is."""
        if region := self.region(host):
            lost = sorted(page for page, data in region.pages.items() if data is POISON)
            everything = at(*range(region.pages_long))
            if lost:
                with pytest.raises(Poisoned) as caught:
                    self.device.read(self.ref(region), everything, self.now, codec=self.codec)
                assert list(caught.value.dpas) == [page * PAGE_BYTES for page in lost]
            else:
                outcome = self.device.read(self.ref(region), everything, self.now, codec=self.codec)
                assert outcome.wall_ns == sum(self.model.wall.values())

    @rule(host=hosts, start=st.integers(0, REGION_PAGES - 1), length=st.integers(1, REGION_PAGES))
    def trim(self, host: str, start: int, length: int) -> None:
        """A range, holes and all."""
        if region := self.region(host):
            lengths = addresses([length * PAGE_BYTES])
            if start + length > region.pages_long:
                with pytest.raises(OutOfRange):
                    self.device.trim(self.ref(region), at(start), lengths, self.now)
                return
            outcome = self.device.trim(self.ref(region), at(start), lengths, self.now)
            assert outcome.trimmed_pages == self.model.trim(host, range(start, start + length))

    @rule(host=hosts, wait=st.booleans())
    def flush(self, host: str, wait: bool) -> None:
        """Done when all that was queued before it is released."""
        if region := self.region(host):
            flush = self.open_flush(region)
            if wait:
                self.now = flush.due_ns
                self.model.advance(self.now)
                if self.region(host) is not region:
                    with pytest.raises(SessionError):
                        self.device.flush_done(flush.ticket, self.now)
                    return
            assert self.end_flush(flush) or not wait

    @rule(host=hosts)
    def begin_flush(self, host: str) -> None:
        """One that is asked after later, or never."""
        region = self.region(host)
        if region is not None and len(self.flushes) < 4:
            self.flushes.append(self.open_flush(region))

    @precondition(lambda self: self.flushes)
    @rule(data=st.data())
    def flush_done(self, data: st.DataObject) -> None:
        """It waits for what was queued before it, and for nothing that came behind."""
        flush = data.draw(st.sampled_from(self.flushes))
        ticket, region = flush.ticket, flush.region
        if ticket.ref.generation != self.device.generation or self.region(region.host) is not region:
            with pytest.raises(SessionError):
                self.device.flush_done(ticket, self.now)
            self.flushes.remove(flush)
            return
        if self.end_flush(flush):
            self.flushes.remove(flush)

    @rule(host=hosts, writable=st.integers(0, 4), unspent=st.integers(0, 4), wanted=st.integers(0, 8))
    def grant_credits(self, host: str, writable: int, unspent: int, wanted: int) -> None:
        """Whatever a host claims to hold."""
        region = self.region(host)
        if region is not None and writable + unspent <= region.pages_long:
            wanted = min(wanted, region.pages_long)
            request = CreditRequest(next(self.ids), writable, unspent, wanted)
            grant = self.device.grant_credits(self.ref(region), request, self.now)
            assert grant.granted == self.model.grant(host, writable + unspent, wanted, 500)

    # -- faults ---------------------------------------------------------------------------------

    @precondition(lambda self: len(self.faults) < 3)
    @rule(kind=st.sampled_from(("exhaustion", "collapse", "latency")), choice=st.integers(0, 2))
    def arm_one(self, kind: str, choice: int) -> None:
        """Layers on one another, up to three."""
        if kind == "exhaustion":
            share = (100, 400, 1000)[choice]
            self.model.exhaustion[self.arm(ExhaustionFault(share_milli=share))] = PHYSICAL * share // 1000
        elif kind == "collapse":
            ratio = (1000, 1500, 3000)[choice]
            self.model.collapse[self.arm(RatioCollapseFault(ratio))] = ratio
        else:
            self.model.wall[self.arm(LatencyFault(device_ns=5, wall_ns=7))] = 7
        self.model.settle()

    @precondition(lambda self: self.faults)
    @rule(data=st.data())
    def clear(self, data: st.DataObject) -> None:
        """One, or all."""
        chosen = data.draw(st.sampled_from([*self.faults, None]))
        gone = [chosen] if chosen else list(self.faults)
        assert self.device.clear(chosen, self.now) == len(gone)
        for fault_id in gone:
            self.faults.remove(fault_id)
            for armed in (self.model.exhaustion, self.model.collapse, self.model.wall):
                armed.pop(fault_id, None)
        self.model.settle()

    @rule(host=hosts, data=st.data())
    def poison(self, host: str, data: st.DataObject) -> None:
        """Pages that hold data."""
        region = self.region(host)
        if region is not None and region.pages:
            pages = data.draw(
                st.lists(st.sampled_from(sorted(region.pages)), min_size=1, max_size=3, unique=True)
            )
            self.arm(PoisonFault(host, dpas=tuple(page * PAGE_BYTES for page in pages)))
            self.model.poison(host, pages)

    @rule(really=st.integers(0, 3))
    def restart(self, really: int) -> None:
        """Saved, and restored by another process: only faults, open calls and the log are gone."""
        if really:
            return
        told, seen = self.device.telemetry(None, self.now), self.device.counters
        self.device = saved_and_restored(self.device, self.now, self.now)
        self.device.counters.poison_created_staging_pages = seen.poison_created_staging_pages
        self.log_from = (told.event_sequence, told.watermark, told.no_more_writes)
        for gone in (self.reads, self.writes, self.flushes, self.faults):
            gone.clear()
        for armed in (self.model.exhaustion, self.model.collapse, self.model.wall):
            armed.clear()
        for region in self.model.regions.values():
            region.expires_ns = self.now + region.lease_ns
        self.model.settle()

    @rule(really=st.integers(0, 9))
    def reset(self, really: int) -> None:
        """Rarely: it is the end of all the others."""
        if not really:
            self.arm(ResetFault())
            self.model.power_on()
            self.log_from = NO_LOG
            for host in HOSTS:
                self.attach(host, REGION_PAGES, 0, None, take_over=False)


TestDeviceMachine = DeviceMachine.TestCase
TestDeviceMachine.settings = settings(
    max_examples=120,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    # A device takes a while to build, and to be audited after every step.
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much),
)
