"""The main loop against a real service: it demotes, reads back, survives the device, and ends in order."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

import pytest

from agent_helpers import DEADLINE_S, MIB, NS_PER_S, PAGE, ScriptedSource, noise, prose, running_agent
from cramagent.messages import EventsMissed
from cramagent.policy.settings import OnBusError, Writeback
from cramagent.policy.states import State
from cramagent.report import exit_code, make_report, summary
from cramagent.sources import Store, Synthetic
from cramagent.sources.synthetic import SyntheticSource
from cramagent.tiers.swapfile import SwapFile
from cramwire.v1 import operator_pb2, types_pb2
from server_helpers import Bench, bench_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent_helpers import RunningAgent
    from cramagent.machine import Machine
    from cramagent.node_client import Session


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A device with 2 MiB of media, sold as 6 MiB."""
    with bench_of(physical=2 << 20) as made:
        yield made


def small(**dials: float) -> SyntheticSource:
    """Seeded programs of 300 pages."""
    return SyntheticSource(Synthetic(**{"seed": 3, "pages": 300, "stores": 0.05, "frees": 0.02, **dials}))  # type: ignore[arg-type]  # all are numbers


def filled(machine: Machine) -> bool:
    """The source was stored once, and what is cold is on the device."""
    return machine.tally.scans > 0 and machine.host.counters.demotions > 100 and machine.tally.reads > 300


def settled(bench: Bench, machine: Machine) -> bool:
    """Every page on the device is some program's: none is on its way there, nor about to be given up."""
    (node,) = machine.host.snapshot().nodes
    (region,) = bench.status().regions
    stored, queued = region.telemetry.stored_pages, region.telemetry.trim_queued_pages
    return node.used == stored and not (node.trim_waiting or queued)


def test_a_run_reads_back_what_it_stored(bench: Bench, tmp_path: Path) -> None:
    """Through demotion, R/O mappings, mkwrite and promotion, with forks; the region is given back."""
    with running_agent(
        bench.service.address, small(), tmp_path, accesses=6000, write_share=0.2, policy={"budget_pages": 16}
    ) as agent:
        ending = agent.join()
        machine = agent.machine
        assert ending.reason == "accesses"
        assert ending.detached
        assert machine.tally.mismatched == 0
        assert machine.tally.verified > 1000
        assert ending.verified.compared >= 300
        counters = machine.host.counters
        for name in (
            "demotions",
            "read_faults",
            "mkwrites",
            "promotions_copied",
            "node_loads",
            "node_stores",
        ):
            assert getattr(counters, name) > 0, name
        assert exit_code(machine, ending) == 0
    assert bench.status().telemetry.media_used_bytes == 0
    assert not bench.status().regions


def test_the_report_says_what_happened(bench: Bench, tmp_path: Path) -> None:
    """All keys that are promised; JSON numbers, no fractions of pages."""
    facts = {"host": "host-a", "source": "synthetic", "seed": 3, "pattern": "scan"}
    with running_agent(bench.service.address, small(), tmp_path, accesses=1000) as agent:
        ending = agent.join()
        report = make_report(agent.machine, ending, facts)
    promised = [
        "host",
        "source",
        "seed",
        "pattern",
        "pages_verified",
        "pages_mismatched",
        "pages_lost",
        "demotions",
        "read_faults",
        "mkwrites",
        "promotions",
        "writebacks",
        "reaped",
        "trimmed_pages",
        "no_more_writes",
        "bus_errors",
        "stalls",
        "reattaches",
        "generation",
        "accesses",
        "wall_seconds",
        "device_seconds",
        "exit_reason",
    ]
    assert set(promised) <= set(report)
    assert report["generation"] == bench.service.generation
    assert report["accesses"] > 900
    assert report["device_seconds"] > 0
    assert report["metrics"]["cram_mismatched_pages_total"] == 0
    assert report["metrics"]['cram_accesses_total{kind="read"}'] > 900
    assert "0 wrong" in summary(report)


