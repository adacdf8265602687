"""Every expression of every dashboard, asked of a real Prometheus that scraped a real run with faults."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from cramctl.operator import Operator
from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.v1 import operator_pb2 as pb
from prometheus_helpers import PrometheusServer, needs_prometheus, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).parents[2]
DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
FASTER_BY: Final = 30
"""Five minutes are 10 s."""
FILL_NS: Final = 6_000_000_000
LABEL_VALUES: Final = re.compile(r"label_values\((?P<series>.*), (?P<label>\w+)\)")
HOSTS: Final = ("host-a", "host-b")
LIVELY: Final = ("--pages", "3000", "--stores", "0.05", "--interval", "200ms", "--budget", "64")


def expressions(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Whatever Grafana would ask for: where it stands, and the expression."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found = LABEL_VALUES.fullmatch(variable["query"])
            assert found is not None
            label = found["label"]
            # A series without the label would be matched by one without any.
            yield (
                f"variable {variable['name']}",
                f"group by ({label}) ({found['series']}) unless on ({label}) vector(1)",
            )


def filled(expression: str, values: Mapping[str, str]) -> str:
    """With its variables filled in."""
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    assert "$" not in expression
    return expression


class Questions:
    """Expressions that no data came for yet."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.open: dict[str, str] = {}
        for path in DASHBOARDS:
            for place, expression in expressions(json.loads(path.read_text())):
                self.open.setdefault(filled(expression, values), f"{path.stem}: {place}")

    def ask(self, prometheus: PrometheusServer) -> None:
        """Ask all of them once more, and drop those that are answered with a number."""
        for expression in list(self.open):
            if any(not math.isnan(float(one["value"][1])) for one in prometheus.query(expression)):
                del self.open[expression]


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
        questions = Questions(
            {
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
        )
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
            raise AssertionError(f"no data for {json.dumps(questions.open, indent=2)}") from error
