"""Event streams. A watcher is a cursor into the device's event log: one that never reads costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxldev.errors import InvalidField, SessionError
from cxldev.events import Missed, RegionDetached
from cxldevd.waiting import ring_when_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from cxldev.events import Event
    from cxldev.outcomes import SessionRef
    from cxldev.telemetry import Telemetry
    from cxldevd.runtime import Power, Runtime

_AT_ONCE: Final = 64
"""Events that a watcher holds while it sends them; what comes behind stays in the log."""


@dataclass(frozen=True, slots=True)
class Started:
    """Where a stream begins."""

    after_sequence: int
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Told:
    """An event as a host is told of it."""

    event: Event
    previous_sequence: int
    """The event that the host was told of before, or where the stream began."""


def watch_region(
    runtime: Runtime, ref: SessionRef, after: int | None, context: grpc.ServicerContext
) -> Iterator[Started | Missed | Told]:
    """What the session's host is to be told. Ends only by raising, or when the caller is gone.

    Raises:
        InvalidField: `after` lies in the future.
        SessionError: the session was over; the events that led there were told first.
        DeviceBusy: the service drains.
    """
    ring_when_gone(context, runtime.changed)
    with runtime.device() as (device, now_ns):
        host = device.host_of(ref, now_ns)
        power = runtime.power
        telemetry = device.telemetry(ref, now_ns)
    cursor = telemetry.event_sequence if after is None else after
    if cursor > telemetry.event_sequence:
        raise InvalidField(
            f"after_sequence {cursor} lies behind the newest event, {telemetry.event_sequence}"
        )
    # The session is alive: what ended sessions of this host until here ended earlier ones.
    alive_at = telemetry.event_sequence
    previous = cursor
    yield Started(cursor, telemetry)
    while context.is_active():
        runtime.refuse_if_draining()
        seen = runtime.changed.strokes
        over: SessionError | None = None
        with runtime.device() as (device, now_ns):
            try:
                # Before the log is read: it may be this look that finds the lease run out.
                device.host_of(ref, now_ns)
            except SessionError as error:
                over = error
            missed, events = power.log.after(cursor)
        if missed is not None:
            cursor = previous = missed.last_sequence
            yield missed
            if over is not None and cursor > alive_at:
                raise over  # its end may be among them, and what follows of the host's next session
        for event in events[:_AT_ONCE]:
            cursor = event.sequence
            if event.concerns(host):
                yield Told(event, previous)
                previous = cursor
                if over is not None and cursor > alive_at and isinstance(event.kind, RegionDetached):
                    raise over  # what follows is of the host's next session
        if not events:
            if over is not None:
                raise over
            runtime.changed.wait(seen)


def watch_all(
    runtime: Runtime, after: int | None, context: grpc.ServicerContext
) -> Iterator[Started | Missed | Event]:
    """Every event; goes on with the next power-on's, behind another `Started`, when the device was reset.

    Raises:
        DeviceBusy: the service drains.
    """
    ring_when_gone(context, runtime.changed)
    with runtime.device() as (device, now_ns):
        power: Power = runtime.power
        telemetry = device.telemetry(None, now_ns)
    newest = telemetry.event_sequence
    # Who comes back after the process was restarted may ask for what lies in the future: begin now.
    cursor = newest if after is None else min(after, newest)
    yield Started(cursor, telemetry)
    while context.is_active():
        runtime.refuse_if_draining()
        seen = runtime.changed.strokes
        with runtime.device() as (device, now_ns):
            missed, events = power.log.after(cursor)
            following = None if events else power.next
            if following is not None:
                power, cursor = following, 0
                telemetry = device.telemetry(None, now_ns)
        if following is not None:
            yield Started(0, telemetry)
            continue
        if missed is not None:
            cursor = missed.last_sequence
            yield missed
        for event in events[:_AT_ONCE]:
            cursor = event.sequence
            yield event
        if not events:
            runtime.changed.wait(seen)
