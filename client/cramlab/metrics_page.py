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
    from collections.abc import Iterable

    from prometheus_client import Metric

HEAD: Final = """\
# Metrics

What both sides export, in base units (bytes, seconds). Counters end in `_total`. Every label
takes its values from a small fixed set, except `host`, of which there are as many as hosts
attached. Wall time and device time are never in one metric. This page is written by
`make metrics-page` from what the processes export; a test checks that it is current.

A Prometheus that scrapes both: `deploy/prometheus/prometheus.yml`, with rules beside it in
`rules/`; what each alert means is in [runbook.md](runbook.md). Dashboards: [grafana.md](grafana.md).
"""

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


def page() -> str:
    """The whole page, from a device and an agent that are started for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with DeviceProcess(folder, physical="16MiB") as device:
            options = ("--pages", "256", "--host", "host-a")
            with AgentProcess(folder, device.address, "synthetic", args=options) as agent:
                # The device shows a region's metrics only while a host is attached.
                return (
                    HEAD
                    + table("Device", read_families(device.metrics_address))
                    + table("Agent", read_families(agent.metrics_address))
                )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
