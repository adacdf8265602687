"""A host of several devices, over real ports: each node by itself, and every byte right."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from agent_helpers import running_agent
from cramagent.cli import cli
from cramagent.policy.settings import OnBusError, Placement
from cramagent.report import exit_code, make_report, summary
from cramagent.sources import Synthetic
from cramagent.sources.synthetic import SyntheticSource
from cramwire.v1 import operator_pb2
from server_helpers import Bench, bench_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent_helpers import RunningAgent
    from cramagent.machine import Machine

FACTS = {"host": "h", "source": "s", "seed": 0, "pattern": "scan"}
SPREAD = {"placement": Placement.ROUND_ROBIN, "demote_batch_pages": 16, "budget_pages": 16}


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    """Two devices of 2 MiB of media each."""
    with ExitStack() as stack:
        yield [stack.enter_context(bench_of(physical=2 << 20)) for _ in range(2)]


def addresses(benches: list[Bench]) -> list[str]:
    """Where they serve hosts."""
    return [bench.service.address for bench in benches]


def small(**dials: float) -> SyntheticSource:
    """Seeded programs of 400 pages."""
    return SyntheticSource(Synthetic(**{"seed": 3, "pages": 400, "stores": 0.05, "frees": 0.02, **dials}))  # type: ignore[arg-type]  # all are numbers


def spread(machine: Machine) -> bool:
    """Both nodes have pages, and they are read."""
    used = [node.used for node in machine.host.snapshot().nodes]
    return machine.tally.scans > 0 and min(used) > 50 and machine.tally.reads > 500


def test_pages_of_two_devices_are_read_back(benches: list[Bench], tmp_path: Path) -> None:
    """Through demotion, mkwrite, promotion and forks; both regions are given back."""
    with running_agent(
        addresses(benches), small(), tmp_path, accesses=8000, write_share=0.2, policy=SPREAD
    ) as agent:
        ending = agent.join()
        report = make_report(agent.machine, ending, FACTS)
    assert exit_code(agent.machine, ending) == 0
    assert ending.detached
    assert ending.verified.compared >= 400
    assert [node["counters"]["demotions"] > 50 for node in report["nodes"]] == [True, True]
    assert sum(node["counters"]["demotions"] for node in report["nodes"]) == report["demotions"]
    assert len({node["generation"] for node in report["nodes"]}) == 2
    assert "  node 1 (" in summary(report)
    assert not any(bench.status().regions for bench in benches)


def test_a_reset_of_one_loses_its_pages_alone(benches: list[Bench], tmp_path: Path) -> None:
    """They are told with its number and stored anew; the other never hears of it."""
    with running_agent(addresses(benches), small(forks=0), tmp_path, policy=SPREAD) as agent:
        agent.wait_for(spread, "both have pages")
        benches[1].reset()
        agent.wait_for(lambda machine: machine.attachments[1].tally.reattaches == 1, "a new session")
        ending = agent.finish()
        machine = agent.machine
    assert not machine.tally.mismatched
    assert {loss.node for loss in machine.losses.runs} == {1}
    nodes = machine.host.snapshot().nodes
    assert [node.counters.sessions_lost for node in nodes] == [0, 1]
    assert (
        nodes[0].counters.pages_lost == 0 < nodes[1].counters.pages_lost == machine.host.counters.pages_lost
    )
    assert exit_code(machine, ending) == 0
    address = machine.attachments[1].device
    assert any(line.startswith(f"{address}: the session is over") for line in agent.said), agent.said
    other = machine.attachments[0].device
    assert not any(line.startswith(f"{other}: the session") for line in agent.said), agent.said


def test_an_exhausted_one_closes_and_the_other_goes_on(benches: list[Bench], tmp_path: Path) -> None:
    """Its pages are written back; what is cold goes to the open one."""
    policy = {**SPREAD, "on_bus_error": OnBusError.RESCUE}
    with running_agent(addresses(benches), small(forks=0), tmp_path, policy=policy, write_share=0.3) as agent:
        agent.wait_for(spread, "both have pages")
        benches[0].inject(exhaustion=operator_pb2.ExhaustionFault(share_milli=1000))
        agent.wait_for(lambda machine: not machine.host.is_open(0), "its node to close")
        before = demoted(agent, 1)
        agent.wait_for(
            lambda machine: machine.host.snapshot().nodes[1].counters.demotions > before + 50,
            "demotions to the other",
        )
        assert agent.machine.host.is_open(1)
        ending = agent.finish()
    assert exit_code(agent.machine, ending) == 0
    assert agent.machine.host.counters.pages_lost == 0
    nodes = agent.machine.host.snapshot().nodes
    assert nodes[0].counters.writebacks > 0
    assert [node.counters.closes > 0 for node in nodes] == [True, False]


def demoted(agent: RunningAgent, node: int) -> int:
    """Pages that this node took so far."""
    return agent.machine.host.snapshot().nodes[node].counters.demotions


@pytest.mark.parametrize("placement", Placement)
def test_each_placement_over_real_devices(benches: list[Bench], tmp_path: Path, placement: Placement) -> None:
    """The first until it is full; in turns; where most media is free."""
    with benches[0].service.runtime.device() as (device, now_ns):
        # Half of its media is promised to somebody else.
        device.attach(
            session="1", host="other", logical_bytes=4096, guaranteed_media_bytes=1 << 20, now_ns=now_ns
        )
    wanted: dict[str, Any] = {"policy": {"placement": placement, "demote_batch_pages": 8}, "accesses": 500}
    wanted["node_pages"] = 250 if placement is Placement.FILL else 1024
    with running_agent(addresses(benches), small(forks=0, frees=0), tmp_path, **wanted) as agent:
        ending = agent.join()
        used = [node.used for node in agent.machine.host.snapshot().nodes]
    assert exit_code(agent.machine, ending) == 0
    if placement is Placement.FILL:
        assert used[0] > 200 > used[1] > 0
    elif placement is Placement.ROUND_ROBIN:
        assert abs(used[0] - used[1]) <= 100
    else:
        assert used[1] > used[0]


def run(*arguments: str) -> tuple[int, str]:
    """(exit status, what it said) of `cram-agent run`."""
    result = CliRunner().invoke(
        cli, ["run", "--source", "synthetic", "--pages", "200", "--metrics", "off", *arguments]
    )
    return result.exit_code, result.output


def test_one_device_by_two_addresses_is_one_line(benches: list[Bench]) -> None:
    """Found out before anything is attached."""
    address = benches[0].service.address
    other = f"localhost:{address.rpartition(':')[2]}"
    code, said = run("--device", address, "--device", other)
    assert code == 1
    assert f"{address} and {other} are one device (generation " in said
    assert not benches[0].status().regions


def test_one_that_refuses_ends_the_run_before_it_began(benches: list[Bench]) -> None:
    """The others' regions are given back; the line names the device."""
    benches[1].attach("twin")
    places = ",".join(addresses(benches))
    code, said = run("--device", places, "--host", "twin", "--dram", "64KiB")
    assert code == 1
    assert f"the device at {benches[1].service.address} refused: ALREADY_ATTACHED" in said
    assert not benches[0].status().regions


