"""A short soak with real processes, and what Ctrl-C leaves of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cramctl.main import main

pytestmark = pytest.mark.e2e

DEADLINE_S = 60.0


def test_a_short_soak(tmp_path: Path) -> None:
    """Three hosts and a device, each killed and stopped: every page right, no media held."""
    result = CliRunner().invoke(
        main,
        [
            *("soak", "--seconds", "8", "--hosts", "3", "--seed", "5"),
            *("--json", str(tmp_path / "soak.json")),
        ],
        env={"TMPDIR": str(tmp_path)},
    )
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "soak.json").read_text())
    assert told["passed"]
    assert told["pages_mismatched"] == 0
    assert told["pages_verified_at_end"] >= 3 * 800
    assert told["media_used_at_end_size"] == 0
    restarts = told["device_restarts"]
    assert sum(restarts.values()) == 2
    assert restarts["same_generation"] >= 1, "the one that was asked to end had --state"
    assert told["lives"] > told["hosts"]
    assert "all was right" in result.output


def test_ctrl_c_ends_the_soak(tmp_path: Path) -> None:
    """Exit code 130, one line, and no process is left."""
    command = [sys.executable, "-m", "cramctl.main", "soak", "--seconds", "300", "--hosts", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "1/1 hosts" in line:
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(DEADLINE_S) == 130
    assert "interrupted; all processes were stopped" in rest
    assert len(children) >= 2
    # They were this command's own, and it has waited for each before it ended.
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
