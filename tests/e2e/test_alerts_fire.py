"""The alerts as an operator gets them: a real device, agent, Prometheus and Alertmanager."""

from __future__ import annotations

import itertools
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from agent_helpers import NS_PER_S, PAGE
from cramagent.node_client import NodeClient, Region
from cramctl.operator import Operator
from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.v1 import operator_pb2 as pb
from prometheus_helpers import (
    AlertmanagerServer,
    PrometheusServer,
    Webhook,
    needs_alertmanager,
    needs_prometheus,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

FASTER_BY: Final = 20
"""Five minutes are 15 s."""
PREDICTED: Final = "CxlDeviceMediaExhaustionPredicted"
REFUSED: Final = "CxlDeviceNoMoreWrites"
FILL_NS: Final = 10_000_000_000


@contextmanager
def heedless_host(device: DeviceProcess) -> Iterator[Callable[[], None]]:
    """A host that heeds no watermark: one more raw page a call, refused or not; it never renews."""
    client = NodeClient(device.address, 10 * NS_PER_S, "grpc")
    try:
        client.identify(wait_s=30)
        session, _ = client.attach(
            Region("heedless", 512 * PAGE, lease_ns=600 * NS_PER_S), take_over=False, wait_s=30
        )
        pages = itertools.cycle(range(512))
        noise = random.Random(1).randbytes(PAGE)

        def write_more() -> None:
            client.write(session, [next(pages) * PAGE], noise)

        yield write_more
    finally:
        client.close()


@needs_prometheus
@needs_alertmanager
def test_an_exhaustion_is_foretold_then_told_then_over(tmp_path: Path) -> None:
    """Media is taken little by little: the forecast comes before the refusal; both end with the clear."""
    with (
        DeviceProcess(tmp_path, physical="16MiB", args=("--watermark-critical", "0")) as device,
        AgentProcess(tmp_path, device.address, "synthetic", args=("--pages", "3000")) as agent,
        heedless_host(device) as write_more,
        Operator(device.operator_address) as operator,
        Webhook() as webhook,
        AlertmanagerServer(tmp_path, webhook.url) as alertmanager,
        PrometheusServer(
            tmp_path,
            {"cxldev": [device.metrics_address], "cram": [agent.metrics_address]},
            faster_by=FASTER_BY,
            alertmanager=alertmanager.address,
        ) as prometheus,
    ):
        until(lambda: len(prometheus.query("up == 1")) == 2, prometheus, "both are scraped")
        operator.inject(pb.Fault(exhaustion=pb.ExhaustionFault(share_milli=1000, ramp_ns=FILL_NS)))

        def told() -> bool:
            write_more()
            return webhook.said(REFUSED, "firing") is not None

        until(told, prometheus, f"{REFUSED} is sent")
        operator.clear()
        for name in (PREDICTED, REFUSED):
            until(lambda: webhook.said(name, "resolved") is not None, prometheus, f"{name} is over")  # noqa: B023 -- at once
        forecast, refusal = webhook.said(PREDICTED, "firing"), webhook.said(REFUSED, "firing")
        assert forecast is not None
        assert refusal is not None
        assert forecast.starts_at < refusal.starts_at
        assert forecast.labels["instance"] == refusal.labels["instance"] == device.metrics_address
        assert prometheus.firing().isdisjoint({PREDICTED, REFUSED})
