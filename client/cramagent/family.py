"""How a metric of the agent is made: one family, with its samples. Units are in the names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cramagent.tally import Histogram


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """One value."""
    return GaugeMetricFamily(name, text, value=value)


def gauge_rows(
    name: str, text: str, labels: str | tuple[str, ...], rows: Iterable[tuple[str | tuple[str, ...], float]]
) -> GaugeMetricFamily:
    """A value for each row of words, one word for each label."""
    family = GaugeMetricFamily(name, text, labels=_tuple(labels))
    for words, value in rows:
        family.add_metric(_tuple(words), value)
    return family


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """One value, `NAME_total`."""
    return CounterMetricFamily(name, text, value=value)


def counter_rows(
    name: str, text: str, labels: str | tuple[str, ...], rows: Iterable[tuple[str | tuple[str, ...], float]]
) -> CounterMetricFamily:
    """As `gauge_rows`."""
    family = CounterMetricFamily(name, text, labels=_tuple(labels))
    for words, value in rows:
        family.add_metric(_tuple(words), value)
    return family


def histogram(name: str, text: str, one: Histogram) -> HistogramMetricFamily:
    """One histogram."""
    return HistogramMetricFamily(name, text, buckets=one.buckets(), sum_value=one.sum)


def histogram_rows(
    name: str, text: str, label: str, rows: Iterable[tuple[str, Histogram]]
) -> HistogramMetricFamily:
    """One for each word."""
    family = HistogramMetricFamily(name, text, labels=[label])
    for word, one in rows:
        family.add_metric([word], buckets=one.buckets(), sum_value=one.sum)
    return family


def _tuple(words: str | tuple[str, ...]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words
