"""The faults that are armed, as one layer over the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from cxldev.errors import CommandLost, CommandRefused, UnknownFault
from cxldev.events import ClearCause
from cxldev.faults.control_stall import ControlStallFault
from cxldev.faults.dropped_connection import DroppedConnectionFault
from cxldev.faults.event import EventFault
from cxldev.faults.exhaustion import ExhaustionFault
from cxldev.faults.flush_hang import FlushHangFault
from cxldev.faults.latency import LatencyFault
from cxldev.faults.layer import Aspect, HeldFault, Passage
from cxldev.faults.ratio_collapse import RatioCollapseFault
from cxldev.faults.read_only_media import ReadOnlyMediaFault
from cxldev.faults.refused_command import RefusedCommandFault
from cxldev.faults.scope import Command, Operation
from cxldev.faults.staging_overflow import StagingOverflowFault
from cxldev.faults.storing import PLAIN, Storing
from cxldev.faults.stuck_trim import StuckTrimFault
from cxldev.faults.unanswered_command import UnansweredCommandFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from cxldev.events import Event
    from cxldev.faults.hold import Hold
    from cxldev.faults.layer import Delay, Layer
    from cxldev.faults.loss import Loss

LAYER_ORDER: Final[tuple[type[HeldFault], ...]] = (
    ExhaustionFault,
    RatioCollapseFault,
    ReadOnlyMediaFault,
    StagingOverflowFault,
    StuckTrimFault,
    FlushHangFault,
    LatencyFault,
    RefusedCommandFault,
    ControlStallFault,
    UnansweredCommandFault,
    DroppedConnectionFault,
    EventFault,
)
"""Innermost first: what is nearest to the media. Within one kind, the oldest is innermost."""


@dataclass(frozen=True, slots=True)
class ArmedFault:
    """A fault that is armed, as it stands at the moment of asking."""

    fault_id: str
    fault: HeldFault
    armed_ns: int
    """The clock that the device was called with."""
    fired: int
    """How many commands, pages or events it changed."""
    left: int | None
    """How often it may fire yet; None: as often as it will."""
    ends_ns: int | None
    """When it is cleared by itself; None: never."""


@dataclass(frozen=True, slots=True)
class Disarmed:
    """A fault that is not armed any more."""

    fault_id: str
    kind: str
    cause: ClearCause
    fired: int


class FaultLayers:
    """Armed faults in order. Asks each layer in turn; the result of one is the input of the next."""

    def __init__(self) -> None:
        self._layers: list[Layer] = []
        self._armed_so_far = 0
        self._fired_before: dict[str, int] = {}
        """Of faults that are not armed any more, by kind."""
        self.ids: frozenset[str] = frozenset()
        """Of what is armed."""

    def arm(self, fault: HeldFault, now_ns: int) -> str:
        """Put a checked fault in its place. Returns its id, as operators type it: `latency-2`."""
        self._armed_so_far += 1
        fault_id = f"{fault.kind.replace('_', '-')}-{self._armed_so_far}"
        self._layers.append(fault.layer(fault_id, now_ns))
        self._layers.sort(key=lambda layer: LAYER_ORDER.index(type(layer.fault)))
        self.ids |= {fault_id}
        return fault_id

    def disarm(self, fault_id: str | None) -> list[Disarmed]:
        """Take away one fault, or all of them.

        Raises:
            UnknownFault: no fault with this id is armed.
        """
        gone = [layer for layer in self._layers if fault_id in (None, layer.fault_id)]
        if fault_id is not None and not gone:
            raise UnknownFault(
                f"no fault {fault_id[:80]!r} is armed: `cramctl faults` lists those that are, with their ids"
            )
        return self._take_away(dict.fromkeys(gone, ClearCause.REQUESTED))

    def expire(self, now_ns: int) -> list[Disarmed]:
        """Take away those that have fired as often as they may, or whose time is over."""
        over = [layer for layer in self._layers if layer.over(now_ns)]
        return self._take_away(
            {layer: ClearCause.COUNT if layer.left == 0 else ClearCause.DURATION for layer in over}
        )

    def _take_away(self, causes: dict[Layer, ClearCause]) -> list[Disarmed]:
        if not causes:
            return []
        for layer in causes:
            kind = layer.fault.kind
            self._fired_before[kind] = self._fired_before.get(kind, 0) + layer.fired
        self._layers = [layer for layer in self._layers if layer not in causes]
        self.ids = frozenset(layer.fault_id for layer in self._layers)
        return [
            Disarmed(layer.fault_id, layer.fault.kind, cause, layer.fired) for layer, cause in causes.items()
        ]

    def listed(self) -> tuple[ArmedFault, ...]:
        """All armed faults, innermost first."""
        return tuple(
            ArmedFault(layer.fault_id, layer.fault, layer.armed_ns, layer.fired, layer.left, layer.ends_ns)
            for layer in self._layers
        )

    def fired_by_kind(self) -> dict[str, int]:
        """How often faults of each kind fired since the process started, armed or not any more."""
        total = {fault.kind: self._fired_before.get(fault.kind, 0) for fault in LAYER_ORDER}
        for layer in self._layers:
            total[layer.fault.kind] += layer.fired
        return total

    @property
    def armed(self) -> bool:
        """Whether any fault lies between a command and the plain device."""
        return bool(self._layers)

    # -- time ---------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> int | None:
        """Let time pass for what changes by itself. When something does so next, or ends, if at all."""
        times = [due for layer in self._layers if (due := layer.advance(now_ns)) is not None]
        return min(times, default=None)

    # -- the device's interface, through all layers -----------------------------------------------

    def held_back_bytes(self, physical_bytes: int) -> int:
        """Media that hosts cannot have: all layers' together, and no more than there is."""
        return min(physical_bytes, sum(layer.held_back_bytes(physical_bytes) for layer in self._layers))

    def turned_away(self, pages: int) -> None:
        """Pages found no room on the media."""
        for layer in self._layers:
            layer.turned_away(pages)

    def took_freed(self) -> None:
        """Media that came free went to what is held back."""
        for layer in self._layers:
            layer.took_freed()

    def storing(self, command: Command) -> Storing:
        """What lies between the pages of a write and the media."""
        layers = tuple(self._meet(Aspect.STORE, command)) if self._layers else ()
        return Storing(layers, command) if layers else PLAIN

    def lost_in_drain(self, command: Command) -> NDArray[np.bool_]:
        """Staged pages that are lost on their way to the media, one entry a page."""
        lost = np.zeros(command.pages, np.bool_)
        for layer in self._meet(Aspect.DRAIN, command):
            lost = layer.lost_in_drain(command, lost)
        return lost

    def holds(self, command: Command, from_ns: int) -> tuple[Hold, ...]:
        """What a command waits for, that would go on at `from_ns`."""
        found = [layer.hold(command, from_ns) for layer in self._meet(Aspect.HOLD, command)]
        return tuple(hold for hold in found if hold is not None)

    def delay(self, command: Command, delay: Delay) -> Delay:
        """What a data command takes."""
        for layer in self._meet(Aspect.DELAY, command):
            delay = layer.delay(command, delay)
        return delay

    def arrive(self, command: Command) -> Loss | None:
        """A command has arrived, and meets the outermost layer first. What becomes of its answer.

        Raises:
            CommandRefused: the device does not take it up.
            CommandLost: neither is it carried out, nor does an answer arrive.
        """
        loss = None
        for layer in reversed(self._layers):
            if layer.fault.aspect is Aspect.ANSWER and layer.meets(command):
                try:
                    inner = layer.arrive(command)
                except (CommandRefused, CommandLost):
                    if loss is not None:
                        loss.happen(carried_out=False)
                    raise
                loss = loss or inner
        return loss

    def deliver(self, event: Event, host: str, now_ns: int) -> Passage:
        """How an event goes to a host that it concerns: the first layer that changes its way decides."""
        watching = Command(Operation.WATCH, host)
        for layer in self._layers:
            if layer.fault.aspect is Aspect.DELIVER:
                passage = layer.deliver(watching, event, now_ns)
                if passage != Passage():
                    return passage
        return Passage()

    def _meet(self, aspect: Aspect, command: Command) -> Iterator[Layer]:
        """Layers of one aspect that concern the command, innermost first. Each draws once for it."""
        return (layer for layer in self._layers if layer.fault.aspect is aspect and layer.meets(command))
