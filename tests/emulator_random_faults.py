"""A random fault of a kind, with a random scope: what mixes of faults are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxldev.config import PAGE_BYTES
from cxldev.faults import (
    LAYER_ORDER,
    BitFlipFault,
    ControlStallFault,
    DroppedConnectionFault,
    EventFault,
    EventTrouble,
    ExhaustionFault,
    Fault,
    FlushHangFault,
    HeldFault,
    LatencyFault,
    Operation,
    PoisonFault,
    RatioCollapseFault,
    ReadOnlyMediaFault,
    RefusedCommandFault,
    ResetFault,
    Scope,
    StagingOverflowFault,
    StuckTrimFault,
    UnansweredCommandFault,
)
from cxldev.faults.scope import WITH_ADDRESSES

if TYPE_CHECKING:
    from numpy.random import Generator

    from cxldev.page_table import PageTable

KINDS: Final = (*(fault.kind for fault in LAYER_ORDER), "poison", "bit_flip", "reset")
_HELD: Final = {fault.kind: fault for fault in LAYER_ORDER}


def random_fault(kind: str, host: str, table: PageTable, random: Generator) -> Fault | None:
    """A fault of this kind; None if the host's region holds nothing that it could hit."""
    if kind in _HELD:
        scope = _scope(_HELD[kind], host, random)
        return _held(kind, scope, random)
    if kind == "reset":
        return ResetFault()
    made = PoisonFault(host, random_pages=1) if kind == "poison" else BitFlipFault(host, random_pages=1)
    fit = int(np.count_nonzero(made.drawable(table.kind)))
    if not fit:
        return None
    count, seed = int(random.integers(1, min(fit, 3) + 1)), int(random.integers(1000))
    if kind == "poison":
        return PoisonFault(host, random_pages=count, seed=seed)
    return BitFlipFault(host, random_pages=count, seed=seed, bits=int(random.integers(1, 20)))


def _scope(fault: type[HeldFault], host: str, random: Generator) -> Scope:
    """Each bound is there by chance."""
    start, length = int(random.integers(8)), int(random.integers(1, 8))
    bounds: dict[str, Any] = {
        "host": host,
        "dpas": (start * PAGE_BYTES, length * PAGE_BYTES),
        "operations": _commands(fault, random),
        "share_milli": int(random.integers(200, 1000)),
        "count": int(random.integers(1, 6)),
        "duration_ns": int(random.integers(50, 400)),
        "seed": int(random.integers(1000)),
    }
    chosen = {
        name: value
        for name, value in bounds.items()
        if name in fault.scope_fields and random.integers(3) == 0
    }
    if "dpas" in chosen and not chosen.get("operations", WITH_ADDRESSES) & WITH_ADDRESSES:
        del chosen["dpas"]  # of commands that name no address
    return Scope(**chosen)


def _commands(fault: type[HeldFault], random: Generator) -> frozenset[Operation]:
    """One or two of those that the fault can concern."""
    known = sorted(fault.operations, key=lambda one: one.value)
    return frozenset(known[int(random.integers(len(known)))] for _ in range(2) if known)


def _held(kind: str, scope: Scope, random: Generator) -> Fault:
    delay_ns = (0, 35, 150)[random.integers(3)]
    lost_after = bool(random.integers(2))
    match kind:
        case "exhaustion":
            return ExhaustionFault(
                share_milli=int(random.integers(1, 1001)), ramp_ns=(0, 200)[random.integers(2)], scope=scope
            )
        case "ratio_collapse":
            return RatioCollapseFault(int(random.integers(1000, 3000)), scope=scope)
        case "read_only_media":
            return ReadOnlyMediaFault(scope=scope)
        case "staging_overflow":
            return StagingOverflowFault(scope=scope)
        case "stuck_trim":
            return StuckTrimFault(delay_ns, scope=scope)
        case "flush_hang":
            return FlushHangFault(delay_ns, scope=scope)
        case "control_stall":
            return ControlStallFault(delay_ns, scope=scope)
        case "latency":
            return LatencyFault(5, 5, 3, 3, tail_milli=100, wall_tail_ns=50, scope=scope)
        case "refused_command":
            return RefusedCommandFault(scope=scope)
        case "unanswered_command":
            return UnansweredCommandFault(lost_after, scope=scope)
        case "dropped_connection":
            return DroppedConnectionFault(lost_after, scope=scope)
    trouble = list(EventTrouble)[random.integers(len(EventTrouble))]
    return EventFault(
        trouble,
        delay_ns=35 if trouble is EventTrouble.LATE else 0,
        copies=2 if trouble is EventTrouble.DUPLICATED else 0,
        behind=2 if trouble is EventTrouble.REORDERED else 0,
        scope=scope,
    )