def test_exhaustion_closes_the_node_and_its_end_opens_it(bench: Bench, tmp_path: Path) -> None:
    """No more writes, writeback, rescue; then demotion again. Not one byte is wrong, none is lost."""
    policy = {"budget_pages": 64, "on_bus_error": OnBusError.RESCUE}
    with running_agent(
        bench.service.address, small(forks=0), tmp_path, policy=policy, write_share=0.3
    ) as agent:
        agent.wait_for(filled, "the source is stored")
        bench.inject(exhaustion=operator_pb2.ExhaustionFault(share_milli=1000))
        agent.wait_for(lambda machine: machine.host.counters.writebacks > 50, "writeback")
        assert not agent.machine.host.snapshot().open
        bench.clear()
        demoted = agent.machine.host.counters.demotions
        agent.wait_for(lambda machine: machine.host.counters.demotions > demoted + 20, "demotion again")
        ending = agent.finish()
        assert agent.noted[:2] == ["node_closed", "node_opened"]
        counters = agent.machine.host.counters
        assert counters.node_closes >= 1
        assert counters.pages_lost == 0
        assert agent.machine.tally.mismatched == 0
        assert agent.node.tally.events > 0
        assert sum(agent.node.tally.event_lag_seconds.counts) == agent.node.tally.events
        assert exit_code(agent.machine, ending) == 0


