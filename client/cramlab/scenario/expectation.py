"""What must hold in the end, as data: bounds on figures of metrics, and the order of events.

[[expect]]
that = "no page was lost"
metric = "cram_pages_lost_total"        # a selector as in PromQL; several series are summed
host = "*"                              # a host, a group, a glob, or "device": each must hold
is = 0                                  # is, at_least, at_most, above, below

[[expect]]
that = "host quiet's fault p99 stays under twice its baseline"
metric = "cram_fault_seconds"           # a histogram: of = "p50", "p99", ...
host = "quiet"
of = "p99"                              # last (default), max, min, mean, growth, or a quantile
from = "10s"
until = "20s"
below = "2x"                            # ... the same figure over the baseline
baseline = { from = "2s", until = "10s" }

[[expect]]
that = "every node closes within 50 ms of the critical watermark"
after = "watermark_crossed to=critical"
comes = "node_closed"
host = "*"
within = "50ms"                         # or never = true
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


class Comparison(Enum):
    """How a figure stands to its bound."""

    IS = "is"
    AT_LEAST = "at_least"
    AT_MOST = "at_most"
    ABOVE = "above"
    BELOW = "below"

    def holds(self, figure: float, bound: float) -> bool:
        """Whether the figure keeps to the bound."""
        match self:
            case Comparison.IS:
                return figure == bound
            case Comparison.AT_LEAST:
                return figure >= bound
            case Comparison.AT_MOST:
                return figure <= bound
            case Comparison.ABOVE:
                return figure > bound
            case Comparison.BELOW:
                return figure < bound


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run, ns since time zero. None: from the first sample, until the last one."""

    from_ns: int | None = None
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound. A multiple (`2x`) is of the same figure over the baseline's window."""

    comparison: Comparison
    value: float
    times_baseline: bool = False
    text: str = ""
    """The value as the file has it, for people."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Which figure of which metric. All series that have these labels are summed."""

    metric: str
    labels: Mapping[str, str] = field(default_factory=dict)
    of: str = "last"
    """`last`, `max`, `min`, `mean`, `growth`; of a histogram `mean`, `p50`, `p99.9`..."""


@dataclass(frozen=True, slots=True)
class FigureExpectation:
    """A figure of a metric, for each of the hosts meant, keeps to all its bounds."""

    that: str
    line: int
    figure: Figure
    hosts: tuple[str, ...]
    """Names; `device` alone for the device's metrics."""
    window: Window
    bounds: tuple[Bound, ...]
    baseline: Window | None = None


@dataclass(frozen=True, slots=True)
class EventPattern:
    """An event by name, and by such facts as must be."""

    name: str
    facts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.facts.items())])


@dataclass(frozen=True, slots=True)
class OrderExpectation:
    """After (the first of) one event comes another: within a time, or never."""

    that: str
    line: int
    after: EventPattern | None
    """None: after the run began."""
    comes: EventPattern
    hosts: tuple[str, ...]
    """Whose `comes` is meant, each on its own; `device` alone for events of the device."""
    within_ns: int | None
    """None: at any time after."""
    never: bool = False


Expectation: TypeAlias = FigureExpectation | OrderExpectation
