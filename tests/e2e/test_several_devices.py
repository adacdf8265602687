"""One host, several devices that are processes: one is killed, frozen or exhausted, and the others go on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from agent_process_helpers import metric, until
from cramlab.processes import AgentProcess, DeviceProcess
from cramlab.scrape import scrape
from cramwire.v1 import operator_pb2, operator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

DEADLINE_S = 60.0
EXHAUSTION = operator_pb2.InjectFaultRequest(
    fault=operator_pb2.Fault(exhaustion=operator_pb2.ExhaustionFault(share_milli=1000))
)
OPTIONS = (
    *("--pages", "1200", "--dram", "15%", "--budget", "16", "--interval", "200ms", "--forks", "0"),
    *("--placement", "round-robin", "--demote-batch", "32", "--device-timeout", "500ms", "--lease", "60s"),
)


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[list[DeviceProcess]]:
    """Two, each with state of its own; the second one at a unix socket, where pages go by the lane."""
    places = [(), ("--listen", f"unix:{tmp_path / 'second.sock'}")]
    made: list[DeviceProcess] = []
    for number, listen in enumerate(places):
        folder = tmp_path / f"device-{number}"
        folder.mkdir()
        made.append(DeviceProcess(folder, physical="8MiB", args=("--state", str(folder / "state"), *listen)))
    with made[0], made[1]:
        yield made


def agent(folder: Path, devices: list[DeviceProcess], *more: str) -> AgentProcess:
    """A run of the host `ada`; not started."""
    places = ",".join(device.address for device in devices)
    return AgentProcess(folder, places, "synthetic", host="ada", args=(*OPTIONS, *more))


def faults(device: DeviceProcess, call: str, request: Any) -> None:
    """Ask its operator's side."""
    with grpc.insecure_channel(device.operator_address) as channel:
        getattr(operator_pb2_grpc.FaultServiceStub(channel), call)(request, timeout=10)


def of_node(run: AgentProcess, name: str, node: int) -> float:
    """The sum of a metric's series of one node."""
    return scrape(run.metrics_address).total(name, {"node": str(node)})


def spread(run: AgentProcess) -> None:
    """Wait until both devices have pages that are read."""
    until(
        run,
        lambda: min(of_node(run, "cram_node_used_bytes", node) for node in (0, 1)) > 100 * 4096,
        "pages on both",
    )
    until(run, lambda: metric(run, "cram_faults_total") > 500, "accesses")


def ended(run: AgentProcess, code: int = 0) -> dict[str, Any]:
    """Its report, after SIGTERM."""
    assert run.terminate() == code, run.log_text()
    report = run.report()
    assert report["pages_mismatched"] == 0
    return report


def test_a_killed_device_loses_its_pages_alone(devices: list[DeviceProcess], tmp_path: Path) -> None:
    """By kill -9, and a new power-on: they are lost and stored anew; the other's all read back right."""
    with agent(tmp_path, devices) as run:
        spread(run)
        devices[0].kill()
        until(run, lambda: of_node(run, "cram_node_online", 0) == 0, "the agent to notice")
        read = metric(run, "cram_node_accesses_total")
        until(run, lambda: metric(run, "cram_node_accesses_total") > read + 100, "reads of the other")
        assert of_node(run, "cram_node_online", 1) == 1
        devices[0].start()
        devices[0].wait_ready()
        until(run, lambda: of_node(run, "cram_reattaches_total", 0) == 1, "a new session")
        report = ended(run)
    first, second = report["nodes"]
    assert report["pages_lost"] == first["pages_lost"] > 0
    assert second["pages_lost"] == second["reattaches"] == 0
    assert {lost["node"] for lost in report["lost"]} == {0}
    assert report["pages_unread"] == 0
    assert f"{devices[0].address}: the session is over" in run.log_text()