def test_a_name_and_an_address_are_two_devices(benches: list[Bench], tmp_path: Path) -> None:
    """From the command line to the report and the ready file."""
    first, second = addresses(benches)
    name = f"dns:///localhost:{first.rpartition(':')[2]}"
    report, ready = tmp_path / "report.json", tmp_path / "ready.json"
    code, said = run(
        *("--device", name, "--device", second, "--placement", "round-robin", "--demote-batch", "16"),
        *("--dram", "20%", "--accesses", "500", "--rate", "0", "--host", "ada"),
        *("--json", str(report), "--ready-file", str(ready)),
    )
    assert code == 0, said
    told = json.loads(report.read_text())
    assert told["device"] == f"{name},{second}"
    assert [node["device"] for node in told["nodes"]] == [first, second]
    assert all(node["counters"]["demotions"] > 0 for node in told["nodes"])
    assert told["metrics"]['cram_node_online{node="1"}'] in {0, 1}
    assert [node["device"] for node in json.loads(ready.read_text())["nodes"]] == [first, second]
    assert said.count("ada attached to ") == 2


def test_a_settings_file_names_several(benches: list[Bench], tmp_path: Path) -> None:
    """As a list, or as one text."""
    for written in (json.dumps(addresses(benches)), json.dumps(",".join(addresses(benches)))):
        config = tmp_path / "agent.toml"
        config.write_text(f"device = {written}\n")
        code, said = run("--config", str(config), "--accesses", "100", "--rate", "0", "--host", "ada")
        assert code == 0, said
        assert said.count("ada attached to ") == 2
