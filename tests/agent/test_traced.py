"""What an agent decides, as spans: named for the part of the policy that asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_helpers import ScriptedSource, prose, running_agent
from cramagent.performer import Performer
from cramagent.policy.effects import NodeLoad, NodeTrim, NodeWrite, Together, ZeroFrames
from cramagent.sources import Store, Synthetic
from cramagent.sources.synthetic import SyntheticSource
from cramagent.traced import TracedPerformer, pages_of
from cramwire.otel import Traces
from cramwire.v1 import operator_pb2
from server_helpers import MIB, bench_of

if TYPE_CHECKING:
    from pathlib import Path


def test_pages_of_effects() -> None:
    """Of several nodes together; of what asks no device, none."""
    assert pages_of(NodeWrite((0, 4096), (1, 2))) == 2
    assert pages_of(Together((NodeLoad((0,), (1,)), NodeLoad((0, 4096), (2, 3))))) == 3
    assert pages_of(NodeTrim(((0, 8192),))) == 1
    assert pages_of(ZeroFrames((1,))) == 0
    assert pages_of(Together(())) == 0


def test_a_host_that_nobody_traces_has_a_plain_performer(tmp_path: Path) -> None:
    """Not one that looks whether it is traced."""
    source = ScriptedSource([Store(0, (0,), prose(0))])
    with bench_of() as bench, running_agent(bench.service.address, source, tmp_path, node_pages=64) as agent:
        assert type(agent.machine.performer) is Performer


def test_decisions_are_named(tmp_path: Path) -> None:
    """Demotion, promotion, writeback, TRIM; their calls are their children."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    source = SyntheticSource(Synthetic(seed=3, pages=300, stores=0.05, frees=0.05))
    with (
        bench_of(physical=2 * MIB) as bench,
        running_agent(
            bench.service.address, source, tmp_path, write_share=0.2, traces=Traces(provider)
        ) as agent,
    ):
        assert type(agent.machine.performer) is TracedPerformer
        agent.wait_for(lambda machine: machine.host.counters.demotions > 100, "demotions")
        agent.wait_for(lambda machine: machine.host.counters.promotions > 10, "promotions")
        agent.wait_for(lambda machine: machine.host.counters.trim_commands > 0, "TRIM")
        bench.inject(exhaustion=operator_pb2.ExhaustionFault(bytes=2 * MIB))
        agent.wait_for(lambda machine: machine.host.counters.writebacks > 50, "writeback")
        bench.clear()
        agent.finish()
    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in spans if span.context is not None}
    made = {(span.name, by_id[span.parent.span_id].name) for span in spans if span.parent is not None}
    assert made >= {
        *(("identify", "attach"), ("attach", "attach")),
        *(("write", "demote"), ("read", "promote"), ("read", "writeback"), ("trim", "trim")),
    }
    batches = [span for span in spans if span.name == "demote"]
    assert any((span.attributes or {})["cram.pages"] != 1 for span in batches)
