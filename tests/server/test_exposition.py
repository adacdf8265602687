"""Prometheus' text format, beside the library's own."""

from __future__ import annotations

import gzip
import math
import urllib.request
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from cxldevd.exposition import as_text, takes_gzip
from server_helpers import ANY_PORT, bench_of, prose

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import Metric

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)
VALUES = st.one_of(
    st.integers(-(1 << 63), 1 << 64), st.booleans(), st.floats(), st.sampled_from([math.inf, -math.inf])
)


class Given(Collector):
    """Tells these families."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """As they are."""
        yield from self._families


def by_the_library(families: Sequence[Metric]) -> bytes:
    """What prometheus_client writes."""
    registry = CollectorRegistry()
    registry.register(Given(families))
    text: bytes = generate_latest(registry)
    return text


@given(meaning=WORDS, word=WORDS, value=VALUES, count=st.integers(0, 1 << 40))
def test_it_is_the_librarys_to_the_byte(meaning: str, word: str, value: float, count: int) -> None:
    """Every kind of family that is exported, with labels and without, whatever the words and values."""
    gauge = GaugeMetricFamily("cxldev_level", meaning, labels=["host", "a_kind"])
    gauge.add_metric([word, "x"], value)
    gauge.add_metric(["", word], value)
    info = InfoMetricFamily("cxldev_generation", meaning)
    info.add_metric([], {"generation": word})
    counter = CounterMetricFamily("cxldev_calls", meaning, labels=["operation"])
    counter.add_metric([word], count)
    histogram = HistogramMetricFamily("cxldev_seconds", meaning, labels=["operation"])
    histogram.add_metric([word], [("0.001", float(count)), ("+Inf", count + 1.0)], sum_value=float(count) / 3)
    families = [gauge, GaugeMetricFamily("cxldev_free", meaning, value=value), info, counter, histogram]
    assert as_text(families) == by_the_library(families)


def test_a_live_device_is_told_the_same() -> None:
    """All that a service exports, after a life."""
    with bench_of(settings={"metrics": ANY_PORT}) as bench:
        bench.attach().write(0, prose(3))
        families = [one for one in bench.service.registry.collect() if not one.name.startswith("process_")]
        assert len(families) > 80
        assert as_text(families) == by_the_library(families)


def test_who_takes_gzip_gets_it() -> None:
    """Prometheus does; a person with curl does not."""
    with bench_of(settings={"metrics": ANY_PORT}) as bench:
        url = f"http://{bench.service.metrics_address}/metrics"
        asked = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - our own address
            packed: bytes = answer.read()
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert int(answer.headers["Content-Length"]) == len(packed)
        with urllib.request.urlopen(url, timeout=30) as answer:
            plain: bytes = answer.read()
            assert answer.headers["Content-Encoding"] is None
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        names = [
            {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")}
            for text in (gzip.decompress(packed), plain)
        ]
        assert names[0] == names[1]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("", False),
        ("br", False),
        ("xgzip", False),
        ("gzip; q=0", False),
    ],
)
def test_encodings_as_they_are_asked_for(header: str, taken: bool) -> None:
    """By name, with or without a weight."""
    assert takes_gzip(header) is taken
