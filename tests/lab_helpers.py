"""Readings and reports of a demo that goes well, to be changed where a test wants it to go wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cramlab.demo.readings import DeviceReading, HostReading, Reading

GOOD_REPORT: dict[str, Any] = {
    "pages_verified": 1000,
    "pages_verified_at_end": 400,
    "pages_mismatched": 0,
    "pages_lost": 0,
    "pages_unread": 0,
    "pages_left_out": 0,
    "killed_spaces": 0,
    "demotions": 300,
    "read_faults": 200,
    "mkwrites": 100,
    "promotions": 50,
    "writebacks": 40,
    "reaped": 3,
    "trimmed_pages": 60,
    "no_more_writes": 1,
    "detached": True,
}

_HOST = HostReading(
    demotions=0,
    read_faults=0,
    mkwrites=0,
    promotions=0,
    writebacks=0,
    pressure_writebacks=0,
    reaped=0,
    trimmed_pages=0,
    no_more_writes=0,
    pages_lost=0,
    mismatched=0,
    verified=0,
    scans=0,
    node_open=1,
    pressure=0,
    writable=0,
    budget=256,
    in_dram=3000,
    in_node=6000,
    in_swap=0,
)

_DEVICE = DeviceReading(
    physical_bytes=64 << 20,
    used_bytes=24 << 20,
    free_bytes=40 << 20,
    held_by_faults_bytes=0,
    stored_pages=18_000,
    ratio_milli=3000,
    watermark=1,
    full=0,
    no_more_writes=0,
    refused_pages=0,
    regions=2,
    faults=0,
    peak_used_bytes=24 << 20,
    identity_checks=500,
)


def host_reading(**fields: int) -> HostReading:
    """A host whose node is open and to which nothing has happened yet."""
    return replace(_HOST, **fields)


def device_reading(**fields: int) -> DeviceReading:
    """A device with room."""
    return replace(_DEVICE, **fields)


def reading(device: DeviceReading | None = None, **hosts: HostReading) -> Reading:
    """All of it at one moment."""
    return Reading(device or device_reading(), hosts)
