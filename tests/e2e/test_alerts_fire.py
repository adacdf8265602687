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
from cramlab.browser import Browser, find
from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.v1 import operator_pb2 as pb
from dashboard_helpers import filled, looks, panel
from prometheus_helpers import (
    DEADLINE_S,
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
FILL_NS: Final = 20_000_000_000
FORECAST_S: Final = 600 / FASTER_BY
"""How far ahead the rule looks, as it is made faster."""


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


class Screens:
    """What an operator has before them: the device's page, and Grafana's panels (their values and colours).

    A panel's expression is asked of Prometheus, and read as the panel would show it.
    """

    def __init__(self, browser: Browser, prometheus: PrometheusServer, device: str, agent: str) -> None:
        self._browser = browser
        self._prometheus = prometheus
        self._values = {"device": device, "agent": agent, "host": ".+"}

    def until_page(self, script: str) -> None:
        """Wait until this is so on the page."""
        self._browser.until(script, deadline_s=DEADLINE_S)

    def until_panel(self, dashboard: str, title: str, shows: str, colour: str) -> None:
        """Wait until a panel says this, in this colour."""
        until(
            lambda: (shows, colour) in self._looks(dashboard, title),
            self._prometheus,
            f"{dashboard}: {title} shows {shows} in {colour}",
        )

    def until_names(self, dashboard: str, title: str, names: set[str]) -> None:
        """Wait until these alerts are listed."""

        def listed() -> bool:
            series = self._prometheus.query(self._expression(dashboard, title))
            return names <= {one["metric"]["alertname"] for one in series}

        until(listed, self._prometheus, f"{dashboard}: {title} lists {names}")

    def number(self, dashboard: str, title: str) -> tuple[float, str] | None:
        """A panel's value and its colour; None while it is empty."""
        series = self._prometheus.query(self._expression(dashboard, title))
        if not series:
            return None
        value = float(series[0]["value"][1])
        return value, looks(panel(dashboard, title), value)[1]

    def _looks(self, dashboard: str, title: str) -> list[tuple[str, str]]:
        series = self._prometheus.query(self._expression(dashboard, title))
        return [looks(panel(dashboard, title), float(one["value"][1])) for one in series]

    def _expression(self, dashboard: str, title: str) -> str:
        (target,) = panel(dashboard, title)["targets"]
        return filled(target["expr"], self._values)


def foretold(screens: Screens, webhook: Webhook) -> bool:
    """While nothing is refused yet: the page says when, the dashboards in the colour of the alert."""
    if webhook.said(PREDICTED, "firing") is None:
        return False
    for dashboard in ("fleet", "device"):
        left = screens.number(dashboard, "Runs out in")
        assert left is not None
        seconds, colour = left
        assert 0 <= seconds < FORECAST_S
        # By the panel's own bound: ten minutes, as the rule that is shipped has it.
        assert colour == "orange"
    return True


@needs_prometheus
@needs_alertmanager
@pytest.mark.skipif(find() is None, reason="Chromium is not installed: make tools")
def test_an_exhaustion_is_foretold_then_told_then_over(tmp_path: Path) -> None:
    """Media is taken little by little: the forecast comes before the refusal; both end with the clear.

    The device's page and the dashboards show each of these as it comes, and that it is over.
    """
    with (
        DeviceProcess(tmp_path, physical="16MiB", args=("--watermark-critical", "0")) as device,
        AgentProcess(tmp_path, device.address, "synthetic", args=("--pages", "3000")) as agent,
        heedless_host(device) as write_more,
        Operator(device.operator_address) as operator,
        Webhook() as webhook,
        Browser() as browser,
        AlertmanagerServer(tmp_path, webhook.url) as alertmanager,
        PrometheusServer(
            tmp_path,
            {"cxldev": [device.metrics_address], "cram": [agent.metrics_address]},
            faster_by=FASTER_BY,
            alertmanager=alertmanager.address,
        ) as prometheus,
    ):
        screens = Screens(browser, prometheus, device.metrics_address, agent.metrics_address)
        browser.open(f"http://{device.metrics_address}/")
        until(lambda: len(prometheus.query("up == 1")) == 2, prometheus, "both are scraped")
        screens.until_panel("device", "Writes", "takes writes", "green")
        operator.inject(pb.Fault(exhaustion=pb.ExhaustionFault(share_milli=1000, ramp_ns=FILL_NS)))

        screens.until_page("/^in \\d+/.test(document.getElementById('full').innerText)")
        until(lambda: foretold(screens, webhook), prometheus, f"{PREDICTED} is sent")
        assert webhook.said(REFUSED, "firing") is None
        screens.until_names("fleet", "What fires", {PREDICTED})

        def told() -> bool:
            write_more()
            return webhook.said(REFUSED, "firing") is not None

        until(told, prometheus, f"{REFUSED} is sent")
        screens.until_panel("device", "Writes", "no more writes", "red")
        screens.until_panel("fleet", "Worst watermark", "critical", "red")
        screens.until_names("fleet", "What fires", {REFUSED})
        screens.until_page("document.title.startsWith('FULL')")
        screens.until_page("!document.getElementById('no-more-writes').hidden")
        screens.until_page("document.querySelector('.chart .full') !== null")

        operator.clear()
        for name in (PREDICTED, REFUSED):
            until(lambda: webhook.said(name, "resolved") is not None, prometheus, f"{name} is over")  # noqa: B023 -- at once
        screens.until_page("document.getElementById('no-more-writes').hidden")
        screens.until_panel("device", "Writes", "takes writes", "green")
        screens.until_panel("fleet", "Alerts firing", "0", "green")
        forecast, refusal = webhook.said(PREDICTED, "firing"), webhook.said(REFUSED, "firing")
        assert forecast is not None
        assert refusal is not None
        assert forecast.starts_at < refusal.starts_at
        assert forecast.labels["instance"] == refusal.labels["instance"] == device.metrics_address
        assert prometheus.firing().isdisjoint({PREDICTED, REFUSED})
