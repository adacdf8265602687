"""Faults are layers with the device's own interface: one file each, armed and cleared live."""

from __future__ import annotations

from dataclasses import dataclass

from cxldev.faults.exhaustion import ExhaustionFault
from cxldev.faults.latency import LatencyFault
from cxldev.faults.poison import PoisonFault
from cxldev.faults.ratio_collapse import RatioCollapseFault
from cxldev.faults.reset import ResetFault

Fault = ExhaustionFault | PoisonFault | RatioCollapseFault | LatencyFault | ResetFault


@dataclass(frozen=True, slots=True)
class ArmedFault:
    """A fault that is armed, as it stands at the moment of asking."""

    fault_id: str
    fault: Fault
    armed_ns: int
    """The clock that the device was called with."""
    fired: int
    """How many commands or pages it changed."""


__all__ = [
    "ArmedFault",
    "ExhaustionFault",
    "Fault",
    "LatencyFault",
    "PoisonFault",
    "RatioCollapseFault",
    "ResetFault",
]
