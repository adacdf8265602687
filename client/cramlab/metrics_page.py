"""`docs/metrics.md`, written from what a real device and a real agent export.

python -m cramlab.metrics_page docs/metrics.md
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cramlab.processes import AgentProcess, DeviceProcess
from cramlab.scrape import read_families

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client import Metric

HEAD: Final = """\
# Metrics

What both sides export, in base units (bytes, seconds). Counters end in `_total`. Wall time and device
time are never in one metric. This page is written by `make metrics-page` from what the processes export;
a test checks that it is current.

A Prometheus that scrapes both: `deploy/prometheus/prometheus.yml`, with rules beside it in
`rules/`; what each alert means is in [runbook.md](runbook.md), what the words mean in [words.md](words.md).
Dashboards: [grafana.md](grafana.md).
"""

COST: Final = """
## How many series, and what a scrape costs

Every label takes its values from a small fixed set, all of which are there from the start, but for three:
`host` (as many as hosts are attached, at most the device's `--max-regions`), `code` (gRPC's seventeen, of
each operation those that were met), and `generation` (one at a time, a new one at each power-on). `node` is
one of an agent's nodes: a number from 0 on, in the order of `--device`; `cram_node_info` says where it is.

| | series |
|---|---:|
| a device | {device} |
| for each host that is attached | {each_host} |
| for each of the {operations} operations and each code that it ever answered with | 1 |
| an agent | {agent} |
| for each node of an agent but the first | {each_node} |

A scrape of the device reads its counters in one go, a few microseconds for each host, and looks at no page:
it takes as long where a million are stored as where none is. Hosts wait for that reading alone; the text is
written down afterwards. An agent's main loop takes a picture of its counters five times a second, whether or
not anybody asks; a scrape tells the newest. Figures: [performance.md](performance.md), rows `scrape-*`.
"""

_BY_HISTORY: Final = "cxldev_requests"
"""The family that has a series for what was met."""
_LABELS_OF_THE_FORMAT: Final = {"le"}
_NOT_OURS: Final = ("python_", "process_")


def table(title: str, families: Iterable[Metric]) -> str:
    """One row a metric, in the order of their names."""
    rows = [f"\n## {title}\n", "| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in sorted(families, key=lambda one: one.name):
        if family.name.startswith(_NOT_OURS) or not family.documentation:
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = sorted(
            {label for sample in family.samples for label in sample.labels} - _LABELS_OF_THE_FORMAT
        )
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    return "\n".join(rows) + "\n"


def cost(device: Sequence[Metric], agent: Sequence[Metric]) -> str:
    """Series of ours, counted. `device`: of one that has one host attached."""
    ours = [
        (family.name, sample.labels)
        for family in device
        if not family.name.startswith(_NOT_OURS)
        for sample in family.samples
    ]
    each_host = sum("host" in labels for _, labels in ours)
    by_history = [labels["operation"] for name, labels in ours if name == _BY_HISTORY]
    return COST.format(
        device=len(ours) - each_host - len(by_history),
        each_host=each_host,
        operations=len(set(by_history)),
        agent=sum(len(family.samples) for family in agent if not family.name.startswith(_NOT_OURS)),
        each_node=sum("node" in sample.labels for family in agent for sample in family.samples),
    )


def page() -> str:
    """The whole page, from a device and an agent that are started for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with DeviceProcess(folder, physical="16MiB") as device:
            options = ("--pages", "256", "--host", "host-a")
            with AgentProcess(folder, device.address, "synthetic", args=options) as agent:
                # The device shows a region's metrics only while a host is attached.
                of_device = read_families(device.metrics_address)
                of_agent = read_families(agent.metrics_address)
                return (
                    HEAD + cost(of_device, of_agent) + table("Device", of_device) + table("Agent", of_agent)
                )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
