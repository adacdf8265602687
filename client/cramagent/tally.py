"""What the runner itself counts, beside the policy's counters."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from cramagent.policy.answers import AccessKind
from cramagent.policy.states import State

SECONDS_BUCKETS: Final = tuple(base * 10.0**power for power in range(-5, 1) for base in (1.0, 2.5, 5.0))
"""Upper bounds from 10 us to 5 s."""


class Histogram:
    """Counts per bucket, as Prometheus' classic histograms hold them; not shared by threads."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS_BUCKETS) -> None:
        self.bounds: Final = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many at most that) as the exposition format wants them."""
        total, rows = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            rows.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(total)))
        return rows


def fault_outcome(before: State, kind: AccessKind) -> str:
    """What a fault came to, as one word of a bounded set."""
    if kind is AccessKind.DRAM:
        return _TO_DRAM[before]
    return "mapped" if kind is AccessKind.NODE else _FAILED[kind]


_TO_DRAM: Final = {
    State.NONE: "first_touch",
    State.DRAM: "copy_on_write",
    State.ENTRY: "promoted",
    State.RO: "promoted",
    State.RW: "promoted",
    State.SWAPPED: "swapped_in",
    # A page is freed before its bytes are stored anew; a fault never brings it back.
    State.LOST: "bus_error",
}
_FAILED: Final = {
    AccessKind.BUS_ERROR: "bus_error",
    AccessKind.STALLED: "stalled",
    AccessKind.OUT_OF_MEMORY: "out_of_memory",
}
FAULT_OUTCOMES: Final = tuple(dict.fromkeys((*_TO_DRAM.values(), "mapped", *_FAILED.values())))


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
    scans: int = 0
    """Times that the source was read through."""
    faults: dict[tuple[str, str], int] = field(
        default_factory=lambda: {
            (kind, outcome): 0 for kind in ("read", "write") for outcome in FAULT_OUTCOMES
        }
    )
    """By (kind, outcome)."""
    fault_seconds: Histogram = field(default_factory=Histogram)
    """Wall time of the fault handler."""
    event_lag_seconds: Histogram = field(default_factory=Histogram)
    """Wall time from an event at the device until the daemons had acted on it."""
