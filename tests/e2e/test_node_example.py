"""The worked example of a suite in another language: its tests pass against a real device."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "node"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (EXAMPLE / "node_modules").is_dir(), reason="the Node example's packages are not installed"
    ),
]


def test_a_suite_in_node_starts_exhausts_and_clears_a_device() -> None:
    """Run as docs/testing.md says, with `cxldevd` on the path."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    run = subprocess.run(
        ["node", "--test", "--test-reporter=tap"],
        cwd=EXAMPLE,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "# pass 2" in run.stdout
