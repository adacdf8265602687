"""The rows of `cramctl bench`, and what each should reach."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cramlab.bench.agent import AgentFaults
from cramlab.bench.crowd import Agents, Crowd
from cramlab.bench.device_cost import DeviceCost
from cramlab.bench.events import EventLag
from cramlab.bench.lane import SharedLane, lane_host, lane_options
from cramlab.bench.lane_page import LanePage, LanePageAgainstNbdkit
from cramlab.bench.memory import ManyPages
from cramlab.bench.nbdkit import AgainstNbdkit
from cramlab.bench.policy import PolicyCost
from cramlab.bench.rows import Figure, Goal, at_least
from cramlab.bench.scrapes import Scrapes
from cramlab.bench.suite import Bench, Best, Probe, Suite
from cramlab.bench.throughput import BATCHES, PageCall, Throughput
from cramlab.bench.wire import BenchHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cramlab.bench.wire import PageHost

_OPERATIONS: Final = ("write", "read")
_SIXTY_FOUR: Final = {"write": at_least(0.65), "read": at_least(0.45)}
_BEST_GRPC: Final = {"write": at_least(1.2), "read": at_least(0.75)}
_BEST_LANE: Final = {"write": at_least(1.5), "read": at_least(1.2)}


def standard_suite() -> Suite:
    """All rows that need nothing but this package; nbdkit where it is installed."""
    probes: list[Probe] = []
    bests: list[Best] = []
    for operation in _OPERATIONS:
        rows, best_row = _throughput(operation, "", lambda bench: bench.host, _BEST_GRPC[operation])
        probes += [*rows, PageCall(operation)]
        bests.append(best_row)
    lane, agents = SharedLane(), Agents()
    for operation in _OPERATIONS:
        rows, best_row = _throughput(operation, "lane-", lane, _BEST_LANE[operation])
        probes += [*rows, LanePage(operation, lane), LanePageAgainstNbdkit(operation, lane)]
        bests.append(best_row)
    probes += [ManyPages(), DeviceCost(), *(Crowd(operation, agents) for operation in _OPERATIONS)]
    probes += [EventLag(), Scrapes(), PolicyCost(), AgentFaults()]
    return Suite(tuple(probes), tuple(bests))


def nbdkit_suite() -> Suite:
    """The comparison with nbdkit."""
    return Suite(
        (
            AgainstNbdkit("nbdkit-", _grpc_device, sequential=(1.2, 0.9)),
            AgainstNbdkit("nbdkit-lane-", _lane_device, sequential=(1.2, 1.2)),
        )
    )


def _throughput(
    operation: str, prefix: str, host: Callable[[Bench], PageHost], goal: Goal
) -> tuple[list[Throughput], Best]:
    """A row for each batch, and the best of them."""
    rows = [
        Throughput(
            operation, batch, host, prefix, _SIXTY_FOUR[operation] if batch == 64 and not prefix else None
        )
        for batch in BATCHES
    ]
    figures = [row.figures[0] for row in rows]
    chosen = Figure(f"{prefix}{operation}-best", "MB/s", figures[0].against, goal)
    return rows, Best(chosen, tuple(figure.name for figure in figures[-2:]))


@contextmanager
def _grpc_device(bench: Bench, name: str) -> Iterator[tuple[PageHost, int]]:
    """A fresh device and an empty region on it, over gRPC; and the device's process id."""
    with (
        bench.start_device(name) as device,
        BenchHost(device.address, len(bench.corpus.pages)) as host,
    ):
        yield host, device.pid


@contextmanager
def _lane_device(bench: Bench, name: str) -> Iterator[tuple[PageHost, int]]:
    """The same over the same-host transport."""
    with (
        bench.start_device(name, options=lane_options(bench, name)) as device,
        lane_host(device.address, len(bench.corpus.pages), "bench") as host,
    ):
        yield host, device.pid
