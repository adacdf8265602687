"""What an agent tells: sentences, or lines with facts; and what is found by looking."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from agent_helpers import running_agent
from cramagent import log
from cramagent.log import AgentLog, logging_as
from cramagent.sources import Synthetic
from cramagent.sources.synthetic import SyntheticSource
from cramwire.v1 import operator_pb2
from server_helpers import MIB, bench_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What an agent in this process writes, in JSON."""
    made = io.StringIO()
    with log._LOG.to(made, "json", "info", host="host-a"):
        yield made


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines so far."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_people_read_sentences_and_no_facts() -> None:
    """And nothing of an event that has none."""
    said: list[str] = []
    with logging_as("plain", "info", "host-a", said.append) as agent:
        agent.tell("attached", "host-a attached", region_bytes=4096)
        agent.tell("writeback_began", pressure=1000)
        agent.say("the node is open")
        assert not agent.has_lines
    assert said == ["host-a attached", "the node is open"]


def test_quiet_people_read_errors_only() -> None:
    """That is what `--quiet` asks for."""
    said: list[str] = []
    with logging_as("plain", "error", "host-a", said.append) as agent:
        agent.tell("link_down", "the device does not answer", level=logging.WARNING)
        agent.tell("failed", "failed: no device", level=logging.ERROR)
    assert said == ["failed: no device"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_go_to_stderr_whole(form: log.LogForm, capfd: pytest.CaptureFixture[str]) -> None:
    """Facts by name; the sentence only where something is wrong."""
    with logging_as(form, "info", "host-a", pytest.fail) as agent:
        assert agent.has_lines
        agent.tell("attached", "host-a attached", region_bytes=4096)
        agent.tell("failed", "failed: no device", level=logging.ERROR)
    first, second = capfd.readouterr().err.splitlines()
    if form == "json":
        assert {**json.loads(first), "time": ""} == {
            "time": "",
            "level": "info",
            "event": "attached",
            "host": "host-a",
            "region_bytes": 4096,
        }
        assert json.loads(second)["message"] == "failed: no device"
    else:
        assert first.endswith("Z info attached host=host-a region_bytes=4096")
        assert second.endswith('Z error failed host=host-a message="failed: no device"')


def test_the_life_of_a_node_is_told(stream: io.StringIO, tmp_path: Path) -> None:
    """It closes, is written back, opens again; the device is reset, and pages are lost."""
    source = SyntheticSource(Synthetic(seed=3, pages=300, stores=0.05))
    with (
        bench_of(physical=2 * MIB) as bench,
        running_agent(bench.service.address, source, tmp_path, write_share=0.2) as agent,
    ):
        agent.wait_for(lambda machine: machine.host.counters.demotions > 100, "demotions")
        bench.inject(exhaustion=operator_pb2.ExhaustionFault(bytes=2 * MIB))
        agent.wait_for(lambda machine: machine.host.counters.writebacks > 50, "writeback")
        bench.clear()
        agent.wait_for(lambda machine: machine.host.counters.node_opens > 0, "the node to open")
        agent.wait_for(lambda machine: machine.host.snapshot().node_used > 50, "pages on the device")
        before = agent.link.generation
        bench.reset()
        agent.wait_for(lambda machine: machine.attachments[0].tally.reattaches == 1, "attached again")
        agent.finish()
    lines = lines_of(stream)
    by_event = {line["event"]: line for line in reversed(lines)}
    told = {
        *("stored", "node_closed", "writeback_began", "writeback_ended", "node_opened"),
        *("session_over", "pages_lost", "generation_changed", "attached_again", "verifying", "detached"),
    }
    assert told <= set(by_event)
    assert all(line["host"] == "host-a" and line["device"] == bench.service.address for line in lines)
    assert by_event["node_closed"]["pressure"] >= 750
    assert by_event["session_over"]["reason"] == "STALE_GENERATION"
    assert by_event["pages_lost"]["cause"] == "reset"
    assert by_event["generation_changed"]["generation_before"] == before
    after = by_event["detached"]
    assert after["generation"] != before == by_event["stored"]["generation"]
    assert len(after["session"]) == log.SESSION_CHARS


def test_nobody_looks_where_nobody_reads_lines(tmp_path: Path) -> None:
    """A look costs a snapshot."""
    source = SyntheticSource(Synthetic(seed=3, pages=64))
    with (
        bench_of() as bench,
        running_agent(bench.service.address, source, tmp_path, node_pages=128, accesses=100) as agent,
    ):
        agent.join()
        assert agent._runner._lines._next_look_ns == 0
    assert not AgentLog().has_lines
