"""An agent and a device as processes, an exhaustion, and what both write of it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from agent_process_helpers import metric, until
from cramlab.processes import AgentProcess, DeviceProcess, script

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.processes import ManagedProcess

pytestmark = pytest.mark.e2e

JSON = ("--log-format", "json")
LOAD = ("--pages", "1500", "--dram", "20%", "--write-share", "0.2", "--budget", "64", *JSON)


def lines_of(process: ManagedProcess) -> list[dict[str, Any]]:
    """All that a process wrote; what a device says of itself on stdout is left out."""
    written = process.log_text().splitlines()
    return [json.loads(line) for line in written if not line.startswith(("$ ", "cxldevd: hosts "))]


def operate(device: DeviceProcess, *command: str) -> None:
    """Run `cramctl`."""
    environment = {"CRAMCTL_OPERATOR": device.operator_address, "PATH": "/usr/bin:/bin"}
    subprocess.run([script("cramctl"), *command], env=environment, check=True, capture_output=True)


def exhausted(device: DeviceProcess, folder: Path, *options: str) -> AgentProcess:
    """An agent that lived through an exhaustion, and ended."""
    with AgentProcess(folder, device.address, "synthetic", args=(*LOAD, *options)) as agent:
        until(agent, lambda: metric(agent, "cram_demotions_total") > 500, "demotions")
        operate(device, "inject", "exhaustion", "--share", "1.0")
        until(agent, lambda: metric(agent, "cram_writebacks_total") > 100, "writeback")
        operate(device, "clear", "--all")
        until(agent, lambda: metric(agent, "cram_node_transitions_total") > 1, "the node to open")
        agent.terminate()
        assert agent.wait(60) == 0, agent.log_tail()
    return agent


def test_every_line_is_json_with_its_host(tmp_path: Path) -> None:
    """On both sides, from the first to the last; nothing else is written beside them."""
    with DeviceProcess(tmp_path, physical="16MiB", args=JSON) as device:
        agent = exhausted(device, tmp_path)
    told = lines_of(agent)
    assert all({"time", "level", "event", "host", "device"} <= line.keys() for line in told)
    events = [line["event"] for line in told]
    assert events[0] == "attached"
    assert events[-1] == "ended"
    assert {"node_closed", "node_opened", "writeback_began", "writeback_ended"} <= set(events)
    assert told[-1]["exit_status"] == 0
    heard = {line["event"]: line for line in lines_of(device)}
    assert {"attached", "fault_armed", "watermark_crossed", "fault_cleared", "detached"} <= heard.keys()
    assert heard["attached"]["generation"] == told[0]["generation"]


def test_an_agent_that_cannot_begin_says_so_in_a_line(tmp_path: Path) -> None:
    """In JSON as well; the exit status is that of a failure."""
    options = (*LOAD, "--device-timeout", "100ms")
    agent = AgentProcess(tmp_path, "127.0.0.1:1", "synthetic", args=options).start()
    assert agent.wait(30) == 1
    (line,) = lines_of(agent)
    assert (line["level"], line["event"], line["host"]) == ("error", "failed", "host-a")
    assert line["message"].startswith("no device answers at 127.0.0.1:1")


@pytest.mark.parametrize(
    ("option", "value"), [("--log-format", "xml"), ("--log-level", "loud"), ("--log-level", "")]
)
def test_a_bad_option_is_one_clear_line(option: str, value: str) -> None:
    """As every other."""
    argv = [script("cram-agent"), "run", "--device", "127.0.0.1:1", "--source", "synthetic", option, value]
    ran = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"cram-agent: Invalid value for '{option}': '{value}' is not one of")
