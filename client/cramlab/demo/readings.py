"""What the demo sees of the running processes: the agents' metrics, the device's oracle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cramlab.scrape import Samples, scrape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cramwire.v1 import operator_pb2


@dataclass(frozen=True, slots=True)
class HostReading:
    """One agent at one moment: its own counters and gauges. Pages unless the name says otherwise."""

    demotions: int
    read_faults: int
    mkwrites: int
    promotions: int
    writebacks: int
    pressure_writebacks: int
    """Those that the closed node asked for; the others the balloon."""
    reaped: int
    trimmed_pages: int
    no_more_writes: int
    pages_lost: int
    mismatched: int
    verified: int
    scans: int
    node_open: int
    """1: takes new demotions."""
    pressure: int
    writable: int
    budget: int
    in_dram: int
    in_node: int
    in_swap: int


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """The device at one moment, from the operator's oracle."""

    physical_bytes: int
    used_bytes: int
    free_bytes: int
    held_by_faults_bytes: int
    stored_pages: int
    ratio_milli: int
    watermark: int
    full: int
    """1: the device takes no more writes and has not recovered since."""
    no_more_writes: int
    """Times that it came to that."""
    refused_pages: int
    regions: int
    faults: int
    peak_used_bytes: int
    identity_checks: int


@dataclass(frozen=True, slots=True)
class Reading:
    """All of it, at about the same moment."""

    device: DeviceReading
    hosts: Mapping[str, HostReading]
    """By host name."""


_METRICS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "demotions": ("cram_demotions_total", {"outcome": "ok"}),
    "read_faults": ("cram_faults_total", {"kind": "read", "outcome": "mapped"}),
    "mkwrites": ("cram_mkwrites_total", {}),
    "promotions": ("cram_promotions_total", {}),
    "writebacks": ("cram_writebacks_total", {}),
    "pressure_writebacks": ("cram_writebacks_total", {"reason": "pressure"}),
    "reaped": ("cram_reaped_total", {}),
    "trimmed_pages": ("cram_trimmed_pages_total", {}),
    "no_more_writes": ("cram_writes_refused_total", {"reason": "no_more_writes"}),
    "pages_lost": ("cram_pages_lost_total", {}),
    "mismatched": ("cram_mismatched_pages_total", {}),
    "verified": ("cram_verified_pages_total", {}),
    "scans": ("cram_source_scans_total", {}),
    "node_open": ("cram_node_open", {}),
    "pressure": ("cram_pressure", {}),
    "writable": ("cram_writable_pages", {}),
    "budget": ("cram_writable_budget_pages", {}),
    "in_dram": ("cram_pages", {"state": "dram"}),
    "in_swap": ("cram_pages", {"state": "swapped"}),
}
"""Field -> the samples that are summed for it: those of this name that have these labels."""
_IN_NODE: Final = ("entry", "ro", "rw")


def parse_host(samples: Samples) -> HostReading:
    """An agent's metrics as a reading.

    Raises:
        KeyError: a metric that the demo judges by is not there.
    """
    values = {field: int(samples.total(name, labels)) for field, (name, labels) in _METRICS.items()}
    values["in_node"] = sum(int(samples.total("cram_pages", {"state": state})) for state in _IN_NODE)
    return HostReading(**values)


def scrape_host(address: str) -> HostReading:
    """Ask the agent whose metrics are served at `address`.

    Raises:
        ProcessError: it does not answer.
    """
    return parse_host(scrape(address))


def read_device(status: operator_pb2.GetStatusResponse) -> DeviceReading:
    """The oracle's answer as a reading."""
    telemetry, counters = status.telemetry, status.counters
    return DeviceReading(
        physical_bytes=telemetry.physical_capacity_bytes,
        used_bytes=telemetry.media_used_bytes,
        free_bytes=telemetry.media_free_bytes,
        held_by_faults_bytes=status.media.reserved_bytes,
        stored_pages=telemetry.stored_pages,
        ratio_milli=telemetry.ratio_milli,
        watermark=telemetry.watermark,
        full=int(telemetry.no_more_writes),
        no_more_writes=counters.no_more_writes,
        refused_pages=counters.refused_pages,
        regions=len(status.regions),
        faults=len(status.faults),
        peak_used_bytes=counters.peak_media_used_bytes,
        identity_checks=counters.capacity_identity_checks,
    )
