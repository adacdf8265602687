"""Histograms of durations, cheap to feed: one lock, one bisection, two sums of whole ns.

`prometheus_client`'s own takes about as long as a single page takes in zstd.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import CollectorRegistry, Metric


class Durations(Collector):
    """One histogram family by operation. Fed in ns, published in seconds."""

    def __init__(
        self,
        name: str,
        meaning: str,
        buckets_s: Sequence[float],
        registry: CollectorRegistry,
        lock: threading.Lock | None = None,
    ) -> None:
        """`lock`: one that whoever counts more than durations holds already."""
        self._name = name
        self._meaning = meaning
        self._bounds_ns = [round(bound * 1e9) for bound in buckets_s]
        self._names = [*(str(float(bound)) for bound in buckets_s), "+Inf"]
        self._lock = threading.Lock() if lock is None else lock
        self._counts: dict[str, list[int]] = {}
        self._sums_ns: dict[str, int] = {}
        registry.register(self)

    def knows(self, operation: str) -> None:
        """Publish an operation from now on, whether or not it has been met."""
        with self._lock:
            self._counts.setdefault(operation, [0] * len(self._names))
            self._sums_ns.setdefault(operation, 0)

    def observe(self, operation: str, ns: int) -> None:
        """One more."""
        with self._lock:
            self.add(operation, ns)

    def add(self, operation: str, ns: int) -> None:
        """As `observe`. Needs the lock."""
        counts = self._counts.get(operation)
        if counts is None:
            counts = self._counts[operation] = [0] * len(self._names)
            self._sums_ns[operation] = 0
        counts[bisect_left(self._bounds_ns, ns)] += 1
        self._sums_ns[operation] += ns

    def describe(self) -> list[Metric]:
        """Its name, so that nobody else takes it."""
        return [HistogramMetricFamily(self._name, self._meaning, labels=["operation"])]

    def collect(self) -> Iterator[Metric]:
        """One scrape: cumulative counts."""
        with self._lock:
            now = {name: (list(counts), self._sums_ns[name]) for name, counts in self._counts.items()}
        family = HistogramMetricFamily(self._name, self._meaning, labels=["operation"])
        for operation, (counts, sum_ns) in sorted(now.items()):
            total = 0
            buckets: list[tuple[str, float]] = []
            for name, count in zip(self._names, counts, strict=True):
                total += count
                buckets.append((name, float(total)))
            family.add_metric([operation], buckets, sum_ns / 1e9)
        yield family
