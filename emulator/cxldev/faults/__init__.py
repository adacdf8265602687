"""Faults are layers with the device's own interface: one file each, armed and cleared live."""

from cxldev.faults.armed import LAYER_ORDER, ArmedFault, Fault, FaultLayers
from cxldev.faults.exhaustion import ExhaustionFault
from cxldev.faults.latency import LatencyFault
from cxldev.faults.layer import Command, Delay, Layer, Operation
from cxldev.faults.poison import PoisonFault
from cxldev.faults.ratio_collapse import RatioCollapseFault
from cxldev.faults.reset import ResetFault

__all__ = [
    "LAYER_ORDER",
    "ArmedFault",
    "Command",
    "Delay",
    "ExhaustionFault",
    "Fault",
    "FaultLayers",
    "LatencyFault",
    "Layer",
    "Operation",
    "PoisonFault",
    "RatioCollapseFault",
    "ResetFault",
]
