"""Selectors by the dashboards' variables, and expressions that come again and again."""

from __future__ import annotations

from typing import Final

from cramlab.dashboards.panels import Query

DEVICE: Final = 'instance=~"$device"'
HOST: Final = 'host=~"$host"'
AGENT: Final = 'instance=~"$agent"'
REGION: Final = f"{{{DEVICE}, {HOST}}}"
"""The chosen hosts' regions on the chosen devices."""
RATE: Final = "$__rate_interval"


def by_host(expression: str) -> str:
    """Series of agents with their hosts' names, as the devices know them."""
    return f"{expression} * on (job, instance) group_left (host) cram_host_info{{{HOST}}}"


def of_agent(metric: str) -> str:
    """A metric of the chosen agents."""
    return f"{metric}{{{AGENT}}}"


def of_node(expression: str) -> str:
    """Series of nodes, each with where its device is."""
    return f"{expression} * on (job, instance, node) group_left (device) {of_agent('cram_node_info')}"


def agent_rate(metric: str, legend: str) -> Query:
    """How fast a counter of the chosen agents grows."""
    return Query(f"rate({of_agent(metric)}[{RATE}])", legend)


def agent_rates(metric: str, *labels: str) -> Query:
    """The same by these labels, which name the series."""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return Query(f"sum by ({', '.join(labels)}) (rate({of_agent(metric)}[{RATE}]))", legend)
