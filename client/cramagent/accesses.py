"""The CPU's side: batches of loads and stores, resolved through the policy, and every byte checked.

A batch is faulted in together (`Host.fault_in`). What lies in DRAM then is read or written at once;
what lies on the device waits for the end of the batch and goes there as one command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cramagent.clock import SYSTEM_CLOCK
from cramagent.policy.host import ON_NODE, AccessKind
from cramagent.truth import digest_pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramagent.clock import Clock
    from cramagent.dram import Dram
    from cramagent.performer import Performer
    from cramagent.policy.host import Access, Host
    from cramagent.tally import Tally
    from cramagent.truth import Truth

_DRAM: Final = AccessKind.DRAM
_RECLAIM_TURNS: Final = 8
"""Turns of the daemons that an access waits for a free frame, before it is out of memory."""
_MISMATCHES_KEPT: Final = 100


class OutOfMemory(Exception):
    """DRAM, the node and the tiers behind it are full, and nothing can be moved."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A page whose bytes were not what the space should hold. `state` is the policy's word."""

    space: int
    vpn: int
    state: str
    found_by: str
    """`read` or `verify`."""


class Accesses:
    """Loads and stores of a workload. Pages are (the workload's space, vpn)."""

    def __init__(
        self,
        host: Host,
        performer: Performer,
        dram: Dram,
        truth: Truth,
        tally: Tally,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._host = host
        self._performer = performer
        self._dram = dram
        self._truth = truth
        self._tally = tally
        self._now_ns = clock.now_ns
        self._spend = clock.spend
        self.host_space: Final[dict[int, int]] = {}
        """The host's number of each of the workload's spaces."""
        self.mismatches: Final[list[Mismatch]] = []
        """The first hundred."""

    @property
    def batch_pages(self) -> int:
        """Most pages of one batch."""
        return len(self._dram.scratch)

    def load(self, pages: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Read pages and compare them with the truth; those that met a bus error.

        A page whose device does not answer is left alone: the pattern comes by again.

        Raises:
            OutOfMemory: a page cannot be brought in.
        """
        assert len(pages) <= self.batch_pages, len(pages)
        self._tally.reads += len(pages)
        self._spend(accesses=len(pages))
        numbers, dram = self.host_space, self._dram
        host_pages = [(numbers[space], vpn) for space, vpn in pages]
        failed: list[tuple[int, int]] = []
        on_node: list[int] = []
        done = 0
        while done < len(pages):
            if done:
                # Frames ran out: kswapd's write may free some.
                self._performer.resume(wait=True)
            for index, access in enumerate(self._fault_in(host_pages[done:], write=False), done):
                done += 1
                if access is ON_NODE:
                    on_node.append(index)
                elif access.kind is _DRAM:
                    self.compare(*pages[index], dram.frame(access.where), "read")
                elif access.kind is AccessKind.BUS_ERROR:
                    failed.append(pages[index])
        if on_node:
            frames = dram.scratch[: len(on_node)]
            wanted = [host_pages[index] for index in on_node]
            answers = self._performer.drive(self._host.load(wanted, frames, self._now_ns()))
            for index, frame, access in zip(on_node, frames, answers, strict=True):
                if access is ON_NODE or access.kind is _DRAM:
                    self.compare(*pages[index], dram.frame(frame), "read")
                elif access.kind is AccessKind.BUS_ERROR:
                    failed.append(pages[index])
        return failed

    def store(
        self, space: int, vpns: Sequence[int], data: bytes | memoryview, digests: Sequence[int] = ()
    ) -> tuple[list[int], list[int]]:
        """Store whole pages; (vpns that met a bus error, vpns to be stored again later).

        A store that was not answered leaves its page in doubt until it is repeated, or the page is read.

        Raises:
            OutOfMemory: no frame can be had for a page.
        """
        assert len(vpns) <= self.batch_pages, len(vpns)
        self._tally.writes += len(vpns)
        self._spend(accesses=len(vpns))
        view = memoryview(data)
        digests = digests or digest_pages(view)
        host_space = self.host_space[space]
        failed: list[int] = []
        later: list[int] = []
        on_node: list[int] = []
        host_pages = [(host_space, vpn) for vpn in vpns]
        done = 0
        while done < len(vpns):
            if done:
                self._performer.resume(wait=True)
            in_dram: list[int] = []
            frames: list[int] = []
            for index, access in enumerate(self._fault_in(host_pages[done:], write=True), done):
                done += 1
                if access.kind is _DRAM:
                    in_dram.append(index)
                    frames.append(access.where)
                elif access is ON_NODE:
                    on_node.append(index)
                elif access.kind is AccessKind.BUS_ERROR:
                    failed.append(vpns[index])
                else:
                    later.append(vpns[index])
            self._dram.put(frames, view, in_dram)
            self._truth.remember_all(
                space, [vpns[index] for index in in_dram], [digests[index] for index in in_dram]
            )
            if failed and self._host.killed(host_space):
                return failed, later
        if on_node:
            scratch = self._dram.scratch[: len(on_node)]
            self._dram.put(scratch, view, on_node)
            wanted = [host_pages[index] for index in on_node]
            answers = self._performer.drive(self._host.store(wanted, scratch, self._now_ns()))
            for index, access in zip(on_node, answers, strict=True):
                if access.kind in {AccessKind.NODE, AccessKind.DRAM}:
                    self._truth.remember(space, vpns[index], digests[index])
                elif access.kind is AccessKind.BUS_ERROR:
                    failed.append(vpns[index])
                else:
                    if access.kind is AccessKind.STALLED:
                        self._truth.doubt(space, vpns[index], digests[index])
                    later.append(vpns[index])
        self._tally.deferred += len(later)
        return failed, later

    def compare(self, space: int, vpn: int, data: bytes | memoryview, found_by: str) -> None:
        """Compare one page with the truth, and keep what is wrong."""
        self._tally.verified += 1
        if self._truth.settle(space, vpn, data):
            return
        self._tally.mismatched += 1
        if len(self.mismatches) < _MISMATCHES_KEPT:
            state = self._host.state(self.host_space[space], vpn)
            self.mismatches.append(Mismatch(space, vpn, state.name, found_by))

    def _fault_in(self, pages: Sequence[tuple[int, int]], *, write: bool) -> list[Access]:
        """Where the first of these accesses may go; at least one is answered.

        Raises:
            OutOfMemory: the first one finds no frame, and the daemons free none.
        """
        answers = self._faulted(pages, write=write)
        turns = 0
        while answers[0].kind is AccessKind.OUT_OF_MEMORY:
            if turns == _RECLAIM_TURNS:
                if not self._host.snapshot().reachable:
                    # What lies on the device cannot be moved now: that may pass.
                    return answers
                raise OutOfMemory(
                    "out of memory: DRAM, the node and the swap behind it are full; "
                    "raise --dram, --node, --zswap or --swap"
                )
            turns += 1
            self._performer.settle()
            self._performer.drive(self._host.background(self._now_ns()))
            answers = self._faulted(pages, write=write)
        return answers

    def _faulted(self, pages: Sequence[tuple[int, int]], *, write: bool) -> list[Access]:
        faults = self._host.faults
        before = faults.total
        began_ns = self._now_ns()
        answers = self._performer.drive(self._host.fault_in(pages, write=write, now_ns=began_ns))
        if met := faults.total - before:
            self._spend(faults=met)
        self._tally.fault_seconds.observe((self._now_ns() - began_ns) / 1e9, met)
        return answers