def test_a_reset_device_is_attached_to_again(bench: Bench, tmp_path: Path) -> None:
    """Every page that it held is reported; the others are right; the lost ones are stored anew."""
    with running_agent(bench.service.address, small(forks=0, frees=0), tmp_path) as agent:
        agent.wait_for(filled, "the source is stored")
        bench.reset()
        agent.wait_for(lambda machine: machine.attachments[0].tally.reattaches == 1, "attached again")
        lost = agent.machine.host.counters.pages_lost_reset
        assert lost > 100
        agent.wait_for(lambda machine: machine.tally.restored > lost // 2, "restored")
        ending = agent.finish()
        assert agent.machine.tally.mismatched == 0
        assert sum(loss.pages for loss in agent.machine.losses.runs) == lost
        assert {loss.cause for loss in agent.machine.losses.runs} == {"reset"}
        waiting = agent.machine.workload.lost_waiting
        assert ending.verified.compared + ending.verified.lost + waiting == 300
        assert agent.noted == ["node_offline", "node_closed", "node_online", "node_opened"]
        assert agent.link.generation == bench.service.generation
        assert exit_code(agent.machine, ending) == 0


def test_a_lease_that_ran_out_is_a_loss_and_a_new_session(bench: Bench, tmp_path: Path) -> None:
    """As after a host that was stopped too long."""
    with running_agent(bench.service.address, small(forks=0), tmp_path) as agent:
        agent.wait_for(filled, "the source is stored")
        bench.clock.advance(11 * NS_PER_S)
        agent.wait_for(lambda machine: machine.attachments[0].tally.reattaches == 1, "attached again")
        assert {loss.cause for loss in agent.machine.losses.runs} == {"lease_expired"}
        agent.finish()
        assert agent.machine.tally.mismatched == 0


def test_poison_costs_its_owners_only_their_pages(bench: Bench, tmp_path: Path) -> None:
    """Each is a bus error, is reported, and is brought back; no byte is wrong."""
    # Nothing is stored or freed on the way: either would heal a page before it is read.
    source = small(forks=0, stores=0.0, frees=0.0)
    with running_agent(bench.service.address, source, tmp_path) as agent:
        # A page that is demoted while the program reads it is given up again: nobody would meet its poison.
        agent.wait_for(lambda machine: filled(machine) and settled(bench, machine), "the source is stored")
        bench.inject(poison=operator_pb2.PoisonFault(host="host-a", random_pages=10, seed=1))
        agent.wait_for(lambda machine: machine.host.counters.pages_lost_poison == 10, "poison met")
        agent.finish()
        machine = agent.machine
        assert machine.tally.mismatched == 0
        assert machine.host.counters.pages_lost_poison == 10
        assert sum(loss.pages for loss in machine.losses.runs) == 10
        assert {loss.cause for loss in machine.losses.runs} == {"poison"}


def test_one_wrong_byte_ends_the_run(bench: Bench, tmp_path: Path) -> None:
    """At the read that met it; the run fails and says where."""
    source = ScriptedSource([Store(0, tuple(range(200)), b"".join(prose(vpn) for vpn in range(200)))])
    with running_agent(bench.service.address, source, tmp_path, rate=1) as agent:
        agent.wait_for(lambda machine: machine.host.counters.demotions > 50, "demotion")
        machine = agent.machine
        # Another host's bug: our region's pages are overwritten behind our back.
        machine.attachments[0].link.client.write(machine.attachments[0].link.session, [0], noise(1))  # type: ignore[arg-type]  # attached
        ending = agent.finish()
        assert ending.reason == "test"
        report = make_report(machine, ending, {"host": "h", "source": "s", "seed": 0, "pattern": "scan"})
        assert report["pages_mismatched"] == 1
        assert report["exit_code"] == 1
        assert f"vpn {report['mismatches'][0]['vpn']:#x}" in summary(report)


def test_a_wrong_byte_met_by_a_read_stops_the_run_at_once(bench: Bench, tmp_path: Path) -> None:
    """Nobody has to wait for the end."""
    source = ScriptedSource([Store(0, tuple(range(200)), b"".join(prose(vpn) for vpn in range(200)))])
    with running_agent(bench.service.address, source, tmp_path) as agent:
        agent.wait_for(lambda machine: machine.host.counters.demotions > 50, "demotion")
        agent.link.client.write(agent.link.session, [0], noise(1))  # type: ignore[arg-type]  # attached
        ending = agent.join()
        assert ending.reason == "mismatch"
        assert exit_code(agent.machine, ending) == 1


def test_a_store_that_kills_begins_anew(bench: Bench, tmp_path: Path) -> None:
    """`kill`, at the region's own limit: the space is cleared away, and filled again by the next scan."""
    vpns = tuple(range(200))
    good = Store(0, vpns, b"".join(prose(vpn) for vpn in vpns))
    bad = Store(0, vpns, b"".join(noise(vpn) for vpn in vpns))
    with running_agent(
        bench.service.address,
        ScriptedSource([good], [bad], [good]),
        tmp_path,
        policy={"budget_pages": 200, "on_bus_error": OnBusError.KILL},
        limit_bytes=60 * PAGE,
    ) as agent:
        agent.wait_for(lambda machine: machine.tally.scans >= 3, "killed, and filled again")
        ending = agent.finish()
        assert agent.machine.tally.killed == 1
        assert agent.machine.host.counters.bus_error_kills == 1
        assert agent.machine.tally.mismatched == 0
        assert ending.verified.compared == 200
        assert exit_code(agent.machine, ending) == 0


def test_the_end_of_the_source_is_the_end_of_the_run(bench: Bench, tmp_path: Path) -> None:
    """Everything is verified and given back."""
    source = ScriptedSource([Store(0, (1, 2), prose(1) + prose(2))])
    with running_agent(bench.service.address, source, tmp_path) as agent:
        agent.wait_for(lambda machine: machine.tally.scans > 0, "a scan")
        source.ended = True
        ending = agent.join()
    assert ending.reason == "source_ended"
    assert ending.verified.compared == 2


def test_nowhere_left_to_go_ends_the_run(bench: Bench, tmp_path: Path) -> None:
    """Said in one line; what is held is right, and the exit status is 1."""
    data = b"".join(noise(vpn) for vpn in range(256))
    source = ScriptedSource(
        [Store(0, tuple(range(first, first + 256)), data) for first in range(0, 2048, 256)]
    )
    with running_agent(
        bench.service.address, source, tmp_path, node_pages=16, dram_pages=16, swap_bytes=MIB
    ) as agent:
        ending = agent.join()
        assert ending.reason == "out_of_memory"
        assert any("raise --dram" in line for line in agent.said)
        assert agent.machine.tally.mismatched == 0
        assert ending.verified.compared > 16
        assert exit_code(agent.machine, ending) == 1


class BrokenSwap(SwapFile):
    """A swap file on a disk that reads no more."""

    def get(self, handle: int, into: memoryview) -> None:
        """The kernel's answer."""
        raise OSError(errno.EIO, "Input/output error")


def test_a_part_that_breaks_ends_the_run_in_order(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said in one line, reported, detached, exit status 1: no traceback."""
    monkeypatch.setattr("cramagent.machine.SwapFile", BrokenSwap)
    data = b"".join(noise(vpn) for vpn in range(256))
    source = ScriptedSource([Store(0, tuple(range(256)), data)])
    policy = {"writeback": Writeback.SWAPFILE}
    with running_agent(bench.service.address, source, tmp_path, node_pages=16, policy=policy) as agent:
        ending = agent.join()
        report = make_report(
            agent.machine, ending, {"host": "h", "source": "s", "seed": 0, "pattern": "scan"}
        )
    assert (ending.reason, ending.detached) == ("failed", True)
    assert report["error"] == "[Errno 5] Input/output error"
    assert any("Input/output error" in line for line in agent.said)
    assert report["exit_code"] == 1
    assert not bench.status().regions


def shrink(bench: Bench, agent: RunningAgent, pages: int, force_after_ns: int | None) -> None:
    """The operator asks for all but so many pages of the agent's region back."""
    session = agent.link.session
    assert session is not None
    size = agent.link.client.telemetry(session).region.logical_bytes
    with bench.service.runtime.device() as (device, now_ns):
        device.capacity.release(
            agent.link.region.host, size - pages * PAGE, now_ns, force_after_ns=force_after_ns
        )


def test_capacity_that_is_asked_back_is_given_back(bench: Bench, tmp_path: Path) -> None:
    """The region shrinks by the agent's own answer; no byte is lost, and all are right."""
    with running_agent(bench.service.address, small(forks=0), tmp_path) as agent:
        agent.wait_for(filled, "the source is stored")
        shrink(bench, agent, 16, None)
        agent.wait_for(
            lambda machine: machine.host.snapshot().node_pages == 16,
            "the region is as small as asked",
        )
        ending = agent.finish()
        assert exit_code(agent.machine, ending) == 0
    assert agent.machine.host.counters.pages_lost == 0
    assert bench.status().counters.capacity_released_bytes > 0


def test_capacity_that_is_taken_by_force_is_lost_and_told(bench: Bench, tmp_path: Path) -> None:
    """The session goes on; what was there is told by its cause, and nothing else is lost."""
    with running_agent(bench.service.address, small(forks=0), tmp_path) as agent:
        agent.wait_for(filled, "the source is stored")
        generation = agent.link.generation
        shrink(bench, agent, 1, 0)
        agent.wait_for(
            lambda machine: machine.host.counters.pages_lost_released > 0, "pages are lost by the release"
        )
        ending = agent.finish()
        assert not agent.machine.tally.mismatched
        assert {loss.cause for loss in agent.machine.losses.runs} == {"forced_release"}
        assert agent.link.generation == generation
        assert agent.node.tally.reattaches == 0
    assert ending.detached
    assert bench.status().counters.capacity_lost_pages > 0


def test_missed_events_make_the_agent_ask(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a whole reading, as it cannot know what they said."""
    with running_agent(bench.service.address, small(forks=0), tmp_path) as agent:
        agent.wait_for(filled, "the source is stored")
        session = agent.link.session
        assert session is not None
        client, asked = agent.link.client, threading.Event()
        ask = client.telemetry

        def noted(session: Session, *, wait_s: float) -> types_pb2.Telemetry:
            asked.set()
            return ask(session, wait_s=wait_s)

        monkeypatch.setattr(client, "telemetry", noted)
        agent.inbox.put(EventsMissed(session.session, 7))
        agent.inbox.put(EventsMissed("somebody else's", 9))
        agent.wait_for(lambda machine: machine.attachments[0].tally.events_missed == 7, "the news")
        assert asked.wait(DEADLINE_S)
        agent.finish()
        assert agent.node.tally.events_missed == 7
        assert agent.machine.tally.mismatched == 0


def test_pages_lie_in_every_place_in_the_end(bench: Bench, tmp_path: Path) -> None:
    """DRAM, the device and the tiers: a node too small for the rest."""
    with running_agent(
        bench.service.address, small(forks=0, incompressible=0.5), tmp_path, node_pages=60, accesses=3000
    ) as agent:
        ending = agent.join()
        pages = agent.machine.host.snapshot().pages
        assert pages[State.DRAM] > 0
        assert pages[State.ENTRY] + pages[State.RO] > 0
        assert pages[State.SWAPPED] > 0
        assert ending.verified.compared == sum(pages.values())
        assert agent.machine.tally.mismatched == 0
        assert sum(store.used_bytes for store in agent.machine.tiers.values()) > PAGE


@pytest.mark.parametrize("pattern", ["zipf", "hotset", "scan"])
def test_every_pattern_runs(bench: Bench, tmp_path: Path, pattern: str) -> None:
    """And none finds a wrong byte."""
    with running_agent(bench.service.address, small(), tmp_path, pattern=pattern, accesses=1000) as agent:
        assert agent.join().reason == "accesses"
        assert agent.machine.tally.mismatched == 0
