"""A client that shares no code with us: Node's `@grpc/grpc-js` against a real `cxldevd`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cramlab.processes import DeviceProcess

CLIENT = Path(__file__).parent / "node_client"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (CLIENT / "node_modules").is_dir(), reason="the Node client's packages are not installed"
    ),
]


def test_a_node_client_lives_through_the_whole_life_of_a_page(tmp_path: Path) -> None:
    """Attach, write, read, TRIM, FLUSH, exhaust, recover, detach: each step asserts what the docs say."""
    with DeviceProcess(tmp_path, physical="1MiB") as device:
        run = subprocess.run(
            ["node", CLIENT / "client.mjs", device.address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.findall(r"^ok (\d+) - ", run.stdout, re.MULTILINE)
    assert run.stdout.endswith(f"1..{len(passed)}\n")
    assert len(passed) == 13
