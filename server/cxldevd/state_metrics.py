"""Prometheus metrics of saved states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cxldevd.state_keeper import SaveCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from cxldevd.state_keeper import StateKeeper


class StateCollector(Collector):
    """What the keeper of the saved state tells; zeros without one."""

    def __init__(self, keeper: StateKeeper | None) -> None:
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        """Reads a few numbers; takes no lock."""
        keeper = self._keeper
        counts = SaveCounts() if keeper is None else keeper.counts
        saves = CounterMetricFamily(
            "cxldev_state_saves",
            "Saves of the device that were tried, by outcome; overtaken: it changed meanwhile.",
            labels=["outcome"],
        )
        saves.add_metric(["saved"], counts.saved)
        saves.add_metric(["overtaken"], counts.overtaken)
        saves.add_metric(["failed"], counts.failed)
        yield saves
        yield GaugeMetricFamily(
            "cxldev_state_usable",
            "1 while the saved state is the device as it is: a process killed now would lose nothing.",
            value=keeper is not None and keeper.usable,
        )
        yield GaugeMetricFamily(
            "cxldev_restored",
            "1 if the process began with a saved state, 0 if with an empty device.",
            value=keeper is not None and keeper.restored,
        )
