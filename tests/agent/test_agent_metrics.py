"""The agent's /metrics: names, units, bounded labels, and figures that agree with the machine."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent_helpers import running_agent
from cramagent.metrics import AgentCollector, serve_metrics
from cramagent.sources import Synthetic
from cramagent.sources.synthetic import SyntheticSource
from cramagent.tally import Histogram
from server_helpers import bench_of

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

NAMES = [
    "cram_pages",
    "cram_faults",
    "cram_writable_pages",
    "cram_writable_budget_pages",
    "cram_mkwrite_denied",
    "cram_entries",
    "cram_zombies",
    "cram_zombie_oldest_age_seconds",
    "cram_reaped",
    "cram_trim_batches",
    "cram_trim_waiting_pages",
    "cram_trimmed_pages",
    "cram_pressure",
    "cram_node_open",
    "cram_node_online",
    "cram_demotions",
    "cram_promotions",
    "cram_writebacks",
    "cram_balloon_target_bytes",
    "cram_balloon_bytes",
    "cram_bus_errors",
    "cram_pages_lost",
    "cram_event_lag_seconds",
    "cram_fault_seconds",
    "cram_device_seconds",
    "cram_dram_used_bytes",
    "cram_dram_limit_bytes",
    "cram_swap_used_bytes",
    "cram_verified_pages",
    "cram_mismatched_pages",
    "cram_accesses",
]
"""Families that must be there; counters without their _total."""


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, AgentCollector]:
    """What one scrape of a run that has ended says, and the collector behind it."""
    folder: Path = tmp_path_factory.mktemp("metrics")
    collector = AgentCollector()
    with bench_of(physical=2 << 20) as bench:
        source = SyntheticSource(Synthetic(seed=1, pages=200, stores=0.1))
        with running_agent(bench.service.address, source, folder, accesses=1000) as agent:
            agent.join()
            collector.publish(agent.machine)
    address, server, thread = serve_metrics(collector, "127.0.0.1", 0)
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    server.shutdown()
    server.server_close()
    thread.join()
    return text, collector


@pytest.fixture
def families(exposed: tuple[str, AgentCollector]) -> dict[str, Metric]:
    """The families by name."""
    return {family.name: family for family in text_string_to_metric_families(exposed[0])}


def test_everything_that_was_promised_is_there(families: dict[str, Metric]) -> None:
    """With a sentence of help, and with samples from the start."""
    assert set(NAMES) <= set(families)
    for family in families.values():
        assert family.documentation.endswith("."), family.name
        assert family.samples, family.name


def test_labels_are_few_and_bounded(families: dict[str, Metric]) -> None:
    """Words of ours and the numbers of nodes, never a name from outside: but for the two that say whose."""
    for family in families.values():
        if family.name == "cram_host_info":
            assert [sample.labels for sample in family.samples] == [{"host": "host-a"}]
            continue
        if family.name == "cram_node_info":
            assert [set(sample.labels) for sample in family.samples] == [{"node", "device"}]
            continue
        for sample in family.samples:
            labels = {key: value for key, value in sample.labels.items() if key != "le"}
            assert labels.pop("node", "0") == "0"
            assert set(labels) <= {"state", "kind", "outcome", "reason", "tier", "operation", "to"}
            assert all(value.replace("_", "").isalpha() for value in labels.values()), sample


def test_figures_agree_with_each_other(families: dict[str, Metric]) -> None:
    """One picture: DRAM pages, faults and their histogram."""

    def total(name: str) -> float:
        return sum(sample.value for sample in families[name].samples if not sample.name.endswith("_created"))

    faults = total("cram_faults")
    counted = [sample for sample in families["cram_fault_seconds"].samples if sample.name.endswith("_count")]
    assert counted[0].value == faults > 0
    assert total("cram_verified_pages") > 0
    assert total("cram_mismatched_pages") == 0
    assert 0 < total("cram_dram_used_bytes") <= total("cram_dram_limit_bytes")
    assert total("cram_node_open") in {0, 1}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: make tools")
def test_promtool_has_nothing_to_say(exposed: tuple[str, AgentCollector]) -> None:
    """Names, units, types and help as Prometheus wants them."""
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposed[0],
        text=True,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_nothing_is_told_before_the_first_picture() -> None:
    """Rather than zeros that were never counted."""
    assert list(AgentCollector().collect()) == []


def test_a_histogram_counts_at_most() -> None:
    """Buckets are cumulative, bounds inclusive, the last one is everything."""
    histogram = Histogram((1.0, 2.5))
    for value in (0.5, 1.0, 2.0, 9.0):
        histogram.observe(value)
    assert histogram.buckets() == [("1", 2.0), ("2.5", 3.0), ("+Inf", 4.0)]
    assert histogram.sum == 12.5
