"""The program itself, as processes: a device, an agent, signals, and power cuts."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from agent_process_helpers import DEADLINE_S, metric, until
from cramlab.processes import AgentProcess, DeviceProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

SYNTHETIC = ("--pages", "2000", "--dram", "20%", "--interval", "100ms", "--stores", "0.05", "--budget", "50")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceProcess]:
    """A real device of 32 MiB."""
    with DeviceProcess(tmp_path, physical="32MiB") as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_in_order(device: DeviceProcess, tmp_path: Path, number: signal.Signals) -> None:
    """Everything is verified, the region is given back, the report is written; exit status 0."""
    events = tmp_path / "events.jsonl"
    with AgentProcess(
        tmp_path, device.address, "synthetic", args=(*SYNTHETIC, "--events", str(events))
    ) as agent:
        until(agent, lambda: metric(agent, "cram_accesses_total") > 4000, "accesses")
        agent.signal(number)
        assert agent.wait(DEADLINE_S) == 0
    assert events.read_text() == "", "nothing happened to the node"
    report = agent.report()
    assert report["exit_reason"] == number.name.lower()
    assert report["pages_mismatched"] == report["pages_lost"] == report["pages_unread"] == 0
    assert report["pages_verified_at_end"] >= 2000
    assert report["demotions"] > 0
    assert report["detached"] is True


def test_a_second_signal_ends_a_run_at_once(device: DeviceProcess, tmp_path: Path) -> None:
    """While the first one waits for a device that is away: nothing is verified, and there is no report."""
    options = (*SYNTHETIC, "--device-timeout", "4s")
    with AgentProcess(tmp_path, device.address, "synthetic", args=options) as agent:
        until(agent, lambda: metric(agent, "cram_demotions_total") > 500, "demotions")
        device.kill()
        until(agent, lambda: metric(agent, "cram_node_online") == 0, "the agent to notice")
        agent.signal(signal.SIGTERM)
        until(agent, lambda: "verifying" in agent.log_text(), "the end to begin")
        agent.signal(signal.SIGTERM)
        assert agent.wait(DEADLINE_S) == 130
    assert "nothing was verified" in agent.log_text()
    assert not agent.report_path.exists()


def test_a_process_is_shadowed_until_it_ends(
    device: DeviceProcess, tmp_path: Path, victim_command: list[str]
) -> None:
    """Its real pages are demoted and read back; its end is the end of the run."""
    with subprocess.Popen(victim_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdin is not None
        assert victim.stdout is not None
        victim.stdout.readline()
        options = ("--dram", "20%", "--interval", "100ms", "--rate", "5000")
        with AgentProcess(tmp_path, device.address, f"pid:{victim.pid}", args=options) as agent:
            until(agent, lambda: metric(agent, "cram_node_accesses_total") > 500, "reads from the device")
            victim.stdin.write("store 3\n")
            victim.stdin.flush()
            victim.stdout.readline()
            scans = metric(agent, "cram_source_scans_total")
            until(agent, lambda: metric(agent, "cram_source_scans_total") > scans + 1, "another scan")
            victim.kill()
            assert agent.wait(DEADLINE_S) == 0
    report = agent.report()
    assert report["exit_reason"] == "source_ended"
    assert report["pages_mismatched"] == 0
    assert report["demotions"] > 100
    assert report["pages_verified"] > 500


def test_power_cut_of_the_device(device: DeviceProcess, tmp_path: Path) -> None:
    """Kill -9 and a restart: the losses are reported page by page, the rest is right, the run goes on."""
    with AgentProcess(tmp_path, device.address, "synthetic", args=SYNTHETIC) as agent:
        until(agent, lambda: metric(agent, "cram_demotions_total") > 500, "demotions")
        until(agent, lambda: metric(agent, "cram_accesses_total") > 2000, "accesses")
        device.kill()
        until(agent, lambda: metric(agent, "cram_node_online") == 0, "the agent to notice")
        before = metric(agent, "cram_verified_pages_total")
        until(
            agent, lambda: metric(agent, "cram_verified_pages_total") > before + 200, "DRAM and swap to go on"
        )
        device.restart()
        until(agent, lambda: metric(agent, "cram_reattaches_total") == 1, "a new session")
        demotions = metric(agent, "cram_demotions_total")
        until(agent, lambda: metric(agent, "cram_demotions_total") > demotions, "demotions to the new device")
        assert agent.terminate() == 0
    report = agent.report()
    assert report["pages_mismatched"] == 0
    assert report["reattaches"] == 1
    assert report["pages_lost"] == report["pages_lost_reset"] > 100
    assert sum(run["pages"] for run in report["lost"]) == report["pages_lost"]
    assert {run["cause"] for run in report["lost"]} == {"reset"}
    assert report["stalls"] > 0


def test_a_device_that_stays_away(device: DeviceProcess, tmp_path: Path) -> None:
    """The end waits for a while; what could be read was right, what could not is told; exit status 1."""
    options = (*SYNTHETIC, "--device-timeout", "300ms", "--end-timeout", "500ms")
    with AgentProcess(tmp_path, device.address, "synthetic", args=options) as agent:
        until(agent, lambda: metric(agent, "cram_demotions_total") > 500, "demotions")
        device.kill()
        until(agent, lambda: metric(agent, "cram_node_online") == 0, "the agent to notice")
        assert agent.terminate() == 1
    report = agent.report()
    assert report["pages_mismatched"] == 0
    assert report["pages_unread"] > 0
    assert report["detached"] is False


def test_a_killed_agent_can_be_followed_by_another(device: DeviceProcess, tmp_path: Path) -> None:
    """Of the same name, which takes its session over; no swap file is left behind."""
    folder = tmp_path / "swap"
    folder.mkdir()
    options = (*SYNTHETIC, "--swap-dir", str(folder))
    with AgentProcess(tmp_path, device.address, "synthetic", args=options) as agent:
        until(agent, lambda: metric(agent, "cram_demotions_total") > 100, "demotions")
        agent.kill()
    assert list(folder.iterdir()) == []
    more = (*options, "--take-over", "--accesses", "500", "--rate", "0")
    with AgentProcess(tmp_path, device.address, "synthetic", args=more) as successor:
        assert successor.wait(DEADLINE_S) == 0
    assert successor.report()["pages_mismatched"] == 0


def test_the_program_starts_quickly_enough_to_be_asked() -> None:
    """--version works without a device."""
    asked = subprocess.run(
        [sys.executable, "-m", "cramagent.main", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert asked.stdout.startswith("cram-agent, version ")
