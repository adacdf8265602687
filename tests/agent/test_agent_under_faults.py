"""The watchdog: two real agents, one over gRPC and one over a lane, under each fault of the service in turn.

Each must go on when the fault is cleared, and find every byte as it should be in the end.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from agent_helpers import NS_PER_S, running_agent
from agent_process_helpers import metric, until
from cramagent.link import LinkState
from cramagent.sources.synthetic import Synthetic, SyntheticSource
from cramlab.processes import AgentProcess, DeviceProcess
from cramwire.v1 import operator_pb2, operator_pb2_grpc
from server_helpers import bench_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTS = {"over-grpc": "grpc", "over-lane": "lane"}
OPTIONS = (
    *("--pages", "600", "--dram", "30%", "--interval", "100ms", "--stores", "0.05", "--budget", "50"),
    *("--rate", "1000", "--device-timeout", "200ms", "--lease", "60s", "--node", "8MiB"),
)
MS = 1_000_000
Kinds = operator_pb2
EVENTS = {name: Kinds.EventTrouble.Value(f"EVENT_TROUBLE_{name}") for name in ("LOST", "DUPLICATED")}


class Operator:
    """Arms and clears faults of one device, and sees what they did."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._faults = operator_pb2_grpc.FaultServiceStub(self._channel)
        self._oracle = operator_pb2_grpc.OracleServiceStub(self._channel)

    def close(self) -> None:
        """Go."""
        self._channel.close()

    def inject(self, fault: dict[str, Any], **scope: Any) -> None:
        """Arm one."""
        made = Kinds.Fault(**fault, scope=Kinds.FaultScope(**scope))
        self._faults.InjectFault(Kinds.InjectFaultRequest(fault=made), timeout=30)

    def clear(self) -> None:
        """Clear all."""
        self._faults.ClearFaults(Kinds.ClearFaultsRequest(), timeout=30)

    def armed(self, kind: str) -> list[Kinds.ArmedFault]:
        """The faults of this kind that are armed."""
        armed = self._faults.ListFaults(Kinds.ListFaultsRequest(), timeout=30).faults
        return [one for one in armed if one.fault.WhichOneof("kind") == kind]

    def fired(self, fault: dict[str, Any]) -> int:
        """How often the faults of this kind that are armed fired."""
        (kind,) = fault
        return sum(one.fired for one in self.armed(kind))

    def media_used(self) -> int:
        """Bytes, of all hosts."""
        status = self._oracle.GetStatus(Kinds.GetStatusRequest(), timeout=30)
        return int(status.telemetry.media_used_bytes)


@contextmanager
def operator_of(device: DeviceProcess) -> Iterator[Operator]:
    """The operator of a device."""
    operator = Operator(device.operator_address)
    try:
        yield operator
    finally:
        operator.close()


CASES: dict[str, dict[str, Any]] = {
    "no answer": {"unanswered_command": Kinds.UnansweredCommandFault()},
    "no answer, but done": {"unanswered_command": Kinds.UnansweredCommandFault(carried_out=True)},
    "no connection": {"dropped_connection": Kinds.DroppedConnectionFault()},
    "no connection, but done": {"dropped_connection": Kinds.DroppedConnectionFault(carried_out=True)},
    "refused": {"refused_command": Kinds.RefusedCommandFault()},
    "media takes no writes": {"read_only_media": Kinds.ReadOnlyMediaFault()},
    "control path stands": {"control_stall": Kinds.ControlStallFault()},
    "slow, and now and then very": {
        "latency": Kinds.LatencyFault(wall_jitter_ns=2 * MS, tail_milli=20, wall_tail_ns=100 * MS)
    },
    "stuck TRIM": {"stuck_trim": Kinds.StuckTrimFault()},
    "events lost": {"event": Kinds.EventFault(trouble=EVENTS["LOST"])},
    "events twice": {"event": Kinds.EventFault(trouble=EVENTS["DUPLICATED"], copies=2)},
}
SHARE = {"unanswered_command": 50, "dropped_connection": 50, "refused_command": 200}
"""Of 1000 commands; other faults concern all."""


