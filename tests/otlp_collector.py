"""A collector of spans, by OTLP over HTTP, as small as one can be."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class CollectedSpan:
    """One span, as it came."""

    service: str
    instance: str
    name: str
    kind: int
    trace: bytes
    span: bytes
    parent: bytes
    failed: bool
    facts: dict[str, Any] = field(hash=False)


class Collector:
    """Takes spans on a port of its own."""

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        collector = self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces", self.path
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base calls it so
                """Nothing: it would stand between the test's lines."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Keep what came."""
        for resource in request.resource_spans:
            of = _facts(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [
                    CollectedSpan(
                        of["service.name"],
                        of["service.instance.id"],
                        one.name,
                        one.kind,
                        one.trace_id,
                        one.span_id,
                        one.parent_span_id,
                        one.status.code == one.status.STATUS_CODE_ERROR,
                        _facts(one.attributes),
                    )
                    for one in scope.spans
                ]

    def of(self, service: str, name: str = "") -> list[CollectedSpan]:
        """Spans of one side, of that name or of any."""
        return [one for one in self.spans if one.service == service and name in {"", one.name}]


def _facts(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that serves while this is entered."""
    collector = Collector()
    serving = threading.Thread(target=collector.server.serve_forever, daemon=True)
    serving.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        serving.join()
