"""What one event costs the policy, with a device that answers at once and no byte moved."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from cramagent.policy.effects import (
    Done,
    NodeLoad,
    NodeLoaded,
    NodeStatus,
    NodeTrim,
    NodeTrimmed,
    NodeWrite,
    NodeWritten,
    TierPut,
    TierStored,
)
from cramagent.policy.host import ON_NODE, Host
from cramagent.policy.settings import PolicySettings
from cramlab.bench.raw import compress_rate
from cramlab.bench.rows import PAGE_BYTES, Figure, Sample, at_most

if TYPE_CHECKING:
    import numpy as np

    from cramagent.policy.effects import Decision, Effect, Outcome
    from cramlab.bench.suite import Bench

T = TypeVar("T")

_PAGES: Final = 16_384
_DRAM_PAGES: Final = _PAGES // 4
_BUDGET: Final = 1024
_BATCH: Final = 256
_BATCHES: Final = 200
_WRITE_SHARE: Final = 0.5
_STEP_NS: Final = 5_000_000
"""Of the policy's clock, between two batches: writable mappings age."""
EVENTS: Final = (
    "first_touches",
    "read_faults",
    "mkwrites",
    "promotions",
    "promotions_copied",
    "swap_ins",
    "demotions",
    "node_stores",
    "reprotects_aged",
    "reprotects_pressure",
    "frees_done",
    "frees_deferred",
)
"""Counters that each count one event of the page state table."""

_DONE: Final = Done()
_LOADED: Final = NodeLoaded(NodeStatus.OK)
_TRIMMED: Final = NodeTrimmed(NodeStatus.OK)


def drive(decision: Decision[T]) -> T:
    """Answer every effect at once: all is well."""
    try:
        effect = next(decision)
        while True:
            effect = decision.send(_answer(effect))
    except StopIteration as end:
        answer: T = end.value
        return answer


def _answer(effect: Effect) -> Outcome:
    kind = type(effect)
    if kind is NodeLoad:
        return _LOADED
    if isinstance(effect, NodeWrite):
        return NodeWritten(NodeStatus.OK, len(effect.dpas))
    if kind is NodeTrim:
        return _TRIMMED
    if isinstance(effect, TierPut):
        return TierStored(tuple(range(len(effect.frames))))
    return _DONE


class SimulatedSpace:
    """One address space with DRAM for a quarter of it, in its steady state."""

    def __init__(self) -> None:
        self._host = Host(PolicySettings(dram_pages=_DRAM_PAGES, budget_pages=_BUDGET))
        self._host.node_attached(2 * _PAGES * PAGE_BYTES)
        self._space = self._host.create_space()
        self._scratch = range(_DRAM_PAGES, _DRAM_PAGES + _BATCH)
        self._now_ns = 0
        for first in range(0, _PAGES, _BATCH):
            self.batch(list(range(first, first + _BATCH)), [True] * _BATCH)

    @property
    def events(self) -> int:
        """Of the state table, since it was made."""
        counters = asdict(self._host.counters)
        return sum(counters[name] for name in EVENTS)

    def batch(self, vpns: list[int], writes: list[bool]) -> None:
        """Access these pages as the runner does: all reads, then all stores, then the daemons."""
        host, space = self._host, self._space
        self._now_ns = now_ns = self._now_ns + _STEP_NS
        for write in (False, True):
            pages = [(space, vpn) for vpn, kind in zip(vpns, writes, strict=True) if kind is write]
            on_node: list[tuple[int, int]] = []
            while pages:
                answers = drive(host.fault_in(pages, write=write, now_ns=now_ns))
                on_node += [page for page, access in zip(pages, answers, strict=False) if access is ON_NODE]
                del pages[: len(answers)]
            if on_node:
                move = host.store if write else host.load
                drive(move(on_node, self._scratch[: len(on_node)], now_ns))
        drive(host.background(now_ns))

    def check(self) -> None:
        """The policy's own audit.

        Raises:
            AssertionError: what is wrong.
        """
        self._host.check()


class PolicyCost:
    """Random accesses, half of them stores, all daemons at work."""

    figures = (Figure("policy-event", "us", "zstandard compressing one page, one thread", at_most(0.25)),)

    @cached_property
    def _space(self) -> SimulatedSpace:
        return SimulatedSpace()

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Us an event. Accesses that are none (already mapped as needed) are in the time all the same."""
        space = self._space
        # No page twice in a batch: a store waits for its end.
        drawn = [draw.choice(_PAGES, _BATCH, replace=False).tolist() for _ in range(_BATCHES)]
        writes = (draw.random((_BATCHES, _BATCH)) < _WRITE_SHARE).tolist()
        before = space.events
        begun = time.perf_counter()
        for vpns, kinds in zip(drawn, writes, strict=True):
            space.batch(vpns, kinds)
        seconds = time.perf_counter() - begun
        space.check()
        raw = compress_rate(bench.corpus.pages, bench.corpus.zstd_level)
        return {"policy-event": Sample(seconds / (space.events - before) * 1e6, PAGE_BYTES / raw)}
