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
    from cramagent.performer import Performer, Suspended
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
        self._failed: list[tuple[int, int]] = []
        """Pages of the batch of loads under way that met a bus error."""
        self._loading: tuple[list[tuple[int, int]], Sequence[int], Suspended[list[Access]]] | None = None
        """What of it lies on the device, the frames that it is read to, and the decision that reads it."""
        self._numbers: dict[int, int] = {}
        """`host_space` when it began."""

    @property
    def batch_pages(self) -> int:
        """Most pages of one batch."""
        return len(self._dram.scratch)

    # -- loads ---------------------------------------------------------------------------------------

    def load(self, pages: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Read pages and compare them with the truth; those that met a bus error.

        A page whose device does not answer is left alone: the pattern comes by again.

        Raises:
            OutOfMemory: a page cannot be brought in.
        """
        self.begin_load(pages)
        return self.end_load()

    def begin_load(self, pages: Sequence[tuple[int, int]]) -> None:
        """As `load`, but what lies on the device may be read by the next `store` of the batch, too.

        Between this and `end_load` nothing else may happen to the host but one batch of stores.
        """
        assert self._loading is None, "a batch of loads is under way"
        assert len(pages) <= self.batch_pages, len(pages)
        self._tally.reads += len(pages)
        self._spend(accesses=len(pages))
        numbers = self.host_space
        host_pages = [(numbers[space], vpn) for space, vpn in pages]
        self._failed, self._numbers = [], dict(numbers)
        on_node: list[int] = []
        done = 0
        while done < len(pages):
            if done:
                # Frames ran out: kswapd's write may free some.
                self._performer.resume(wait=True)
            answers = self._fault_in(host_pages[done:] if done else host_pages, write=False)
            here = [index for index, access in enumerate(answers, done) if access is ON_NODE]
            on_node += here
            if len(here) < len(answers):
                self._compare_answered(pages[done : done + len(answers)], answers)
            done += len(answers)
        if on_node:
            frames = self._dram.scratch[: len(on_node)]
            wanted = [host_pages[index] for index in on_node] if len(on_node) < len(pages) else host_pages
            loading = self._performer.suspend(self._host.load(wanted, frames, self._now_ns()))
            self._loading = [pages[index] for index in on_node], frames, loading

    def end_load(self) -> list[tuple[int, int]]:
        """Compare what was read from the device. All pages since `begin_load` that met a bus error.

        Nothing, if that was not called.
        """
        if self._loading is not None:
            pages, frames, loading = self._loading
            self._loading = None
            answers = self._performer.finish(loading)
            if self._numbers != self.host_space:
                # A store has killed one: what its pages held is nobody's any more.
                left = [place for place, (space, _) in enumerate(pages) if self._is_there(space)]
                pages, frames = [pages[place] for place in left], [frames[place] for place in left]
                answers = [answers[place] for place in left]
            if answers.count(ON_NODE) == len(answers):
                self._compare_frames(pages, frames)
            else:
                # What has moved since was copied to its scratch frame.
                self._compare_answered(pages, answers, frames)
        failed, self._failed = [page for page in self._failed if self._is_there(page[0])], []
        return failed

    def _is_there(self, space: int) -> bool:
        """Whether the batch of loads began in the space that has this name now."""
        return self.host_space.get(space) == self._numbers.get(space)

    def _compare_answered(
        self, pages: Sequence[tuple[int, int]], answers: Sequence[Access], scratch: Sequence[int] = ()
    ) -> None:
        """Compare the pages that can be read now: in their own frames or, if there are, in scratch ones."""
        good: list[tuple[int, int]] = []
        frames: list[int] = []
        for place, (page, access) in enumerate(zip(pages, answers, strict=True)):
            if access.kind is _DRAM or (scratch and access is ON_NODE):
                good.append(page)
                frames.append(scratch[place] if scratch else access.where)
            elif access.kind is AccessKind.BUS_ERROR:
                self._failed.append(page)
        self._compare_frames(good, frames)

    def _compare_frames(self, pages: Sequence[tuple[int, int]], frames: Sequence[int]) -> None:
        self._tally.verified += len(pages)
        for wrong in self._truth.settle_all(pages, self._dram.digests(frames)):
            self._mismatched(*pages[wrong], "read")

    # -- stores --------------------------------------------------------------------------------------

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
        digests = digests or digest_pages(data)
        host_space = self.host_space[space]
        failed: list[int] = []
        later: list[int] = []
        on_node: list[int] = []
        host_pages = [(host_space, vpn) for vpn in vpns]
        done = 0
        if self._host.free_frames < len(vpns):
            # One wait for kswapd's write rather than two reads of parts of the batch.
            self._performer.resume(wait=True)
        while done < len(vpns):
            if done:
                self._performer.resume(wait=True)
            answers = self._fault_in(host_pages[done:] if done else host_pages, write=True)
            frames = [access.where for access in answers if access.kind is _DRAM]
            if len(frames) == len(vpns):
                self._dram.scatter(frames, data)
                self._truth.remember_all(space, vpns, digests)
                return failed, later
            in_dram = [index for index, access in enumerate(answers, done) if access.kind is _DRAM]
            self._dram.put(frames, data, in_dram)
            self._truth.remember_all(
                space, [vpns[index] for index in in_dram], [digests[index] for index in in_dram]
            )
            if len(frames) < len(answers):
                for index, access in enumerate(answers, done):
                    if access is ON_NODE:
                        on_node.append(index)
                    elif access.kind is AccessKind.BUS_ERROR:
                        failed.append(vpns[index])
                    elif access.kind is not _DRAM:
                        later.append(vpns[index])
            done += len(answers)
            if failed and self._host.killed(host_space):
                return failed, later
        if on_node:
            # From the far end: loads of the same batch may use the near one.
            scratch = self._dram.scratch[-len(on_node) :]
            self._dram.put(scratch, data, on_node)
            wanted = [host_pages[index] for index in on_node]
            stored = self._performer.drive(self._host.store(wanted, scratch, self._now_ns()))
            for index, access in zip(on_node, stored, strict=True):
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

    # -- both ----------------------------------------------------------------------------------------

    def compare(self, space: int, vpn: int, data: bytes | memoryview, found_by: str) -> None:
        """Compare one page with the truth, and keep what is wrong."""
        self._tally.verified += 1
        if not self._truth.settle(space, vpn, data):
            self._mismatched(space, vpn, found_by)

    def _mismatched(self, space: int, vpn: int, found_by: str) -> None:
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
