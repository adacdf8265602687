"""What a run, live or simulated, is judged by: samples of both sides' metrics over time, and events.

The names are those of the metrics (docs/metrics.md): whoever can read a dashboard can write an expectation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from cramlab.scenario.model import Scenario

_PREFIXES: Final = ("cram_", "cxldev_")
_NOT_MEASURED: Final = "_created"
"""What Prometheus' format adds to counters."""

EVENTS: Final[Mapping[str, str]] = {
    "watermark_crossed": "the device crossed a watermark, in either direction (`from`, `to`: level names)",
    "no_more_writes_entered": "the device turned a write away for want of media",
    "no_more_writes_left": "enough media is free again",
    "poison_found": "a read found poison (`host`)",
    "region_attached": "a host attached (`host`)",
    "region_detached": "a host's region went (`host`, `cause`: requested, lease_expired, taken_over)",
    "region_resized": "a region changed its size (`host`)",
    "fault_armed": "a fault was armed (`kind`)",
    "fault_cleared": "a fault was cleared, or ran out (`kind`)",
    "device_reset": "power was lost and came back",
    "node_closed": "a host's node closed: no more demotions",
    "node_opened": "it takes demotions again",
    "node_offline": "a host's device does not answer, or its session is over",
    "node_online": "it answers again, or the host attached again",
    "host_started": "a host was started",
    "host_stopped": "a host ended in order",
    "host_killed": "a host was killed",
    "host_ended": "a host ended by itself (`reason`)",
}
"""Name -> when it happens. The first ten are the device's (`who` is `device`), the rest a host's."""
DEVICE_EVENTS: Final = frozenset(list(EVENTS)[:10])


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One line of a metric: as Prometheus has it, and whose it is."""

    who: str
    """`device`, or a host's name."""
    name: str
    """With its suffix: `cram_demotions_total`, `cram_fault_seconds_bucket`."""
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted by name."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    at_ns: int
    """Since time zero; before it: negative."""
    who: str
    name: str
    """One of `EVENTS`."""
    facts: Mapping[str, str] = field(default_factory=dict)


class Measurements:
    """Fills up while a run goes on. Samples of one series are added in the order of time."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._samples: dict[Series, list[tuple[int, float]]] = {}

    def take(self, at_ns: int, who: str, families: Iterable[Metric]) -> None:
        """All samples of one side at one moment, from its `/metrics` or straight from its collector."""
        for family in families:
            for sample in family.samples:
                if sample.name.startswith(_PREFIXES) and not sample.name.endswith(_NOT_MEASURED):
                    self.add(at_ns, who, sample.name, sample.labels, sample.value)

    def add(self, at_ns: int, who: str, name: str, labels: Mapping[str, str], value: float) -> None:
        """One sample."""
        series = Series(who, name, tuple(sorted(labels.items())))
        self._samples.setdefault(series, []).append((at_ns, value))

    def happened(self, at_ns: int, who: str, name: str, **facts: str) -> None:
        """An event. Its facts as `EVENTS` tells."""
        assert name in EVENTS, name
        self.events.append(Event(at_ns, who, name, facts))

    def series(self) -> Iterator[Series]:
        """All that were ever sampled, sorted."""
        return iter(sorted(self._samples))

    def samples(self, series: Series) -> list[tuple[int, float]]:
        """(time, value) of one series, by time; empty if it was never sampled."""
        return self._samples.get(series, [])

    def find(self, who: str, name: str, labels: Mapping[str, str]) -> list[Series]:
        """The series of this name that have these labels, and maybe others; sorted."""
        return [
            series
            for series in self.series()
            if series.who == who and series.name == name and labels.items() <= dict(series.labels).items()
        ]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run: both engines hand this over, and one evaluator judges it."""

    scenario: Scenario
    engine: Literal["live", "simulated"]
    measurements: Measurements
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the figures depend on beside the scenario: the version of zstd, of Python."""
    problems: tuple[str, ...] = ()
    """What went wrong beside the expectations, each in one line: a process that died, wrong bytes."""
