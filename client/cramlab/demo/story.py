"""The phases of the demo, what each must show, and the faults that lead there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramlab.demo.needs import Need, Phase, of_all, of_device, of_each
from cramwire.v1 import operator_pb2

if TYPE_CHECKING:
    from cramlab.demo.readings import Reading

FILL: Final = Phase(
    "fill",
    "the hosts shadow their programs; cold pages are demoted",
    40,
    (
        Need("scans of its program, each host", of_each("scans"), at_least=1),
        Need("demotions, each host", of_each("demotions"), at_least=4000),
        Need("pages on the device", of_device("stored_pages"), at_least=12_000),
    ),
)
STEADY: Final = Phase(
    "steady state",
    "reads map pages read-only; writes map some writable, within the budget",
    45,
    (
        Need("scans of its program, each host", of_each("scans"), at_least=6, since_phase=True),
        Need("read faults, each host", of_each("read_faults"), at_least=500, since_phase=True),
        Need("mkwrites, each host", of_each("mkwrites"), at_least=1000, since_phase=True),
        Need("promotions, all hosts", of_all("promotions"), at_least=500, since_phase=True),
        Need("node open, each host", of_each("node_open"), at_least=1),
    ),
)
EXHAUSTED: Final = Phase(
    "exhaustion",
    "almost all free media is taken away at one stroke; writes go on until the device refuses",
    30,
    (
        Need("no more writes, device", of_device("no_more_writes"), at_least=1, since_phase=True),
        Need("refused pages, device", of_device("refused_pages"), at_least=1, since_phase=True),
        Need("refused writes, all hosts", of_all("no_more_writes"), at_least=1, since_phase=True),
    ),
)
WRITEBACK: Final = Phase(
    "writeback",
    "what comes free is taken too; the nodes are closed, their coldest pages go to zswap and swap",
    30,
    (
        Need("scans of its program, each host", of_each("scans"), at_least=3, since_phase=True),
        Need("node open, each host", of_each("node_open"), at_most=0),
        Need("writebacks for pressure, each host", of_each("pressure_writebacks"), at_least=1000),
        Need("pages in zswap and swap, each host", of_each("in_swap"), at_least=1000),
    ),
)
RECOVERED: Final = Phase(
    "recovery",
    "the faults are cleared; the nodes open and take pages again",
    45,
    (
        Need("armed faults", of_device("faults"), at_most=0),
        Need("no more writes now, device", of_device("full"), at_most=0),
        Need("node open, each host", of_each("node_open"), at_least=1),
        Need("zombies reaped, all hosts", of_all("reaped"), at_least=1),
        Need("scans of its program, each host", of_each("scans"), at_least=4, since_phase=True),
        Need("demotions, each host", of_each("demotions"), at_least=1000, since_phase=True),
        Need("mkwrites, each host", of_each("mkwrites"), at_least=500, since_phase=True),
    ),
)
DRAINED: Final = Phase(
    "drained",
    "every region is gone and every byte of media is free",
    15,
    (
        Need("regions", of_device("regions"), at_most=0),
        Need("pages on the device", of_device("stored_pages"), at_most=0),
        Need("media used, bytes", of_device("used_bytes"), at_most=0),
    ),
)
VERIFY: Final = Phase("verify", "each host reads every page back, compares every byte, and detaches", 40)

PHASES: Final = (FILL, STEADY, EXHAUSTED, WRITEBACK, RECOVERED, VERIFY, DRAINED)
"""In the order in which they are gone through."""

LEFT_FREE_BYTES: Final = 64 << 10
"""Media that the first fault leaves: above the critical watermark (0), so that hosts go on writing."""


def sudden_loss(now: Reading) -> operator_pb2.Fault | None:
    """Hold back all media that is free now but a little: the warning comes too late.

    None unless all nodes are open and nothing is held yet.
    """
    if now.device.faults or not all(host.node_open for host in now.hosts.values()):
        return None
    held = max(1, now.device.free_bytes - LEFT_FREE_BYTES)
    return operator_pb2.Fault(exhaustion=operator_pb2.ExhaustionFault(bytes=held))


def loss_was_noticed(now: Reading) -> bool:
    """Whether the sudden loss took the last byte, so that all hosts stopped before one was refused."""
    closed = not any(host.node_open for host in now.hosts.values())
    return bool(now.device.faults) and not now.device.full and closed


def total_loss() -> operator_pb2.Fault:
    """Hold back all media, as it becomes free: nothing that hosts give back helps them."""
    return operator_pb2.Fault(exhaustion=operator_pb2.ExhaustionFault(share_milli=1000))


def broken_promises(now: Reading) -> list[str]:
    """What must never be, in any phase; one line each."""
    broken = []
    for name, host in now.hosts.items():
        if host.mismatched:
            broken.append(f"{name} found {host.mismatched} pages with wrong bytes")
        if host.pages_lost:
            broken.append(f"{name} lost {host.pages_lost} pages")
        if host.writable > host.budget:
            broken.append(f"{name} has {host.writable} writable pages, its budget is {host.budget}")
    return broken
