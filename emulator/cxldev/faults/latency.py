"""Latency: data commands take longer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatencyFault:
    """Add to every data command: device time that is reported, wall time that is waited for."""

    device_ns: int = 0
    wall_ns: int = 0
