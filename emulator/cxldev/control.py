"""The control path under faults: commands that wait, that are refused or lost, and events on their way.

The service asks here before it carries a control command out, and again before it answers. Data commands
need none of this: their own calls do the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxldev.event_path import EventPath
from cxldev.faults import Command
from cxldev.faults.hold import until

if TYPE_CHECKING:
    from cxldev.faults import FaultLayers, Operation
    from cxldev.faults.hold import Hold
    from cxldev.faults.loss import Loss


@dataclass(frozen=True, slots=True)
class Arrival:
    """A control command that has arrived, and was not refused."""

    holds: tuple[Hold, ...] = ()
    """Faults that it stalls in."""
    loss: Loss | None = None
    """What a fault does to the answer: `faults.loss.answered` around carrying it out does it."""


_FREE = Arrival()


class ControlPath:
    """What faults do to control commands. Times are ns of the clock that the device is called with."""

    def __init__(self, faults: FaultLayers) -> None:
        self._faults = faults

    def arrive(self, operation: Operation, host: str, now_ns: int) -> Arrival:
        """A control command arrives. It may be carried out when `stalled_until` is not after the present.

        Args:
            operation: one of `faults.scope.CONTROL`.
            host: its host, or empty where it is not known.
            now_ns: the caller's clock.

        Raises:
            CommandRefused: answer so; nothing was done.
            CommandLost: do not carry it out, and let no answer arrive.
        """
        if not self._faults.armed:
            return _FREE
        command = Command(operation, host)
        loss = self._faults.arrive(command)
        return Arrival(self._faults.holds(command, now_ns), loss)

    def stalled_until(self, arrival: Arrival, now_ns: int) -> int | None:
        """When it may be carried out: `now_ns` if at once; None: not while those faults are armed.

        Ask again at that time and whenever there is an event: a cleared fault is one.
        """
        return until(arrival.holds, self._faults.ids, now_ns)

    def event_path(self, host: str) -> EventPath:
        """The way of one watcher's events. Over resets, too."""
        return EventPath(self._faults, host)
