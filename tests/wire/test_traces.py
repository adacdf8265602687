"""Who asks for traces, and how a span is told of across calls, threads and lanes."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from cramwire.otel import Traces
from cramwire.traces import TracesUnavailable, carried, parse_endpoint, span_of, traces_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


class Kept:
    """Traces whose spans stay in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = Traces(provider)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """What has ended, by name."""
        return {one.name: one for one in self._exporter.get_finished_spans()}


@pytest.fixture
def kept() -> Kept:
    """Nothing yet."""
    return Kept()


def trace_of(span: ReadableSpan) -> int:
    """Its trace's id."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id


def is_child(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether one is a part of the other."""
    context = parent.get_span_context()
    return child.parent is not None and context is not None and child.parent.span_id == context.span_id


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector/own/path", "https://collector/own/path"),
    ],
)
def test_endpoints(text: str, url: str) -> None:
    """A base, as the standard variable has it, or all of it."""
    assert parse_endpoint(text) == url


@pytest.mark.parametrize("text", ["", "collector:4318", "grpc://collector:4317", "http://", "http://a b"])
def test_what_is_no_endpoint(text: str) -> None:
    """Said with what to write."""
    with pytest.raises(ValueError, match="write http://HOST:4318"):
        parse_endpoint(text)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "mine"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**OTLP, "OTEL_TRACES_EXPORTER": "none"},
        {**OTLP, "OTEL_SDK_DISABLED": "True"},
    ],
)
def test_nobody_asks(environment: dict[str, str]) -> None:
    """Or somebody says no."""
    assert traces_of("cxldevd", "here", None, environment, pytest.fail) is None


def test_who_asks_for_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to install."""
    monkeypatch.setitem(sys.modules, "cramwire.otel", None)
    with pytest.raises(TracesUnavailable, match=r"pip install 'cramulator\[otel\]'"):
        traces_of("cxldevd", "here", None, OTLP, pytest.fail)


def test_a_call_is_told_of_by_its_metadata(kept: Kept) -> None:
    """Beside whatever else is there; nonsense is none."""
    traces = kept.traces
    with traces.span("demote", pages=3), traces.asking("write", request="a-1"):
        sent = (("authorization", "Bearer x"), *traces.metadata())
    with traces.answering("answered", traces.told_by(sent), request="a-1"):
        pass
    with traces.answering("stranger", traces.told_by((("traceparent", "no"), ("tracestate", b"x")))):
        pass
    spans = kept.spans
    assert is_child(spans["write"], spans["demote"])
    assert is_child(spans["answered"], spans["write"])
    assert len({trace_of(spans[name]) for name in ("demote", "write", "answered")}) == 1
    assert spans["stranger"].parent is None
    assert (spans["write"].kind, spans["answered"].kind) == (SpanKind.CLIENT, SpanKind.SERVER)
    assert dict(spans["answered"].attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.method": "answered",
        "cram.request": "a-1",
    }


def test_a_lane_carries_a_span_in_24_bytes(kept: Kept) -> None:
    """Zeros: there is none."""
    traces = kept.traces
    assert traces.packed() == bytes(24)
    with traces.span("demote"):
        packed = traces.packed()
    assert len(packed) == 24
    for name, told in (("answered", packed), ("alone", bytes(24))):
        with traces.answering(name, traces.unpacked(told)):
            pass
    spans = kept.spans
    assert is_child(spans["answered"], spans["demote"])
    assert spans["alone"].parent is None


def test_a_call_of_another_thread_belongs_to_the_span_that_began_it(kept: Kept) -> None:
    """Other threads know nothing of it."""
    traces = kept.traces

    def call(name: str) -> None:
        with traces.asking(name):
            pass

    with span_of(traces, "demote"):
        threads = [
            threading.Thread(target=carried(traces, lambda: call("behind"))),
            threading.Thread(target=call, args=("renew",)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert is_child(kept.spans["behind"], kept.spans["demote"])
    assert kept.spans["renew"].parent is None


def test_what_ends_elsewhere(kept: Kept) -> None:
    """A span that waits for its write."""
    traces = kept.traces
    span = traces.begin("demote", pages=2)
    with traces.within(span), traces.asking("write"):
        pass
    assert "demote" not in kept.spans
    span.end()
    assert is_child(kept.spans["write"], kept.spans["demote"])


def test_a_call_that_failed_says_how(kept: Kept) -> None:
    """What was raised on the way is not told of: it is how gRPC ends a call."""
    traces = kept.traces

    def answer() -> None:
        with traces.answering("write", traces.told_by(())) as span:
            traces.failed(span, "RESOURCE_EXHAUSTED", "no more writes")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        answer()
    told = kept.spans["write"]
    assert (told.status.is_ok, told.status.description) == (False, "no more writes")
    assert (told.attributes or {})["rpc.grpc.status"] == "RESOURCE_EXHAUSTED"
    assert not told.events


def test_without_traces_nothing_is_made() -> None:
    """A call stays what it is."""

    def call() -> int:
        return 3

    assert carried(None, call) is call
    with span_of(None, "attach"):
        pass
