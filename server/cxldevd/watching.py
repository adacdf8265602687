"""Event streams. A watcher is a cursor into the device's event log: one that never reads costs nothing."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxldev.errors import InvalidField, SessionError
from cxldev.events import Missed, RegionDetached
from cxldev.faults import Operation
from cxldevd.waiting import ring_when_gone

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from cxldev.event_path import EventPath
    from cxldev.events import Event
    from cxldev.outcomes import SessionRef
    from cxldev.telemetry import Telemetry
    from cxldevd.control_path import ControlPath
    from cxldevd.runtime import Power, Runtime

_AT_ONCE: Final = 64
"""Events that a watcher holds while it sends them; what comes behind stays in the log."""
_REMEMBERED: Final = 1024
"""Events of one stream whose predecessor is known."""


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
    """The event that the host was to be told before, or where the stream began."""


class Way:
    """The events of one stream, each with the one before it, on their way through the faults."""

    def __init__(self, path: EventPath) -> None:
        self._path = path
        self._newest = 0
        self._previous: OrderedDict[int, int] = OrderedDict()

    def begins(self, sequence: int) -> None:
        """What comes next is behind this one."""
        self._newest = sequence

    def offer(self, event: Event, now_ns: int) -> None:
        """The next event that concerns the host. Needs the device's lock, as all the following."""
        self._previous[event.sequence] = self._newest
        self._newest = event.sequence
        if len(self._previous) > _REMEMBERED:
            self._previous.popitem(last=False)
        self._path.offer(event, now_ns)

    def ready(self, now_ns: int) -> list[Told]:
        """What is to be sent now, in this order."""
        # Who is told of an event so late does not ask what came before it.
        return [Told(event, self._previous.get(event.sequence, 0)) for event in self._path.ready(now_ns)]

    def next_ns(self, now_ns: int) -> int | None:
        """When there is something to send, if nothing happens before."""
        return self._path.next_ns(now_ns)


def watch_region(
    runtime: Runtime,
    control: ControlPath,
    ref: SessionRef,
    after: int | None,
    context: grpc.ServicerContext,
) -> Iterator[Started | Missed | Told]:
    """What the session's host is to be told. Ends only by raising, or when the caller is gone.

    Faults may lie on the way of events, and on the control path, which each batch of them takes.

    Raises:
        InvalidField: `after` lies in the future.
        SessionError: the session was over; the events that led there were told first.
        DeviceBusy: the service drains.
        CommandLost: the host is to hear no more on this stream.
    """
    with control.taken_up(Operation.WATCH, ref, context):
        ring_when_gone(context, runtime.changed)
        with runtime.device() as (device, now_ns):
            host = device.host_of(ref, now_ns)
            power = runtime.power
            telemetry = device.telemetry(ref, now_ns)
            way = Way(device.control.event_path(host))
    cursor = telemetry.event_sequence if after is None else after
    if cursor > telemetry.event_sequence:
        raise InvalidField(
            f"after_sequence {cursor} lies behind the newest event, {telemetry.event_sequence}"
        )
    # The session is alive: what ended sessions of this host until here ended earlier ones.
    alive_at = telemetry.event_sequence
    way.begins(cursor)
    yield Started(cursor, telemetry)
    while context.is_active():
        runtime.refuse_if_draining()
        seen = runtime.changed.strokes
        over: SessionError | None = None
        ended = False
        with runtime.device() as (device, now_ns):
            try:
                # Before the log is read: it may be this look that finds the lease run out.
                device.host_of(ref, now_ns)
            except SessionError as error:
                over = error
            missed, events = power.log.after(cursor)
            if missed is not None:
                cursor = missed.last_sequence
                way.begins(cursor)
                # The session's end may be among them, and what follows of the host's next session.
                ended = over is not None and cursor > alive_at
            for event in () if ended else events[:_AT_ONCE]:
                cursor = event.sequence
                if event.concerns(host):
                    way.offer(event, now_ns)
                    if over is not None and cursor > alive_at and isinstance(event.kind, RegionDetached):
                        ended = True  # what follows is of the host's next session
                        break
            told = way.ready(now_ns)
            again_ns = way.next_ns(now_ns)
        if missed is not None:
            yield missed
        if told:
            with control.taken_up(Operation.WATCH, host, context):
                pass
            yield from told
        if over is not None and (ended or not events):
            raise over
        if not events:
            runtime.changed.wait(seen, again_ns)


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
