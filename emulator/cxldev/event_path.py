"""An event's way to one host: as the log has it, unless faults lie on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxldev.events import Event
    from cxldev.faults.armed import FaultLayers
    from cxldev.faults.hold import Hold


class _Waiting:
    """An event that goes later."""

    __slots__ = ("behind", "event", "hold", "times")

    def __init__(self, event: Event, times: int, hold: Hold, behind: int) -> None:
        self.event = event
        self.times = times
        self.hold = hold
        self.behind = behind


class EventPath:
    """One watcher's events on their way. Offer it every event that concerns the host; send what is ready.

    With no fault armed, an event is ready at once, in order. When a fault is cleared, all that it held is
    ready; what waits longest goes first.
    """

    def __init__(self, faults: FaultLayers, host: str) -> None:
        self._faults = faults
        self._host = host
        self._ready: list[Event] = []
        self._waiting: list[_Waiting] = []

    def offer(self, event: Event, now_ns: int) -> None:
        """The next event of the log that concerns the host."""
        passage = self._faults.deliver(event, self._host, now_ns)
        if not passage.times:
            return
        if passage.hold is not None:
            self._waiting.append(_Waiting(event, passage.times, passage.hold, passage.behind))
            return
        self._ready += [event] * passage.times
        for other in self._waiting:
            other.behind -= 1 if other.behind > 0 else 0
            if not other.behind and other.hold.until_ns is None:
                self._ready += [other.event] * other.times
        self._waiting = [one for one in self._waiting if one.behind or one.hold.until_ns is not None]

    def ready(self, now_ns: int) -> list[Event]:
        """What is to be sent now, in this order. It is given out once."""
        armed = self._faults.ids
        for one in self._waiting:
            if not one.hold.holds(armed, now_ns):
                self._ready += [one.event] * one.times
        self._waiting = [one for one in self._waiting if one.hold.holds(armed, now_ns)]
        events, self._ready = self._ready, []
        return events

    def next_ns(self, now_ns: int) -> int | None:
        """When to ask again if nothing else happens; None: when there is another event.

        (A fault that is armed or cleared is an event of the log, too.)
        """
        times = [one.hold.until_ns for one in self._waiting if one.hold.until_ns is not None]
        return max(now_ns, min(times)) if times else None
