"""Several hosts on one device, and power cut from one of them, or from the device."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc
import pytest

from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.v1 import operator_pb2, operator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

DEADLINE_S = 60.0
OPTIONS = ("--pages", "1500", "--dram", "20%", "--budget", "32", "--interval", "200ms", "--lease", "2s")
HOSTS = ("ada", "grace", "edsger")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[DeviceProcess]:
    """A device with room for all."""
    with DeviceProcess(tmp_path, physical="32MiB") as process:
        yield process


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test started."""
    with ExitStack() as made:
        yield made


def status(device: DeviceProcess) -> operator_pb2.GetStatusResponse:
    """What the oracle says now."""
    with grpc.insecure_channel(device.operator_address) as channel:
        return operator_pb2_grpc.OracleServiceStub(channel).GetStatus(
            operator_pb2.GetStatusRequest(), timeout=10
        )


def stored(device: DeviceProcess) -> dict[str, int]:
    """Pages on the device by host."""
    return {region.telemetry.host: region.telemetry.stored_pages for region in status(device).regions}


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask until it holds; each question is a call to another process."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S:g} s: {what}"


def test_a_killed_host_is_trimmed_and_the_others_never_notice(
    device: DeviceProcess, stack: ExitStack, tmp_path: Path
) -> None:
    """Kill -9: the lease runs out, the region's media comes back, two hosts go on and verify every byte."""
    agents = {
        host: stack.enter_context(
            AgentProcess(tmp_path, device.address, "synthetic", host=host, args=OPTIONS)
        )
        for host in HOSTS
    }
    until(lambda: len(stored(device)) == 3 and min(stored(device).values()) > 300, "all three demote")
    before = status(device)
    agents["ada"].kill()
    until(lambda: "ada" not in stored(device), "the lease of the killed host runs out")
    after = status(device)
    assert after.counters.leases_expired == before.counters.leases_expired + 1
    assert after.telemetry.generation == before.telemetry.generation
    for host in ("grace", "edsger"):
        assert agents[host].terminate() == 0, agents[host].log_text()
        report = agents[host].report()
        assert report["pages_mismatched"] == report["pages_lost"] == report["reattaches"] == 0
        assert report["pages_verified_at_end"] > 0
    assert status(device).telemetry.media_used_bytes == 0


def test_a_killed_device_costs_each_host_only_what_was_on_it(
    device: DeviceProcess, stack: ExitStack, tmp_path: Path
) -> None:
    """Kill -9 and back: each host reports its losses, keeps the rest, attaches again by itself."""
    agents = [
        stack.enter_context(AgentProcess(tmp_path, device.address, "synthetic", host=host, args=OPTIONS))
        for host in HOSTS
    ]
    until(lambda: len(stored(device)) == 3 and min(stored(device).values()) > 300, "all three demote")
    first = status(device).telemetry.generation
    device.restart()
    until(
        lambda: len(stored(device)) == 3 and min(stored(device).values()) > 0, "all three are back and demote"
    )
    for agent in agents:
        assert agent.terminate() == 0, agent.log_text()
        report = agent.report()
        assert report["reattaches"] == 1
        assert report["generation"] != first
        assert report["pages_mismatched"] == 0
        assert report["pages_lost"] > 300
        assert report["pages_lost"] == report["pages_lost_reset"]
    assert status(device).telemetry.media_used_bytes == 0
