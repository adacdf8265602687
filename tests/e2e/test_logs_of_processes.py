"""An agent and a device as processes, an exhaustion, and what both write of it."""

from __future__ import annotations

import json
import re
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
LOAD = (
    *("--pages", "1500", "--dram", "20%", "--write-share", "0.2", "--budget", "64"),
    *("--on-bus-error", "rescue", *JSON),
)


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


def refusals(process: ManagedProcess, reason: str) -> list[dict[str, Any]]:
    """The lines that tell of a refusal for this reason."""
    told = lines_of(process)
    return [line for line in told if line["event"] == "call_refused" and line["reason"] == reason]


@pytest.mark.parametrize("transport", ["grpc", "calls", "lane"])
def test_one_id_finds_the_line_at_both_ends(tmp_path: Path, transport: str) -> None:
    """Of a write that the device could not take, whatever way it came."""
    listen = f"unix:{tmp_path}/s" if transport == "lane" else "127.0.0.1:0"
    hard = ("--pages", "1500", "--dram", "20%", "--node", "4MiB", "--incompressible", "0.8")
    options = (*hard, "--accesses", "3000", "--rate", "0", "--transport", transport, *JSON)
    with DeviceProcess(tmp_path, physical="2MiB", args=("--listen", listen, *JSON)) as device:
        agent = AgentProcess(tmp_path, device.address, "synthetic", args=options).start()
        assert agent.wait(60) == 0, agent.log_tail()
    asked, answered = refusals(agent, "NO_MORE_WRITES"), refusals(device, "NO_MORE_WRITES")
    both = {line["request"] for line in asked} & {line["request"] for line in answered}
    assert both, (asked, answered)
    (name, *_) = both
    (mine,) = (line for line in asked if line["request"] == name)
    (theirs,) = (line for line in answered if line["request"] == name)
    assert mine["operation"] == theirs["operation"] == "write"
    assert {mine[fact] == theirs[fact] for fact in ("host", "generation", "session", "message")} == {True}


def test_a_control_call_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Which its refusal brings back."""
    with DeviceProcess(tmp_path, physical="1MiB", args=JSON) as device:
        options = ("--pages", "3000", "--node", "1GiB", *JSON)
        agent = AgentProcess(tmp_path, device.address, "synthetic", args=options).start()
        assert agent.wait(60) == 1
    (mine,), (theirs,) = refusals(agent, "LOGICAL_CAPACITY"), refusals(device, "LOGICAL_CAPACITY")
    assert re.fullmatch(r"[0-9a-f]{8}-\d+", mine["request"])
    assert (mine["request"], "attach") == (theirs["request"], theirs["operation"])
    assert theirs["host"] == "host-a"
    failed = lines_of(agent)[-1]
    assert f"(request {mine['request']})" in failed["message"]


def test_an_agent_that_cannot_begin_says_so_in_a_line(tmp_path: Path) -> None:
    """In JSON as well; the exit status is that of a failure."""
    options = (*LOAD, "--device-timeout", "100ms")
    agent = AgentProcess(tmp_path, "127.0.0.1:1", "synthetic", args=options).start()
    assert agent.wait(30) == 1
    line = lines_of(agent)[-1]
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
