"""A benchmark that is ended from outside leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from cramlab.processes import script

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

DEADLINE_S = 30.0


def test_sigterm_ends_the_devices_of_a_benchmark(tmp_path: Path) -> None:
    """As Ctrl-C does: the device is stopped before the command ends."""
    run = subprocess.Popen(
        [script("cramctl"), "bench", "--only", "write-64"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + DEADLINE_S
    ready: list[Path] = []
    while not ready:
        assert run.poll() is None
        assert time.monotonic() < end
        ready = list(tmp_path.glob("cramctl-bench-*/*.ready.json"))
    device = json.loads(ready[0].read_text())["pid"]
    run.send_signal(signal.SIGTERM)
    assert run.wait(DEADLINE_S) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(device, 0)
    assert list(tmp_path.glob("cramctl-bench-*")) == []
