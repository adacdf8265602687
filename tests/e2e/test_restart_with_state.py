"""`cxldevd --state` as a process: restarted under running hosts, killed while it saves, out of disk."""

from __future__ import annotations

import os
import random
import resource
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import grpc
import pytest

from agent_process_helpers import metric
from agent_process_helpers import until as agent_until
from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.refusal import read_refusal
from cramwire.transport import CHANNEL_OPTIONS
from cramwire.v1 import (
    device_pb2,
    device_pb2_grpc,
    memory_pb2,
    memory_pb2_grpc,
    operator_pb2,
    operator_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.e2e

DEADLINE_S = 60.0
PAGE = 4096
HOSTS = ("ada", "grace", "edsger")
OPTIONS = ("--pages", "600", "--dram", "20%", "--budget", "32", "--interval", "200ms", "--lease", "600s")
SESSION_PAGES = 512


def device_with_state(folder: Path) -> DeviceProcess:
    """Not started yet."""
    return DeviceProcess(folder, physical="32MiB", args=("--state", str(folder / "state")))


def channel_to(address: str) -> grpc.Channel:
    """With the limits of our messages."""
    return grpc.insecure_channel(address, CHANNEL_OPTIONS)


def identified(device: DeviceProcess) -> device_pb2.IdentifyResponse:
    """What it is."""
    with channel_to(device.address) as channel:
        return device_pb2_grpc.DeviceServiceStub(channel).Identify(device_pb2.IdentifyRequest(), timeout=10)


def filled(device: DeviceProcess, data: bytes) -> device_pb2.AttachResponse:
    """A session of a host that wrote this."""
    with channel_to(device.address) as channel:
        attached = device_pb2_grpc.DeviceServiceStub(channel).Attach(
            device_pb2.AttachRequest(host="raw", logical_bytes=len(data), lease_ns=600 * 10**9), timeout=10
        )
        memory_pb2_grpc.MemoryServiceStub(channel).Write(
            memory_pb2.WriteRequest(
                session=attached.session,
                generation=attached.generation,
                dpas=range(0, len(data), PAGE),
                data=data,
            ),
            timeout=10,
        )
    return attached


def read_back(device: DeviceProcess, session: device_pb2.AttachResponse, length: int) -> bytes:
    """What that session reads now."""
    with channel_to(device.address) as channel:
        request = memory_pb2.ReadRequest(
            session=session.session, generation=session.generation, dpas=range(0, length, PAGE)
        )
        return memory_pb2_grpc.MemoryServiceStub(channel).Read(request, timeout=10).data


def is_stale(device: DeviceProcess, session: device_pb2.AttachResponse) -> bool:
    """Whether it is told that its bytes are gone."""
    with pytest.raises(grpc.RpcError) as caught:
        read_back(device, session, PAGE)
    return read_refusal(caught.value).reason == "STALE_GENERATION"


def until(condition: Callable[[], bool], what: str) -> None:
    """Ask until it holds; each question is a call to another process."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S:g} s: {what}"


def until_it_goes_on(agent: AgentProcess) -> None:
    """Wait until the device has answered it again."""
    before = metric(agent, "cram_device_seconds_total")

    def goes_on() -> bool:
        return metric(agent, "cram_device_seconds_total") > before and metric(agent, "cram_node_online") == 1

    agent_until(agent, goes_on, "the device answers again")


def killed_in_mid_save(device: DeviceProcess, folder: Path) -> None:
    """SIGTERM, and SIGKILL while it writes its state: into a pipe that takes no more."""
    os.mkfifo(folder / "state" / "device.state.new")
    device.ask_to_end()
    pipe = os.open(folder / "state" / "device.state.new", os.O_RDONLY)
    assert len(os.read(pipe, 16)) == 16
    device.kill()
    os.close(pipe)


def test_three_running_hosts_lose_nothing(tmp_path: Path) -> None:
    """SIGTERM and back: the hosts wait, resume their sessions and verify every byte; none attaches again."""
    with ExitStack() as stack:
        device = stack.enter_context(device_with_state(tmp_path))
        agents = [
            stack.enter_context(AgentProcess(tmp_path, device.address, "synthetic", host=host, args=OPTIONS))
            for host in HOSTS
        ]

        def stored() -> list[int]:
            with grpc.insecure_channel(device.operator_address) as channel:
                status = operator_pb2_grpc.OracleServiceStub(channel).GetStatus(
                    operator_pb2.GetStatusRequest(), timeout=10
                )
            return [region.telemetry.stored_pages for region in status.regions]

        until(lambda: len(stored()) == 3 and min(stored()) > 200, "all three demote")
        generation = identified(device).generation
        assert device.terminate() == 0, device.log_text()
        device.start()
        device.wait_ready()
        told = identified(device)
        assert told.generation == generation
        assert told.origin.startswith("restored: ")
        for agent in agents:
            until_it_goes_on(agent)
        for agent in agents:
            assert agent.terminate() == 0, agent.log_text()
            report = agent.report()
            assert report["pages_mismatched"] == report["pages_lost"] == report["reattaches"] == 0
            assert report["generation"] == generation
            assert report["pages_verified_at_end"] > 0
        assert stored() == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hosts_that_end_around_a_restart_read_everything(tmp_path: Path, seed: int) -> None:
    """At random moments: before the device is gone, while it is, and when it is hardly back."""
    draw = random.Random(seed)
    with ExitStack() as stack:
        device = stack.enter_context(device_with_state(tmp_path))
        agents = [
            stack.enter_context(AgentProcess(tmp_path, device.address, "synthetic", host=host, args=OPTIONS))
            for host in HOSTS
        ]
        for agent in agents:
            agent_until(agent, partial(demoted, agent), "it demotes")
        for agent in agents:
            ends = threading.Timer(draw.uniform(0, 2.5), agent.ask_to_end)
            stack.callback(ends.join)
            ends.start()
        assert device.terminate() == 0, device.log_text()
        threading.Event().wait(draw.uniform(0, 2))
        device.start()
        device.wait_ready()
        for agent in agents:
            assert agent.wait(DEADLINE_S) == 0, agent.log_text()
            report = agent.report()
            assert report["pages_unread"] == report["pages_mismatched"] == report["pages_lost"] == 0


def demoted(agent: AgentProcess) -> bool:
    """Whether much of it lies on the device."""
    return metric(agent, "cram_demotions_total") > 200


def test_a_kill_in_mid_save(tmp_path: Path) -> None:
    """An honest new generation; or, if nothing had changed since, the state of before."""
    data = os.urandom(SESSION_PAGES * PAGE)
    with device_with_state(tmp_path) as device:
        session = filled(device, data)
        killed_in_mid_save(device, tmp_path)
        device.start()
        device.wait_ready()
        assert is_stale(device, session)
        assert "or never was" in identified(device).origin
        session = filled(device, data)
        assert device.terminate() == 0, device.log_text()
        device.start()
        device.wait_ready()
        assert read_back(device, session, len(data)) == data
        killed_in_mid_save(device, tmp_path)
        device.start()
        device.wait_ready()
        assert read_back(device, session, len(data)) == data


def test_no_room_on_the_disk(tmp_path: Path) -> None:
    """It says so, ends with 1, and its successor is a new generation that says why."""
    with device_with_state(tmp_path) as device:
        session = filled(device, os.urandom(SESSION_PAGES * PAGE))
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(device.pid, resource.RLIMIT_FSIZE, (1 << 20, most))
        assert device.terminate() == 1
        assert "save_failed" in device.log_text()
        assert "its pages are lost" in device.log_text()
        device.start()
        device.wait_ready()
        assert is_stale(device, session)
        assert session.generation in identified(device).origin
