"""What the demo reads of the processes, from their own formats."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cramlab.demo.readings import parse_host, read_device, scrape_host
from cramlab.processes import ProcessError
from cramlab.scrape import Samples
from cramwire.v1 import operator_pb2, types_pb2

METRICS = """
cram_demotions_total{outcome="ok"} 300.0
cram_demotions_total{outcome="closed"} 7.0
cram_faults_total{kind="read",outcome="mapped"} 200.0
cram_faults_total{kind="write",outcome="mapped"} 90.0
cram_mkwrites_total 100.0
cram_promotions_total{outcome="moved"} 50.0
cram_promotions_total{outcome="copied"} 5.0
cram_writebacks_total{reason="pressure"} 30.0
cram_writebacks_total{reason="balloon"} 10.0
cram_reaped_total 3.0
cram_trimmed_pages_total 60.0
cram_writes_refused_total{reason="no_more_writes"} 2.0
cram_writes_refused_total{reason="region_limit"} 9.0
cram_pages_lost_total{reason="reset"} 1.0
cram_pages_lost_total{reason="poison"} 2.0
cram_mismatched_pages_total 0.0
cram_verified_pages_total 1000.0
cram_source_scans_total 4.0
cram_node_open 1.0
cram_pressure 500.0
cram_writable_pages 17.0
cram_writable_budget_pages 256.0
cram_pages{state="dram"} 11.0
cram_pages{state="entry"} 12.0
cram_pages{state="ro"} 13.0
cram_pages{state="rw"} 14.0
cram_pages{state="swapped"} 15.0
"""


def samples(text: str) -> Samples:
    """As they come from an agent."""
    return Samples(text_string_to_metric_families(text))


def test_an_agents_metrics_become_a_reading() -> None:
    """Labels choose what counts; what has several reasons is summed."""
    host = parse_host(samples(METRICS))
    assert (host.demotions, host.read_faults, host.mkwrites, host.promotions) == (300, 200, 100, 55)
    assert (host.writebacks, host.pressure_writebacks) == (40, 30)
    assert (host.no_more_writes, host.pages_lost) == (2, 3)
    assert (host.in_dram, host.in_node, host.in_swap) == (11, 39, 15)
    assert (host.node_open, host.pressure, host.writable, host.budget) == (1, 500, 17, 256)


def test_a_metric_that_is_gone_is_told_not_taken_for_0() -> None:
    """A renamed counter must not make a condition silently false, or true."""
    with pytest.raises(KeyError, match="cram_mkwrites_total"):
        parse_host(samples(METRICS.replace("cram_mkwrites_total", "cram_mkwrite_total")))


def test_an_agent_that_does_not_answer() -> None:
    """Told with its address, as everything about processes."""
    with pytest.raises(ProcessError, match=r"metrics at 127\.0\.0\.1:1 cannot be read"):
        scrape_host("127.0.0.1:1")


def test_the_oracles_answer_becomes_a_reading() -> None:
    """Held media, the episode that is on, and the counters."""
    status = operator_pb2.GetStatusResponse(
        telemetry=types_pb2.Telemetry(media_used_bytes=5, media_free_bytes=3, no_more_writes=True),
        media=operator_pb2.MediaUse(reserved_bytes=4),
        counters=operator_pb2.DeviceCounters(no_more_writes=2, peak_media_used_bytes=8),
    )
    status.regions.add()
    device = read_device(status)
    assert (device.used_bytes, device.free_bytes, device.held_by_faults_bytes) == (5, 3, 4)
    assert (device.full, device.no_more_writes, device.regions, device.peak_used_bytes) == (1, 2, 1, 8)
