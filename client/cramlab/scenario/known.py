"""Which measurements there are: names, types and labels, from the code that exports them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final

from cramagent.link import LinkState
from cramagent.metric_families import families
from cramagent.picture import NodePicture, Picture
from cramagent.policy.effects import NodeStatus, Tier
from cramagent.policy.host import Host
from cramagent.policy.settings import LEAST_DRAM_PAGES, PolicySettings
from cramagent.tally import NodeTally, Tally
from cxldev.config import PAGE_BYTES, DeviceConfig
from cxldev.device import Device
from cxldevd.metrics import status_families

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

HISTOGRAM: Final = "histogram"
_OPERATIONS: Final = ("write", "read", "trim", "flush")


@dataclass(slots=True)
class Known:
    """One measurement: what may be asked of it."""

    kind: str
    """`counter`, `gauge` or `histogram`; the parts of a histogram (`_count`, `_sum`) are counters."""
    labels: dict[str, set[str]] = field(default_factory=dict)
    """Values seen, by label; those of `host` are the scenario's own."""


@cache
def known_metrics() -> Mapping[str, Known]:
    """By name, as an expectation writes it.

    The service's own metrics (calls, watchers, streams) are not among them: a simulated device has no
    service around it.
    """
    found: dict[str, Known] = {}
    for metric in (*_of_agent(), *_of_device()):
        if metric.type == HISTOGRAM:
            found[metric.name] = Known(HISTOGRAM)
        for sample in metric.samples:
            if sample.name.endswith(("_bucket", "_created")):
                name, kind = metric.name, HISTOGRAM
            else:
                kind = "counter" if sample.name.endswith(("_total", "_count", "_sum")) else metric.type
                name = sample.name
            labels = found.setdefault(name, Known(kind)).labels
            for label, value in sample.labels.items():
                if label != "le":
                    labels.setdefault(label, set()).add(value)
    return found


def _of_agent() -> Iterable[Metric]:
    host = Host(PolicySettings(dram_pages=LEAST_DRAM_PAGES))
    return families(
        Picture(
            name="host",
            host=host.snapshot(),
            counters=host.counters,
            faults=host.faults.rows(),
            tally=Tally(),
            tiers={tier.value: (0, 0) for tier in Tier},
            nodes=(
                NodePicture(
                    number=0,
                    device="device",
                    tally=NodeTally(),
                    device_ns=dict.fromkeys(_OPERATIONS, 0),
                    refused_writes={status: 0 for status in NodeStatus if status is not NodeStatus.OK},
                    link=LinkState.UP,
                ),
            ),
            pages_left_out=0,
        )
    )


def _of_device() -> Iterable[Metric]:
    device = Device(DeviceConfig(physical_capacity_bytes=1 << 20), generation="0", now_ns=0)
    # Without a host there are no series of regions.
    device.attach(session="1", host="host", logical_bytes=PAGE_BYTES, now_ns=0)
    return status_families(device.status(0))
