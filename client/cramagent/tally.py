"""What the runner itself counts, beside the policy's counters."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

SECONDS_BUCKETS: Final = tuple(base * 10.0**power for power in range(-5, 1) for base in (1.0, 2.5, 5.0))
"""Upper bounds from 10 us to 5 s."""


class Histogram:
    """Counts per bucket, as Prometheus' classic histograms hold them; not shared by threads."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS_BUCKETS) -> None:
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count one value, so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many at most that) as the exposition format wants them."""
        total, rows = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            rows.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
        return rows


@dataclass(slots=True)
class NodeTally:
    """Of one node. Only ever grows."""

    reattaches: int = 0
    """Sessions begun after one was over."""
    events: int = 0
    """Device events heard."""
    events_missed: int = 0
    """Device events that were dropped before they could be heard, and gaps in the stream."""
    events_repeated: int = 0
    """Device events that came a second time, and were dropped."""
    events_late: int = 0
    """Device events that came behind later ones: what they say of the device's state was not believed."""
    readings_stale: int = 0
    """Readings that were older than one taken before, and were not believed."""
    control_silences: int = 0
    """Renewals that were not answered while the data path was."""
    event_lag_seconds: Histogram = field(default_factory=Histogram)
    """Wall time from an event at the device until the daemons had acted on it."""


@dataclass(slots=True)
class Tally:
    """Only ever grows. Times in ns unless the name says otherwise."""

    reads: int = 0
    """Pages that the workload read, or tried to."""
    writes: int = 0
    """Pages that the workload stored, or tried to."""
    verified: int = 0
    """Pages whose bytes were compared with what they should be."""
    mismatched: int = 0
    """Those of them that differed."""
    deferred: int = 0
    """Stores put off because the device did not answer, or memory was full for the moment."""
    restored: int = 0
    """Pages that were lost, and stored anew from the source."""
    unrestored: int = 0
    """Pages that were lost, and that the source has no more."""
    killed: int = 0
    """Address spaces that died of a bus error, and were begun anew or given up."""
    scans: int = 0
    """Times that the source was read through."""
    fault_seconds: Histogram = field(default_factory=Histogram)
    """Wall time until a fault was answered; the faults of one batch are answered together."""
