"""What a run, live or simulated, is judged by: samples of both sides' metrics over time, and events.

The names are those of the metrics (docs/metrics.md): whoever can read a dashboard can write an expectation.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import zstandard

from cramctl.describe import watermark
from cramwire.fault_kinds import KINDS
from cramwire.v1 import types_pb2
from cxldev.events import DetachCause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

    from cramlab.scenario.model import Scenario

_PREFIXES: Final = ("cram_", "cxldev_")
_NOT_MEASURED: Final = "_created"
"""What Prometheus' format adds to counters."""
_LEVELS: Final = tuple(watermark(level) for level in types_pb2.WatermarkLevel.values() if level)
_DETACH_CAUSES: Final = tuple(cause.value for cause in DetachCause)


@dataclass(frozen=True, slots=True)
class EventWord:
    """One kind of event."""

    means: str
    facts: tuple[str, ...] = ()
    """What is told with it, each as text."""
    of_device: bool = False
    """Whose: the device's (`who` is `device`), or a host's."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """All that a fact can be, where that is known beforehand."""


EVENTS: Final[Mapping[str, EventWord]] = {
    "watermark_crossed": EventWord(
        "The level of remaining media changed, in either direction.",
        ("from", "to"),
        of_device=True,
        values={"from": _LEVELS, "to": _LEVELS},
    ),
    "no_more_writes_entered": EventWord("A write was turned away for want of media.", of_device=True),
    "no_more_writes_left": EventWord("Enough media is free again.", of_device=True),
    "poison_found": EventWord("A read found poison.", ("host",), of_device=True),
    "region_attached": EventWord("A host attached.", ("host",), of_device=True),
    "region_detached": EventWord(
        "A host's region went away.", ("host", "cause"), of_device=True, values={"cause": _DETACH_CAUSES}
    ),
    "region_resized": EventWord("A region changed its size.", ("host",), of_device=True),
    "add_capacity": EventWord("The device added to a region.", ("host",), of_device=True),
    "release_capacity": EventWord("The device asked a host for capacity back.", ("host",), of_device=True),
    "forced_capacity_release": EventWord("The device took it by force.", ("host",), of_device=True),
    "region_share_changed": EventWord("A guarantee or a limit changed.", ("host",), of_device=True),
    "fault_armed": EventWord("A fault was armed.", ("kind",), of_device=True, values={"kind": tuple(KINDS)}),
    "fault_cleared": EventWord(
        "A fault was cleared, or ran out.", ("kind",), of_device=True, values={"kind": tuple(KINDS)}
    ),
    "device_reset": EventWord("Power was lost and came back.", of_device=True),
    "node_closed": EventWord("The host's node takes no more demotions."),
    "node_opened": EventWord("It takes them again."),
    "node_offline": EventWord("The device does not answer the host, or its session is over."),
    "node_online": EventWord("It answers again, or the host attached again."),
    "host_started": EventWord("The host was started."),
    "host_stopped": EventWord("The host ended in order."),
    "host_killed": EventWord("The host was killed."),
    "host_paused": EventWord("The host's programs stand still."),
    "host_resumed": EventWord("They go on."),
    "host_ended": EventWord("The host ended by itself.", ("reason",)),
}
"""All events that a run may record."""


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
    """Since time zero. What happened before is told, too, and is negative."""
    who: str
    name: str
    """One of `EVENTS`."""
    facts: Mapping[str, str] = field(default_factory=dict)


class Measurements:
    """Fills up while a run goes on.

    Samples of one series are added in the order of time, the first ones at time zero. The last ones are
    taken once everybody has ended in order: of a host after it verified all its pages, of the device
    after all hosts have left.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._samples: dict[Series, list[tuple[int, float]]] = {}
        self._by_name: dict[tuple[str, str], list[Series]] = {}

    def take(self, at_ns: int, who: str, families: Iterable[Metric]) -> None:
        """All samples of one side at one moment, from its `/metrics` or straight from its collector."""
        for family in families:
            for sample in family.samples:
                if sample.name.startswith(_PREFIXES) and not sample.name.endswith(_NOT_MEASURED):
                    self.add(at_ns, who, sample.name, sample.labels, sample.value)

    def add(self, at_ns: int, who: str, name: str, labels: Mapping[str, str], value: float) -> None:
        """One sample."""
        series = Series(who, name, tuple(sorted(labels.items())))
        if series not in self._samples:
            self._samples[series] = []
            self._by_name.setdefault((who, name), []).append(series)
        self._samples[series].append((at_ns, float(value)))

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
            for series in sorted(self._by_name.get((who, name), []))
            if labels.items() <= dict(series.labels).items()
        ]


def facts_of(event: Mapping[str, Any]) -> dict[str, str]:
    """What an expectation may ask of an event that `cramctl.describe` told: a region is named by its host."""
    named = {**event, "host": event.get("region")}
    return {fact: str(named[fact]) for fact in EVENTS[event["event"]].facts if named.get(fact) is not None}


def versions() -> dict[str, str]:
    """What figures depend on beside the scenario."""
    zstd = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    return {"python": platform.python_version(), "zstd": zstd}


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