def under(agents: list[AgentProcess], operator: Operator, fault: dict[str, Any]) -> None:
    """One fault comes, is felt, and goes; both agents get on with their accesses."""
    (kind,) = fault
    before = [metric(agent, "cram_node_accesses_total") for agent in agents]
    operator.inject(fault, share_milli=SHARE.get(kind, 1000), seed=7)

    def felt() -> bool:
        if kind == "event" and not operator.armed("exhaustion"):
            # Something must happen for it to be told: media goes, and comes back by itself.
            operator.inject({"exhaustion": Kinds.ExhaustionFault(share_milli=1000)}, duration_ns=50 * MS)
        return operator.fired(fault) >= 3

    until(agents[0], felt, f"{kind} to be felt")
    operator.clear()
    for agent, accesses in zip(agents, before, strict=True):
        uses_it_again(agent, accesses, kind)


def uses_it_again(agent: AgentProcess, accesses: float, kind: str) -> None:
    """Wait until the agent has the device again and makes more accesses to it."""
    until(agent, lambda: metric(agent, "cram_node_online") == 1, f"the device again after {kind}")
    until(agent, lambda: metric(agent, "cram_node_accesses_total") > accesses + 20, f"accesses after {kind}")


@pytest.mark.e2e
def test_agents_survive_each_fault_of_the_service(tmp_path: Path) -> None:
    """None ends, none is stuck, none loses a page or finds a wrong byte; all media comes back."""
    listen = ("--listen", f"unix:{tmp_path}/d.sock")
    with ExitStack() as stack:
        device = stack.enter_context(DeviceProcess(tmp_path, physical="8MiB", args=listen))
        operator = stack.enter_context(operator_of(device))
        agents = [
            stack.enter_context(
                AgentProcess(
                    tmp_path,
                    device.address,
                    "synthetic",
                    host=host,
                    args=(*OPTIONS, "--transport", transport),
                )
            )
            for host, transport in HOSTS.items()
        ]
        for agent in agents:
            uses_it_again(agent, 0, "the start")
        for name, fault in CASES.items():
            began = time.monotonic()
            under(agents, operator, fault)
            print(f"{name}: {time.monotonic() - began:.1f} s")  # noqa: T201 - which one was slow, if a run is
        assert [agent.terminate(60) for agent in agents] == [0, 0]
        assert operator.media_used() == 0
    for report in (agent.report() for agent in agents):
        assert report["pages_mismatched"] == report["pages_lost"] == report["pages_unread"] == 0
        assert report["reattaches"] == 0
        assert report["detached"] is True


def test_a_lease_that_runs_out_under_a_stall_is_one_loss(tmp_path: Path) -> None:
    """The data path says that the session is over; the agent attaches anew when the control path moves."""
    source = SyntheticSource(Synthetic(seed=3, pages=300, stores=0.05, frees=0.0))
    with (
        bench_of() as bench,
        running_agent(
            bench.service.address, source, tmp_path, timeout_ns=NS_PER_S // 4, node_pages=512
        ) as agent,
    ):
        agent.wait_for(lambda machine: machine.host.counters.demotions > 100, "pages on the device")
        bench.inject(control_stall=Kinds.ControlStallFault())
        agent.wait_for(
            lambda machine: machine.attachments[0].tally.control_silences > 0, "renewals without an answer"
        )
        assert agent.link.state is LinkState.UP
        reads = agent.machine.tally.reads
        agent.wait_for(lambda machine: machine.tally.reads > reads + 500, "the data path to go on")
        bench.clock.advance(10 * NS_PER_S)
        agent.wait_for(
            lambda machine: machine.attachments[0].link.state is LinkState.OVER, "the session to be over"
        )
        assert agent.machine.host.counters.pages_lost_reset > 0
        reads = agent.machine.tally.reads
        agent.wait_for(lambda machine: machine.tally.reads > reads + 100, "DRAM and swap to go on")
        bench.clear()
        agent.wait_for(lambda machine: machine.attachments[0].tally.reattaches == 1, "a new session")
        demotions = agent.machine.host.counters.demotions
        agent.wait_for(lambda machine: machine.host.counters.demotions > demotions, "demotions")
        assert agent.finish().detached
        assert agent.machine.tally.mismatched == 0
