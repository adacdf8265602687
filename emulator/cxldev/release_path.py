"""TRIM and FLUSH: pages given up, and waiting until their media is really back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldev.faults import Command, Delay, Operation
from cxldev.faults.hold import until
from cxldev.faults.loss import answered
from cxldev.outcomes import FlushOutcome, FlushTicket, SessionRef, TrimOutcome

if TYPE_CHECKING:
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


def trim_ranges(power: PowerOn, region: Region, ranges: list[tuple[int, int]]) -> TrimOutcome:
    """Empty ranges of pages (first, and the one behind the last). Media comes back after the TRIM delay.

    Raises:
        CommandRefused, CommandLost: a fault.
    """
    pages = region.table.stored_among(ranges)
    trimmed = len(pages)
    command = Command(Operation.TRIM, region.host, trimmed, ranges=ranges)
    with answered(power.faults.arrive(command)):
        due_ns = None
        if trimmed:
            with_media = trimmed - power.heal(region, pages)
            sectors = power.empty(region, pages)
            if with_media:
                soonest_ns = power.now_ns + power.config.trim_delay_ns
                holds = power.faults.holds(command, soonest_ns)
                region.trims.push(with_media, sectors, soonest_ns, holds)
                due_ns = power.trim_queued(region)
        power.counters.trim_requests += 1
        power.counters.trimmed_pages += trimmed
        delay = _delay(power, command, len(ranges))
        return TrimOutcome(trimmed, delay.device_ns, delay.wall_ns, due_ns)


def begin_flush(power: PowerOn, region: Region, ref: SessionRef) -> FlushTicket:
    """A FLUSH of all writes and TRIMs of the region so far.

    Raises:
        CommandRefused, CommandLost: a fault.
    """
    command = Command(Operation.FLUSH, region.host)
    loss = power.faults.arrive(command)
    return FlushTicket(
        ref,
        region.trims.last_number,
        region.trims.released_bytes,
        region.last_staged,
        region.last_staged_due_ns,
        power.faults.holds(command, power.now_ns),
        loss,
    )


def flush_due(power: PowerOn, region: Region, ticket: FlushTicket) -> int | None:
    """When it is done by itself; the present if it is; None: not while faults are armed that it hangs in."""
    armed, now_ns = power.faults.ids, power.now_ns
    trims_ns = region.trims.due_ns(ticket.through_trim, armed, now_ns)
    held_ns = until(ticket.holds, armed, now_ns)
    if trims_ns is None or held_ns is None:
        return None
    return max(trims_ns, held_ns, 0 if _drained(power, ticket) else ticket.staged_due_ns)


def flush_done(power: PowerOn, region: Region, ticket: FlushTicket) -> FlushOutcome | None:
    """The outcome, or None if it is not done yet."""
    if region.trims.done_number < ticket.through_trim or not _drained(power, ticket):
        return None
    if any(hold.holds(power.faults.ids, power.now_ns) for hold in ticket.holds):
        return None
    with answered(ticket.loss):
        power.counters.flush_requests += 1
        delay = _delay(power, Command(Operation.FLUSH, region.host), 1)
        released = region.trims.released_bytes - ticket.released_before_bytes
        return FlushOutcome(released, delay.device_ns, delay.wall_ns)


def _drained(power: PowerOn, ticket: FlushTicket) -> bool:
    return power.staging is None or power.staging.done_number >= ticket.through_staged


def _delay(power: PowerOn, command: Command, parts: int) -> Delay:
    return power.faults.delay(command, Delay(power.latency.of_command(parts), 0))
