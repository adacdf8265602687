"""The device: one object, all calls. Not thread-safe: hold one lock around every call.

The expensive parts, compressing and expanding, stand between the two phases of a write or a read and
are done by a `PageCodec`, without the lock. Times are ns of one monotonic clock of the caller's.

Every call of a session may raise, in this order and before anything else: InvalidField (session or
generation empty), StaleGeneration, LeaseExpired, SessionEnded, UnknownSession. Data calls do not
renew the lease.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cxldev import audit, report
from cxldev.capacity import CapacityControl
from cxldev.checks import page_numbers, page_ranges
from cxldev.control import ControlPath
from cxldev.credits import CreditRequest, grant_credits
from cxldev.errors import InvalidField
from cxldev.events import DetachCause, DeviceReset
from cxldev.faults import Command, FaultLayers, Operation, ResetFault
from cxldev.faults.loss import answered
from cxldev.faults.page_choice import PageChoice
from cxldev.hit_pages import hit_pages
from cxldev.outcomes import (
    Attachment,
    CreditGrant,
    FlushOutcome,
    FlushTicket,
    Injected,
    PageDescription,
    PageKind,
    ReadOutcome,
    ReadTicket,
    SessionRef,
    TrimOutcome,
    WriteOutcome,
    WriteTicket,
)
from cxldev.placement import RegionRequest, attach_region, resize_region
from cxldev.power_on import PowerOn
from cxldev.read_path import close_read, open_read
from cxldev.release_path import begin_flush, flush_done, flush_due, trim_ranges
from cxldev.saved_state import Snapshot
from cxldev.telemetry import Counters
from cxldev.write_path import store_pages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxldev.codec import Buffer, CompressedPages, ExpandedPages, PageCodec
    from cxldev.config import DeviceConfig
    from cxldev.events import EventLog
    from cxldev.faults import Fault
    from cxldev.regions import Region
    from cxldev.saved_state import ChangeMark
    from cxldev.telemetry import Status, Telemetry

__all__ = [
    "Attachment",
    "CreditGrant",
    "CreditRequest",
    "Device",
    "FlushOutcome",
    "FlushTicket",
    "Injected",
    "PageDescription",
    "PageKind",
    "ReadOutcome",
    "ReadTicket",
    "SessionRef",
    "TrimOutcome",
    "WriteOutcome",
    "WriteTicket",
]

_TIDY_PAUSE_NS: Final = 1_000_000
"""Between two steps of tidying up while nothing else happens: others may want the lock."""


class Device:
    """One device, over all its generations."""

    def __init__(self, config: DeviceConfig, *, generation: str, now_ns: int) -> None:
        if not generation:
            raise InvalidField("a generation needs an id")
        self.config = config
        self.counters = Counters()
        self._faults = FaultLayers()
        self.control = ControlPath(self._faults)
        self.capacity = CapacityControl(lambda: self._power)
        self._power = PowerOn(config, generation, self.counters, self._faults, now_ns)

    @property
    def generation(self) -> str:
        """Id of this power-on."""
        return self._power.generation

    @property
    def events(self) -> EventLog:
        """Events of this generation. A reset begins a new log; the old one can be read to its end."""
        return self._power.events

    # -- sessions -------------------------------------------------------------------------------

    def attach(
        self,
        *,
        session: str,
        host: str,
        logical_bytes: int,
        guaranteed_media_bytes: int = 0,
        limit_media_bytes: int | None = None,
        lease_ns: int | None = None,
        take_over: bool = False,
        now_ns: int,
    ) -> Attachment:
        """Give a host a region, held by the new `session` (an id never used before).

        Raises:
            InvalidField, NotAligned: an argument that no device could take.
            AlreadyAttached: the host holds a region and does not take over.
            LogicalCapacity: regions would outgrow the logical capacity, or be too many.
            GuaranteeCapacity: guarantees would outgrow the physical capacity.
        """
        self._power.tick(now_ns)
        request = RegionRequest(
            session,
            host,
            logical_bytes,
            guaranteed_media_bytes,
            limit_media_bytes,
            lease_ns,
            take_over,
        )
        return self._attachment(attach_region(self._power, request))

    def renew(self, ref: SessionRef, now_ns: int) -> Attachment:
        """Start the lease anew."""
        region = self._region(ref, now_ns)
        region.expires_ns = self._power.now_ns + region.lease_ns
        return self._attachment(region)

    def resize(self, ref: SessionRef, logical_bytes: int, now_ns: int) -> Telemetry:
        """Grow or shrink a region.

        Raises:
            InvalidField, NotAligned: not a size.
            LogicalCapacity: regions would outgrow the logical capacity, or the device wants some back.
            RegionInUse: pages that would be cut off hold data.
        """
        region = self._region(ref, now_ns)
        resize_region(self._power, region, logical_bytes)
        return self._power.telemetry(region)

    def grant_credits(self, ref: SessionRef, request: CreditRequest, now_ns: int) -> CreditGrant:
        """Promise media to pages that the host maps writable.

        Raises:
            InvalidField: see `credits.grant_credits`.
        """
        region = self._region(ref, now_ns)
        granted = grant_credits(self._power, region, request)
        return CreditGrant(granted, self._power.telemetry(region))

    def detach(self, ref: SessionRef, now_ns: int) -> int:
        """End a session and release its media at once, whatever is queued. Returns the bytes released."""
        return self._power.drop(self._region(ref, now_ns), DetachCause.REQUESTED)

    def telemetry(self, ref: SessionRef | None, now_ns: int) -> Telemetry:
        """The device now, with the region of a session if one is given."""
        if ref is None:
            self._power.tick(now_ns)
            return self._power.telemetry()
        return self._power.telemetry(self._region(ref, now_ns))

    def host_of(self, ref: SessionRef, now_ns: int) -> str:
        """Name of the host that holds a session."""
        return self._region(ref, now_ns).host

    def holder(self, ref: SessionRef) -> str:
        """As `host_of`, as of the last call: no time passes, no lease runs out of being asked."""
        return self._power.regions.find(ref).host

    # -- data -----------------------------------------------------------------------------------

    def begin_write(
        self, ref: SessionRef, dpas: NDArray[np.uint64], data_bytes: int, now_ns: int
    ) -> WriteTicket:
        """Check a write before its pages are compressed. A ticket that is dropped costs nothing.

        Raises:
            EmptyRequest, TooMany, DataLength, NotAligned, OutOfRange, Overlapping.
        """
        region = self._region(ref, now_ns)
        pages = page_numbers(dpas, region.pages, self.config.max_pages_per_request, data_bytes)
        loss = None
        if self._faults.armed:
            loss = self._faults.arrive(Command(Operation.WRITE, region.host, len(pages), pages))
        return WriteTicket(ref, pages, region.pages, loss)

    def commit_write(
        self, ticket: WriteTicket, pages: CompressedPages, now_ns: int, *, in_flight_pages: int = 0
    ) -> WriteOutcome:
        """Store the pages of a ticket. Writes take effect in the order of their commits.

        Args:
            ticket: what `begin_write` gave; the session is checked again.
            pages: the compressed pages, one for each address.
            now_ns: the caller's clock.
            in_flight_pages: pages of other commands that the device is busy with (latency model).

        Raises:
            NoMoreWrites, RegionLimit: a page did not fit; the pages before it are stored.
            OutOfRange: the region shrank since `begin_write`.
        """
        region = self._region(ticket.ref, now_ns)
        with answered(ticket.loss):
            return store_pages(self._power, region, ticket, pages, in_flight_pages)

    def begin_read(self, ref: SessionRef, dpas: NDArray[np.uint64], now_ns: int) -> ReadTicket:
        """Look pages up. Every ticket must be ended, by `end_read` or `abandon_read`.

        Raises:
            EmptyRequest, TooMany, NotAligned, OutOfRange, Overlapping.
        """
        region = self._region(ref, now_ns)
        pages = page_numbers(dpas, region.pages, self.config.max_pages_per_request)
        loss = None
        if self._faults.armed:
            loss = self._faults.arrive(Command(Operation.READ, region.host, len(pages), pages))
        return open_read(self._power, region, ref, pages, loss)

    def end_read(
        self, ticket: ReadTicket, expanded: ExpandedPages, now_ns: int, *, in_flight_pages: int = 0
    ) -> ReadOutcome:
        """Hand out what a ticket's pages held when the read began.

        Raises:
            Poisoned: names all pages of the request that are lost.
        """
        self._power.tick(now_ns)
        with answered(ticket.loss):
            return close_read(self._power, ticket, expanded, in_flight_pages)

    def abandon_read(self, ticket: ReadTicket) -> None:
        """End a read that failed. Harmless if it is ended already."""
        ticket.arena.end_read(ticket.number)

    def trim(
        self, ref: SessionRef, starts: NDArray[np.uint64], lengths: NDArray[np.uint64], now_ns: int
    ) -> TrimOutcome:
        """Empty these ranges (bytes). They read as zeros at once; media comes back after the TRIM delay.

        Raises:
            EmptyRequest, TooMany, NotAligned, OutOfRange, Overlapping.
        """
        region = self._region(ref, now_ns)
        ranges = page_ranges(starts, lengths, region.pages, self.config.max_ranges_per_trim)
        return trim_ranges(self._power, region, ranges)

    def begin_flush(self, ref: SessionRef, now_ns: int) -> FlushTicket:
        """Ask for all writes and TRIMs of the region so far to be done."""
        return begin_flush(self._power, self._region(ref, now_ns), ref)

    def flush_due(self, ticket: FlushTicket, now_ns: int) -> int | None:
        """When it is done by itself; the moment of the call if it is.

        None: not while the faults are armed that it hangs in. Ask again when there is an event.
        """
        return flush_due(self._power, self._region(ticket.ref, now_ns), ticket)

    def flush_done(self, ticket: FlushTicket, now_ns: int) -> FlushOutcome | None:
        """The outcome, or None if it is not done yet: ask again when `flush_due` says."""
        return flush_done(self._power, self._region(ticket.ref, now_ns), ticket)

    def advance(self, now_ns: int) -> int | None:
        """Let what is due happen: leases, TRIMs, staged writes, and one step of tidying up the arena.

        Returns when to come again, if at all.
        """
        power = self._power
        power.tick(now_ns)
        deadline = power.deadline()
        if power.tidy():
            again = power.now_ns + _TIDY_PAUSE_NS
            return again if deadline is None else min(deadline, again)
        return deadline

    # -- both phases at once, for a caller with one thread ------------------------------------------

    def write(
        self, ref: SessionRef, dpas: NDArray[np.uint64], data: Buffer, now_ns: int, *, codec: PageCodec
    ) -> WriteOutcome:
        """`begin_write`, compress, `commit_write`."""
        ticket = self.begin_write(ref, dpas, memoryview(data).nbytes, now_ns)
        return self.commit_write(ticket, codec.compress(data), now_ns)

    def read(
        self, ref: SessionRef, dpas: NDArray[np.uint64], now_ns: int, *, codec: PageCodec
    ) -> ReadOutcome:
        """`begin_read`, expand, `end_read`."""
        ticket = self.begin_read(ref, dpas, now_ns)
        try:
            return self.end_read(ticket, codec.expand(ticket.stored), now_ns)
        finally:
            self.abandon_read(ticket)

    # -- the operator's side ----------------------------------------------------------------------

    def inject(self, fault: Fault, now_ns: int, *, next_generation: str) -> Injected:
        """Arm a fault, or do at once what is not held (poison, bit flip, reset).

        Args:
            fault: what to do.
            now_ns: the caller's clock.
            next_generation: id of the power-on that a reset begins.

        Raises:
            InvalidField, TooMany, NotAligned, OutOfRange, Overlapping: the fault cannot be injected.
            UnknownHost: poison or bit flips for a host without a region.
        """
        power = self._power
        power.tick(now_ns)
        fault.check(self.config)
        if isinstance(fault, PageChoice):
            return Injected("", hit_pages(power, fault))
        if isinstance(fault, ResetFault):
            self._reset(next_generation)
            return Injected("", ())
        fault_id = self._faults.arm(fault, power.now_ns)
        power.armed(fault_id, fault.kind)
        return Injected(fault_id, ())

    def clear(self, fault_id: str | None, now_ns: int) -> int:
        """Disarm one fault, or all (None). Returns how many. Raises UnknownFault."""
        power = self._power
        power.tick(now_ns)
        gone = self._faults.disarm(fault_id)
        power.disarmed(gone)
        return len(gone)

    def status(self, now_ns: int) -> Status:
        """All that the operator may know, in one consistent reading."""
        self._power.tick(now_ns)
        return report.status(self._power)

    def describe(self, host: str, dpas: NDArray[np.uint64]) -> list[PageDescription]:
        """What the media holds for pages of a host.

        Raises:
            UnknownHost, EmptyRequest, TooMany, NotAligned, OutOfRange, Overlapping.
        """
        region = self._power.regions.must_have(host)
        return report.describe(region, page_numbers(dpas, region.pages, self.config.max_pages_per_request))

    # -- outliving the process ----------------------------------------------------------------------

    @property
    def power(self) -> PowerOn:
        """The power-on of now: for `restore`, which fills a new one, `single_pages`, `several_commands`."""
        return self._power

    @property
    def change_mark(self) -> ChangeMark:
        """Equal marks: nothing that a snapshot tells of has changed. It may be read without the lock."""
        return self._power.change_mark

    def snapshot(self, now_ns: int) -> Snapshot:
        """Begin to gather the state of this moment. See `saved_state` for how to go on."""
        self._power.tick(now_ns)
        return Snapshot(self._power)

    def audit(self) -> None:
        """Count everything again from the ground. Slow. Raises CapacityIdentityBroken."""
        audit.audit(self._power)

    # -- inside -----------------------------------------------------------------------------------

    def _region(self, ref: SessionRef, now_ns: int) -> Region:
        """The region of a session that is alive at this moment."""
        self._power.tick(now_ns)
        return self._power.regions.find(ref)

    def _attachment(self, region: Region) -> Attachment:
        return Attachment(region.session, self.generation, region.lease_ns, self._power.telemetry(region))

    def _reset(self, next_generation: str) -> None:
        old = self._power
        if not next_generation or next_generation == old.generation:
            raise InvalidField(f"the next generation needs an id of its own, not {next_generation[:80]!r}")
        old.record(DeviceReset(next_generation))
        old.regions.abandon()
        self.counters.resets += 1
        self._power = PowerOn(self.config, next_generation, self.counters, self._faults, old.now_ns)
        # Armed faults take their media from the new power-on, too.
        self._power.take_back()
        self._power.settle()
