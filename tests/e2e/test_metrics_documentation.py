"""What is said of the metrics: by the documentation, and by the scrape configuration."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cramlab.metrics_page import page

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: make tools")
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
