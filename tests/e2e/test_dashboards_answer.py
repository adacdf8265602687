"""Every expression of every dashboard, asked of a real Prometheus that scraped a real run with faults."""

from __future__ import annotations

import json
import math
import re
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from cramctl.operator import Operator
from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.v1 import operator_pb2 as pb
from dashboard_helpers import DASHBOARDS, asked, filled
from prometheus_helpers import PrometheusServer, needs_prometheus, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.e2e

FASTER_BY: Final = 30
"""Five minutes are 10 s."""
FILL_NS: Final = 6_000_000_000
HOSTS: Final = ("host-a", "host-b")
LIVELY: Final = ("--pages", "3000", "--stores", "0.05", "--interval", "200ms", "--budget", "64")


class Questions:
    """What dashboards ask that no data came for yet, asked as Grafana would: of now, or of all the run."""

    def __init__(self, values: Mapping[str, str], since: float) -> None:
        self._since = since
        self.open: dict[tuple[str, bool], str] = {}
        for name, dashboard in DASHBOARDS.items():
            for one in asked(dashboard):
                self.open.setdefault((filled(one.expression, values), one.over_time), f"{name}: {one.place}")

    def ask(self, prometheus: PrometheusServer) -> None:
        """Ask all of them once more, and drop those that are answered with a number."""
        for expression, over_time in list(self.open):
            if any(not math.isnan(value) for value in self._answer(prometheus, expression, over_time)):
                del self.open[expression, over_time]

    def _answer(self, prometheus: PrometheusServer, expression: str, over_time: bool) -> Iterator[float]:
        if over_time:
            series = prometheus.query_range(expression, self._since)
            return (float(value) for one in series for _, value in one["values"])
        return (float(one["value"][1]) for one in prometheus.query(expression))


@needs_prometheus
def test_every_expression_of_every_dashboard_returns_data(tmp_path: Path) -> None:
    """Two hosts, a device that runs low while pages are poisoned and commands slow; then a reset."""
    with (
        DeviceProcess(tmp_path, physical="16MiB", args=("--watermark-critical", "0")) as device,
        AgentProcess(tmp_path, device.address, "synthetic", host=HOSTS[0], args=LIVELY) as first,
        AgentProcess(tmp_path, device.address, "synthetic", host=HOSTS[1], args=LIVELY) as second,
        Operator(device.operator_address) as operator,
        PrometheusServer(
            tmp_path,
            {"cxldev": [device.metrics_address], "cram": [first.metrics_address, second.metrics_address]},
            faster_by=FASTER_BY,
        ) as prometheus,
    ):
        since = time.time()
        values = {
            "device": device.metrics_address,
            "host": "|".join(HOSTS),
            "host_a": HOSTS[0],
            "host_b": HOSTS[1],
            "agent": f"{first.metrics_address}|{second.metrics_address}",
            "agent_a": first.metrics_address,
            "agent_b": second.metrics_address,
            "earlier": "1ms",
            "__rate_interval": "4s",
            "__range": "20s",
        }
        questions = Questions(values, since)
        until(lambda: len(prometheus.query("up == 1")) == 3, prometheus, "all are scraped")
        squeeze = operator.inject(pb.Fault(exhaustion=pb.ExhaustionFault(share_milli=1000, ramp_ns=FILL_NS)))
        operator.inject(pb.Fault(poison=pb.PoisonFault(host=HOSTS[0], random_pages=8)))
        operator.inject(pb.Fault(latency=pb.LatencyFault(device_ns=50_000)))

        def ran_low() -> bool:
            questions.ask(prometheus)
            return bool(prometheus.query("cxldev_watermark_level >= 4"))

        until(ran_low, prometheus, "the device runs low")
        operator.inject(pb.Fault(reset=pb.ResetFault()))
        # There is room again, and the hosts fill it.
        operator.clear(squeeze.fault_id)

        def answered() -> bool:
            questions.ask(prometheus)
            return not questions.open

        try:
            until(answered, prometheus, "every expression returns data")
        except AssertionError as error:
            missing = {place: expression for (expression, _), place in questions.open.items()}
            raise AssertionError(f"no data for {json.dumps(missing, indent=2)}") from error
        for name in DASHBOARDS:
            kinds = {one["metric"]["kind"] for one in marks(prometheus, name, "Armed faults", values, since)}
            assert {"exhaustion", "latency"} <= kinds, name
            devices = marks(prometheus, name, "Generation changes", values, since)
            assert [one["metric"]["instance"] for one in devices] == [device.metrics_address], name


def marks(
    prometheus: PrometheusServer, dashboard: str, name: str, values: Mapping[str, str], since: float
) -> list[dict[str, Any]]:
    """Series of one annotation: each one's labels are what its title says, its times where it stands."""
    (found,) = (one for one in DASHBOARDS[dashboard]["annotations"]["list"] if one["name"] == name)
    assert found["enable"]
    titled = set(re.findall(r"{{(\w+)}}", found["titleFormat"] + found["textFormat"]))
    series = prometheus.query_range(filled(found["expr"], values), since)
    assert all(titled <= set(one["metric"]) for one in series)
    return series
