"""What both sides export, as Prometheus and as the reader of the documentation see it."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cramlab.metrics_page import page
from cramlab.processes import AgentProcess, DeviceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.e2e

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Metrics addresses of a device and of an agent that uses it."""
    folder = tmp_path_factory.mktemp("metrics")
    with DeviceProcess(folder, physical="16MiB") as device:
        options = ("--pages", "500", "--dram", "20%")
        with AgentProcess(folder, device.address, "synthetic", args=options) as agent:
            yield {"device": device.metrics_address, "agent": agent.metrics_address}


@needs_promtool
@pytest.mark.parametrize("side", ["device", "agent"])
def test_promtool_finds_nothing_to_say(endpoints: dict[str, str], side: str) -> None:
    """Names, units, types and HELP as Prometheus wants them."""
    with urllib.request.urlopen(f"http://{endpoints[side]}/metrics", timeout=10) as answer:
        text = answer.read()
    run = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@needs_promtool
def test_the_scrape_configuration_is_valid() -> None:
    """As Prometheus itself would read it."""
    configuration = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    run = subprocess.run(
        ["promtool", "check", "config", configuration], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_documentation_of_the_metrics_is_current() -> None:
    """`make metrics-page` would change nothing."""
    assert (ROOT / "docs" / "metrics.md").read_text() == page()
