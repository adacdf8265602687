"""Watching an agent that runs as a process: by its metrics, until what is waited for is so."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from typing import TYPE_CHECKING

from cramlab.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramlab.processes import AgentProcess

DEADLINE_S = 60.0


def metric(agent: AgentProcess, name: str) -> float:
    """The sum of a metric's samples, as Prometheus would scrape it now."""
    with urllib.request.urlopen(f"http://{agent.metrics_address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


def until(agent: AgentProcess, condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds, looking every 20 ms.

    Raises:
        AssertionError: the agent ended first, or the deadline passed.
    """
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S:g} s: {what}{agent.log_tail()}"
        with contextlib.suppress(ProcessError):
            code = agent.wait(0.02)
            raise AssertionError(f"it ended with {code} before: {what}{agent.log_tail()}")