def test_a_device_that_stays_away_costs_its_pages_alone(devices: list[DeviceProcess], tmp_path: Path) -> None:
    """Nobody knows what they hold: the run says so at its end. The others are verified."""
    with agent(tmp_path, devices) as run:
        spread(run)
        devices[1].kill()
        until(run, lambda: of_node(run, "cram_node_online", 1) == 0, "the agent to notice")
        report = ended(run, code=1)
    assert 0 < report["pages_unread"] <= report["nodes"][1]["pages_used"]
    assert report["pages_lost"] == 0
    assert report["pages_verified_at_end"] >= report["nodes"][0]["pages_used"]
    assert "going on with DRAM, swap and the other devices" in run.log_text()


def test_an_exhausted_device_closes_and_the_other_takes_demotions(
    devices: list[DeviceProcess], tmp_path: Path
) -> None:
    """Two thresholds each; nothing is lost."""
    with agent(tmp_path, devices) as run:
        spread(run)
        faults(devices[0], "InjectFault", EXHAUSTION)
        until(run, lambda: of_node(run, "cram_node_open", 0) == 0, "its node to close")
        taken = of_node(run, "cram_node_demotions_total", 1)
        until(run, lambda: of_node(run, "cram_node_demotions_total", 1) > taken + 50, "the other's")
        assert of_node(run, "cram_node_open", 1) == 1
        faults(devices[0], "ClearFaults", operator_pb2.ClearFaultsRequest())
        until(run, lambda: of_node(run, "cram_node_open", 0) == 1, "it to open again")
        report = ended(run)
    assert report["pages_lost"] == report["pages_unread"] == 0
    assert [node["counters"]["closes"] > 0 for node in report["nodes"]] == [True, False]
    assert report["detached"]


def test_a_frozen_device_stalls_its_own_pages(devices: list[DeviceProcess], tmp_path: Path) -> None:
    """SIGSTOP: its accesses wait; then all is as before."""
    with agent(tmp_path, devices) as run:
        spread(run)
        devices[1].signal(signal.SIGSTOP)
        until(run, lambda: of_node(run, "cram_node_online", 1) == 0, "the agent to notice")
        devices[1].signal(signal.SIGCONT)
        until(run, lambda: of_node(run, "cram_node_online", 1) == 1, "it to answer")
        report = ended(run)
    assert report["pages_lost"] == report["pages_unread"] == report["reattaches"] == 0


def test_each_node_has_its_own_transport(devices: list[DeviceProcess], tmp_path: Path) -> None:
    """One by gRPC, one by shared memory."""
    with agent(tmp_path, devices) as run:
        spread(run)
        ended(run)
    assert f"ada attached to {devices[0].address} by grpc" in run.log_text()
    assert f"ada attached to {devices[1].address} by lane" in run.log_text()


def test_a_run_goes_on_with_what_each_device_still_has(devices: list[DeviceProcess], tmp_path: Path) -> None:
    """With `--state`: one device lost its power, the other did not; they are named the other way round."""
    more = ("--state", str(tmp_path / "ada.state"), "--accesses", "1500", "--rate", "0")
    first = agent(tmp_path, devices, *more)
    first.start()
    assert first.wait(DEADLINE_S) == 0, first.log_text()
    before = first.report()
    held = [node["pages_used"] for node in before["nodes"]]
    assert min(held) > 0
    devices[0].restart()
    second = agent(tmp_path, devices[::-1], "--state", str(tmp_path / "ada.state"), "--duration", "2s")
    second.start()
    assert second.wait(DEADLINE_S) == 0, second.log_text()
    after = second.report()
    assert after["pages_mismatched"] == after["pages_unread"] == 0
    by_device = {node["device"]: node for node in after["nodes"]}
    kept, lost = by_device[devices[1].address], by_device[devices[0].address]
    assert kept["generation"] == before["nodes"][1]["generation"]
    assert kept["pages_lost"] == kept["reattaches"] == 0
    assert lost["pages_lost"] >= held[0]
    assert lost["reattaches"] == 1
