"""Faults are layers with the device's own interface: one file each, armed and cleared live."""

from cxldev.faults.armed import LAYER_ORDER, ArmedFault, FaultLayers
from cxldev.faults.bit_flip import BitFlipFault
from cxldev.faults.control_stall import ControlStallFault
from cxldev.faults.dropped_connection import DroppedConnectionFault
from cxldev.faults.event import EventFault, EventTrouble
from cxldev.faults.exhaustion import ExhaustionFault
from cxldev.faults.flush_hang import FlushHangFault
from cxldev.faults.latency import LatencyFault
from cxldev.faults.layer import Delay, HeldFault
from cxldev.faults.poison import PoisonFault
from cxldev.faults.ratio_collapse import RatioCollapseFault
from cxldev.faults.read_only_media import ReadOnlyMediaFault
from cxldev.faults.refused_command import RefusedCommandFault
from cxldev.faults.reset import ResetFault
from cxldev.faults.scope import Command, Operation, Scope
from cxldev.faults.staging_overflow import StagingOverflowFault
from cxldev.faults.stuck_trim import StuckTrimFault
from cxldev.faults.unanswered_command import UnansweredCommandFault

Fault = HeldFault | PoisonFault | BitFlipFault | ResetFault
"""What can be injected: held ones, and those that are done at once."""

__all__ = [
    "LAYER_ORDER",
    "ArmedFault",
    "BitFlipFault",
    "Command",
    "ControlStallFault",
    "Delay",
    "DroppedConnectionFault",
    "EventFault",
    "EventTrouble",
    "ExhaustionFault",
    "Fault",
    "FaultLayers",
    "FlushHangFault",
    "HeldFault",
    "LatencyFault",
    "Operation",
    "PoisonFault",
    "RatioCollapseFault",
    "ReadOnlyMediaFault",
    "RefusedCommandFault",
    "ResetFault",
    "Scope",
    "StagingOverflowFault",
    "StuckTrimFault",
    "UnansweredCommandFault",
]
