"""The faults that are armed, as one layer over the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cxldev.errors import InvalidField, UnknownFault
from cxldev.faults.exhaustion import ExhaustionFault
from cxldev.faults.latency import LatencyFault
from cxldev.faults.poison import PoisonFault
from cxldev.faults.ratio_collapse import RatioCollapseFault
from cxldev.faults.reset import ResetFault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxldev.faults.layer import Command, Delay, Layer

HeldFault = ExhaustionFault | RatioCollapseFault | LatencyFault
"""Stays armed until it is cleared."""
Fault = HeldFault | PoisonFault | ResetFault

LAYER_ORDER: Final[tuple[type[HeldFault], ...]] = (ExhaustionFault, RatioCollapseFault, LatencyFault)
"""Innermost first: what is nearest to the media. Within one kind, the oldest is innermost."""


@dataclass(frozen=True, slots=True)
class ArmedFault:
    """A fault that is armed, as it stands at the moment of asking."""

    fault_id: str
    fault: Fault
    armed_ns: int
    """The clock that the device was called with."""
    fired: int
    """How many commands or pages it changed."""


@dataclass(frozen=True, slots=True)
class _Armed:
    fault_id: str
    fault: HeldFault
    armed_ns: int
    layer: Layer


class FaultLayers:
    """Armed faults in order. Asks each layer in turn; the result of one is the input of the next."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def arm(self, fault_id: str, fault: HeldFault, now_ns: int) -> None:
        """Put a checked fault in its place.

        Raises:
            InvalidField: the id is empty or in use.
        """
        if not fault_id or any(one.fault_id == fault_id for one in self._armed):
            raise InvalidField(f"fault id {fault_id[:80]!r} is empty or in use")
        self._armed.append(_Armed(fault_id, fault, now_ns, fault.layer()))
        self._armed.sort(key=lambda one: LAYER_ORDER.index(type(one.fault)))

    def disarm(self, fault_id: str | None) -> list[tuple[str, str]]:
        """Take away one fault, or all of them. Returns (id, kind) of each.

        Raises:
            UnknownFault: no fault with this id is armed.
        """
        gone = [one for one in self._armed if fault_id in (None, one.fault_id)]
        if fault_id is not None and not gone:
            raise UnknownFault(f"no fault {fault_id[:80]!r} is armed: ask for the list of armed faults")
        self._armed = [one for one in self._armed if one not in gone]
        return [(one.fault_id, one.fault.kind) for one in gone]

    def listed(self) -> tuple[ArmedFault, ...]:
        """All armed faults, innermost first."""
        return tuple(
            ArmedFault(one.fault_id, one.fault, one.armed_ns, one.layer.fired) for one in self._armed
        )

    @property
    def armed(self) -> bool:
        """Whether any fault lies between a command and the plain device."""
        return bool(self._armed)

    # -- the device's interface, through all layers -----------------------------------------------

    def held_back_bytes(self, physical_bytes: int) -> int:
        """Media that hosts cannot have: all layers' together, and no more than there is."""
        return min(physical_bytes, sum(one.layer.held_back_bytes(physical_bytes) for one in self._armed))

    def sectors_for(self, sectors: NDArray[np.int64], sector_bytes: int) -> NDArray[np.int64]:
        """Sectors that pages being written take, one entry a page."""
        for one in self._armed:
            sectors = one.layer.sectors_for(sectors, sector_bytes)
        return sectors

    def stored(self, sectors: NDArray[np.int64], sector_bytes: int) -> None:
        """Pages were stored that would take so many sectors without any fault."""
        for one in self._armed:
            one.layer.stored(sectors, sector_bytes)
            sectors = one.layer.sectors_for(sectors, sector_bytes)

    def delay(self, command: Command, delay: Delay) -> Delay:
        """What a data command takes."""
        for one in self._armed:
            delay = one.layer.delay(command, delay)
        return delay

    def turned_away(self, pages: int) -> None:
        """Pages found no room on the media."""
        for one in self._armed:
            one.layer.turned_away(pages)
