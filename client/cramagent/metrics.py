"""The agent's `/metrics`: a picture that the main loop took, never the policy itself.

The main loop makes a `Picture` now and then and hands it over in one assignment; the HTTP thread
reads whichever is newest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from cramagent.metric_families import families
from cramagent.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.metrics_core import Metric

    from cramagent.machine import Machine


class AgentCollector(Collector):
    """Tells the newest picture; nothing before the first."""

    def __init__(self) -> None:
        self._picture: Picture | None = None

    def publish(self, machine: Machine) -> None:
        """Take a picture and show it from now on."""
        self._picture = Picture.take(machine)

    def collect(self) -> Iterator[Metric]:
        """All metrics of one picture, so that they agree with each other."""
        picture = self._picture
        if picture is not None:
            yield from families(picture)


def serve_metrics(collector: AgentCollector, host: str, port: int) -> tuple[str, WSGIServer, Thread]:
    """Serve `/metrics`; the address as it came out, `HOST:PORT`.

    Raises:
        OSError: the address cannot be had.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    server, thread = start_http_server(port, host, registry)
    return f"{host}:{server.server_port}", server, thread
