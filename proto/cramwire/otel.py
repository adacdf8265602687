"""Spans, by OpenTelemetry. Imported only where traces are wanted: see `cramwire.traces`."""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from opentelemetry.trace import Span

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]

_CARRIED: Final = frozenset(("traceparent", "tracestate"))
_W3C: Final = TraceContextTextMapPropagator()
_LAST_SPANS_S: Final = 3.0
"""A collector that does not answer keeps nobody from ending for longer."""


class Traces:
    """The spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("cramulator")

    @classmethod
    def exported(
        cls, service: str, instance: str, endpoint: str | None, unsent: Callable[[str], None]
    ) -> Self:
        """Spans that go to a collector by OTLP over HTTP. See `cramwire.traces.traces_of`."""
        said = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if "OTEL_SERVICE_NAME" in os.environ:
            said += "service.name="
        ours = {"service.name": service, "service.instance.id": instance}
        # What the environment says wins.
        named = Resource.create({key: value for key, value in ours.items() if f"{key}=" not in said})
        provider = TracerProvider(resource=named)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        log = logging.getLogger("opentelemetry")
        log.propagate = False
        log.handlers = [_Unsent(unsent)]
        return cls(provider)

    def close(self) -> None:
        """Send what is left, as far as that gets within a few seconds."""
        ending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        ending.join(_LAST_SPANS_S)

    # -- spans ----------------------------------------------------------------------------------

    @contextmanager
    def span(self, name: str, **attributes: Any) -> Iterator[Span]:
        """Something of ours that goes on while this is entered."""
        with self._tracer.start_as_current_span(name, attributes=_named(attributes)) as span:
            yield span

    def begin(self, name: str, **attributes: Any) -> Span:
        """As `span`, for what ends elsewhere: `Span.end`."""
        return self._tracer.start_span(name, attributes=_named(attributes))

    @contextmanager
    def within(self, span: Span) -> Iterator[None]:
        """What begins while this is entered belongs to that span."""
        with trace.use_span(span):
            yield

    @contextmanager
    def asking(self, operation: str, **attributes: Any) -> Iterator[Span]:
        """A call that we make; `metadata` tells the other end of it."""
        with self._tracer.start_as_current_span(
            operation, kind=SpanKind.CLIENT, attributes=_of_call(operation, attributes)
        ) as span:
            yield span

    @contextmanager
    def answering(
        self,
        operation: str,
        parent: Context,
        **attributes: Any,
    ) -> Iterator[Span]:
        """A call that we answer, as a part of what it belongs to: see `told_by` and `unpacked`.

        What it raises is the caller's to tell of: see `failed`.
        """
        with self._tracer.start_as_current_span(
            operation,
            parent,
            SpanKind.SERVER,
            _of_call(operation, attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    @staticmethod
    def failed(span: Span, code: str, message: str) -> None:
        """The call did not end well: gRPC's code, and what is said of it."""
        span.set_attribute("rpc.grpc.status", code)
        span.set_status(StatusCode.ERROR, message)

    # -- across calls, threads and processes ------------------------------------------------------

    @staticmethod
    def metadata() -> Metadata:
        """What tells the other end of the span of now: W3C `traceparent`."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return tuple(carrier.items())

    @staticmethod
    def packed() -> bytes:
        """The span of now as a lane carries it: its trace's id and its own, 24 bytes; zeros: none."""
        now = trace.get_current_span().get_span_context()
        return now.trace_id.to_bytes(16, "big") + now.span_id.to_bytes(8, "big")

    @staticmethod
    def told_by(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
        """The span that a call belongs to, by its metadata."""
        told = {key: value for key, value in metadata if key in _CARRIED and isinstance(value, str)}
        return _W3C.extract(told, Context())

    @staticmethod
    def unpacked(packed: bytes) -> Context:
        """The span that a lane's command belongs to, by what `packed` made."""
        told = SpanContext(
            int.from_bytes(packed[:16], "big"),
            int.from_bytes(packed[16:24], "big"),
            is_remote=True,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
        )
        if not told.is_valid:
            return Context()
        return trace.set_span_in_context(NonRecordingSpan(told), Context())

    @staticmethod
    def carried(call: Callable[[], T]) -> Callable[[], T]:
        """The same call, for another thread, as a part of the span of now."""
        context = contextvars.copy_context()
        return lambda: context.run(call)


def _of_call(operation: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {"rpc.system": "grpc", "rpc.method": operation, **_named(attributes)}


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"cram.{name}": value for name, value in attributes.items()}


class _Unsent(logging.Handler):
    """Takes what the exporter says, which would stand between lines of another form."""

    def __init__(self, unsent: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._unsent = unsent

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on, one line of it."""
        self._unsent(record.getMessage().partition("\n")[0])
