"""What Prometheus scrapes: the names of the design, consistent with what the oracle tells."""

from __future__ import annotations

import shutil
import subprocess
import threading
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cramwire.v1 import operator_pb2
from server_helpers import ANY_PORT, MIB, PAGE, Bench, bench_of, noise, prose, refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from cxldev.device import Device


@pytest.fixture
def scraped() -> Iterator[Bench]:
    """A service with a metrics endpoint, after a life with something of everything in it."""
    with bench_of(settings={"metrics": ANY_PORT}, trim_delay_ns=1000) as bench:
        host = bench.attach(guaranteed_media_bytes=8 * PAGE, limit_media_bytes=MIB // 2)
        host.write(0, prose(10) + noise(3) + bytes(2 * PAGE))
        host.read(0, 15)
        host.trim(14, 1)
        bench.clock.advance(1000)
        host.flush()
        host.write(20, prose(2))
        host.trim(20, 1)
        bench.inject(poison={"host": "host-a", "dpas": [0]})
        refused(lambda: host.read(0, 1))
        bench.inject(exhaustion=operator_pb2.ExhaustionFault(bytes=300_000))
        bench.inject(latency=operator_pb2.LatencyFault(device_ns=1))
        yield bench


def text(bench: Bench) -> str:
    """One scrape."""
    with urllib.request.urlopen(f"http://{bench.service.metrics_address}/metrics", timeout=30) as answer:
        body: bytes = answer.read()
    return body.decode()


def families(bench: Bench) -> dict[str, Metric]:
    """One scrape, by name."""
    return {family.name: family for family in text_string_to_metric_families(text(bench))}


def samples(family: Metric) -> dict[tuple[str, ...], float]:
    """Values by the values of their labels."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


def test_promtool_finds_nothing_to_say(scraped: Bench) -> None:
    """Names, units, types and help, by Prometheus' own linter."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (make tools)")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text(scraped), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_every_metric_is_explained(scraped: Bench) -> None:
    """A sentence each, and ours begin with cxldev_."""
    for name, family in families(scraped).items():
        assert family.documentation.endswith("."), name
        assert name.startswith(("cxldev_", "process_")), name


def test_the_metrics_say_what_the_oracle_says(scraped: Bench) -> None:
    """Capacity, use by kind, pages, poison, queue, watermark."""
    scrape, status = families(scraped), scraped.status()
    telemetry, media = status.telemetry, status.media

    def value(name: str) -> float:
        (only,) = samples(scrape[f"cxldev_{name}"]).values()
        return only

    assert value("logical_capacity_bytes") == telemetry.logical_capacity_bytes
    assert value("physical_capacity_bytes") == telemetry.physical_capacity_bytes
    assert value("media_free_bytes") == telemetry.media_free_bytes
    assert samples(scrape["cxldev_media_used_bytes"]) == {
        ("sectors",): media.sectors_bytes,
        ("metadata",): media.metadata_bytes,
        ("staged",): 0,
        ("reserved",): 300_000,
    }
    used = sum(samples(scrape["cxldev_media_used_bytes"]).values())
    assert used + value("media_free_bytes") == value("physical_capacity_bytes")
    assert value("stored_pages") == telemetry.stored_pages == 15
    assert value("ratio") == telemetry.ratio_milli / 1000
    assert value("zratio") == 3
    assert value("watermark_level") == telemetry.watermark
    assert value("same_filled_pages") == 1
    assert value("raw_pages") == 3
    assert value("poisoned_pages") == 1
    assert value("trim_queued_pages") == telemetry.trim_queued_pages == 1
    assert value("attached_hosts") == 1
    assert value("media_used_peak_bytes") == media.peak_used_bytes


def test_counters_moved_as_things_happened(scraped: Bench) -> None:
    """Pages and requests by operation, poison by cause, and what was refused."""
    scrape = families(scraped)
    assert samples(scrape["cxldev_pages"]) == {("write",): 17, ("read",): 15, ("trim",): 2}
    assert samples(scrape["cxldev_data_requests"])[("flush",)] == 1
    assert samples(scrape["cxldev_released_pages"]) == {(): 1}
    assert samples(scrape["cxldev_poison_created_injected_pages"]) == {(): 1}
    assert samples(scrape["cxldev_poison_created_exhaustion_pages"]) == {(): 0}
    assert samples(scrape["cxldev_poison_read_pages"]) == {(): 1}
    assert samples(scrape["cxldev_reject_poisoned"]) == {(): 1}
    assert samples(scrape["cxldev_reject_no_more_writes"]) == {(): 0}
    assert samples(scrape["cxldev_watermark_crossings"])[("down",)] >= 0
    requests = samples(scrape["cxldev_requests"])
    assert requests["OK", "write"] == 2
    assert requests["OK", "read"] == 1
    assert requests["DATA_LOSS", "read"] == 1
    assert requests["OK", "inject_fault"] == 3


def test_regions_faults_and_the_generation_are_there(scraped: Bench) -> None:
    """By host, by kind, by id."""
    scrape = families(scraped)
    (region,) = scraped.status().regions
    for name, value in (
        ("media_used_bytes", region.telemetry.media_used_bytes),
        ("media_guaranteed_bytes", 8 * PAGE),
        ("media_limit_bytes", MIB // 2),
        ("logical_bytes", 256 * PAGE),
        ("poisoned_pages", 1),
    ):
        assert samples(scrape[f"cxldev_region_{name}"]) == {("host-a",): value}
    armed = samples(scrape["cxldev_faults_armed"])
    assert {kind for kind, count in armed.items() if count} == {("exhaustion",), ("latency",)}
    assert armed["ratio_collapse",] == 0
    assert samples(scrape["cxldev_faults_fired"]).keys() == armed.keys()
    assert samples(scrape["cxldev_generation_info"]) == {(scraped.service.generation,): 1}


def test_page_sizes_are_a_histogram(scraped: Bench) -> None:
    """Cumulative, in sectors, over all stored pages."""
    family = families(scraped)["cxldev_page_sectors"]
    assert family.type == "histogram"
    pages = list(scraped.status().media.pages_by_sectors)
    buckets = {sample.labels["le"]: sample.value for sample in family.samples if "le" in sample.labels}
    assert buckets["0"] == pages[0]
    assert buckets["1"] == sum(pages[:2])
    assert buckets["+Inf"] == sum(pages) == 15


def test_seconds_are_histograms_by_operation(scraped: Bench) -> None:
    """Wall and device time, apart."""
    scrape = families(scraped)
    for name in ("cxldev_request_wall_seconds", "cxldev_request_device_seconds"):
        counts = {
            sample.labels["operation"]: sample.value
            for sample in scrape[name].samples
            if sample.name.endswith("_count")
        }
        assert counts["write"] == 2
        assert counts["flush"] == 1
        assert counts["trim"] == 2
    sums = {
        sample.labels["operation"]: sample.value
        for sample in scrape["cxldev_request_device_seconds"].samples
        if sample.name.endswith("_sum")
    }
    assert 0 < sums["write"] < 1


def test_a_scrape_holds_open_what_runs() -> None:
    """Streams and pages in flight are gauges."""
    with bench_of(settings={"metrics": ANY_PORT}) as bench:
        host = bench.attach()
        stream = host.watch()
        next(stream)
        scrape = families(bench)
        assert samples(scrape["cxldev_watchers"]) == {("host",): 1, ("operator",): 0}
        assert samples(scrape["cxldev_requests_running"])[("watch_events",)] == 1
        assert samples(scrape["cxldev_in_flight_pages"]) == {(): 0}
        stream.cancel()


def test_a_scrape_holds_the_device_once_and_lets_go_before_it_writes(scraped: Bench) -> None:
    """One reading, from which all is told; hosts do not wait for the text."""
    runtime, holds = scraped.service.runtime, 0
    enter, scraper = runtime.enter, threading.current_thread()

    def counted() -> tuple[Device, int]:
        nonlocal holds
        # The service's own threads (its timer, say) take it when they want.
        holds += threading.current_thread() is scraper
        return enter()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "enter", counted)
        collected = iter(scraped.service.registry.collect())
        names = [next(collected).name]
        while not holds:
            names.append(next(collected).name)
        # The lock is one that a thread cannot take twice: it is free by now.
        with runtime.device() as (device, now_ns):
            assert device.status(now_ns).telemetry.stored_pages == 15
        names += [family.name for family in collected]
    assert holds == 2
    assert {"cxldev_ratio", "cxldev_region_room_bytes", "cxldev_requests"} <= set(names)


def test_series_grow_with_hosts_and_with_nothing_else() -> None:
    """Each host brings as many; pages, faults and refusals bring none."""
    with bench_of(settings={"metrics": ANY_PORT}) as bench:
        hosts = [bench.attach("host-0")]

        def series() -> int:
            # What was answered with which code is the one family that follows what happens.
            return sum(len(one.samples) for name, one in families(bench).items() if name != "cxldev_requests")

        first = series()
        hosts.append(bench.attach("host-1"))
        each = series() - first
        hosts.append(bench.attach("host-2"))
        assert series() == first + 2 * each
        for host in hosts:
            host.write(0, prose(3) + noise(2))
            refused(partial(host.read, 1 << 30, 1))
        bench.inject(poison={"host": "host-1", "dpas": [0]})
        bench.inject(latency=operator_pb2.LatencyFault(device_ns=1))
        refused(lambda: hosts[1].read(0, 1))
        assert series() == first + 2 * each
        hosts[2].detach()
        assert series() == first + each


def test_counters_outlive_a_reset(scraped: Bench) -> None:
    """Counters count since the process started; the generation is another."""
    before = scraped.service.generation
    scraped.reset()
    scrape = families(scraped)
    assert samples(scrape["cxldev_pages"])[("write",)] == 17
    assert samples(scrape["cxldev_resets"]) == {(): 1}
    assert (before,) not in samples(scrape["cxldev_generation_info"])
