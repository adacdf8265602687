"""`cram-agent run --state`: a run goes on where the one before it ended, or honestly begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from agent_process_helpers import metric, until
from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.v1 import operator_pb2, operator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

DEADLINE_S = 60.0
OPTIONS = ("--pages", "600", "--dram", "20%", "--budget", "16", "--interval", "200ms", "--lease", "120s")
ACCESSES = ("--accesses", "1000", "--rate", "0")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceProcess]:
    """A device that keeps its state, too."""
    with DeviceProcess(tmp_path, physical="16MiB", args=("--state", str(tmp_path / "device"))) as process:
        yield process


def agent(folder: Path, device: DeviceProcess, *more: str) -> AgentProcess:
    """A run of the host `ada`; not started."""
    options = (*OPTIONS, "--state", str(folder / "ada.state"), *more)
    return AgentProcess(folder, device.address, "synthetic", host="ada", args=options)


def finished(run: AgentProcess) -> dict[str, Any]:
    """Its report, once it has ended by itself, and well."""
    run.start()
    assert run.wait(DEADLINE_S) == 0, run.log_text()
    report = run.report()
    assert report["pages_mismatched"] == report["pages_unread"] == 0
    return report


def region(device: DeviceProcess) -> Any:
    """What the device has of the only host."""
    with grpc.insecure_channel(device.operator_address) as channel:
        status = operator_pb2_grpc.OracleServiceStub(channel).GetStatus(
            operator_pb2.GetStatusRequest(), timeout=10
        )
    (one,) = status.regions
    return one.telemetry


def test_a_run_goes_on_over_a_restart_of_both(device: DeviceProcess, tmp_path: Path) -> None:
    """Same generation, same session, the same pages on the device; every byte is verified, none is lost."""
    first = finished(agent(tmp_path, device, *ACCESSES))
    held = region(device).stored_pages
    assert held > 0
    assert device.terminate() == 0, device.log_text()
    device.start()
    device.wait_ready()
    assert region(device).stored_pages == held
    run = agent(tmp_path, device, *ACCESSES)
    second = finished(run)
    assert second["generation"] == first["generation"]
    assert second["pages_lost"] == second["reattaches"] == 0
    assert " 0 lost, 0 unread" in run.log_text()
    assert second["demotions"] >= first["demotions"] > 0


def test_another_generation_costs_what_was_on_the_device(device: DeviceProcess, tmp_path: Path) -> None:
    """Those pages are lost, and counted; the others are not; they are stored anew and the run goes on."""
    first = finished(agent(tmp_path, device, *ACCESSES))
    held = region(device).stored_pages
    device.restart()
    report = finished(agent(tmp_path, device, "--duration", "2s"))
    assert report["generation"] != first["generation"]
    assert report["reattaches"] == 1
    assert report["pages_lost"] == report["pages_lost_reset"] >= held


def test_a_killed_run_leaves_nothing_that_could_be_wrong(device: DeviceProcess, tmp_path: Path) -> None:
    """Its table is gone with it, so its region is taken over, which trims it: nothing lost is passed off."""
    finished(agent(tmp_path, device, *ACCESSES))
    assert (tmp_path / "ada.state").exists()
    with agent(tmp_path, device) as run:
        until(run, lambda: metric(run, "cram_node_online") == 1, "it goes on")
        assert not (tmp_path / "ada.state").exists()
        run.kill()
    report = finished(agent(tmp_path, device, *ACCESSES))
    assert report["pages_lost"] == report["reattaches"] == 0
    assert region(device).stored_pages <= region(device).logical_bytes // 4096


def test_a_run_of_other_settings_says_why_it_cannot_go_on(device: DeviceProcess, tmp_path: Path) -> None:
    """In one line, and the state stays for the one that can."""
    finished(agent(tmp_path, device, *ACCESSES))
    run = agent(tmp_path, device, "--pages", "601")
    run.start()
    assert run.wait(DEADLINE_S) == 1
    assert "is of a run with source settings" in run.log_text()
    assert (tmp_path / "ada.state").exists()
