"""Plays a source's changes, and the reads drawn beside them, against the host.

What a page met with decides what becomes of it: a lost page is freed and stored anew from the
source (a real process would have died of it: the run would be over too soon to learn from), a
store that was not answered is repeated later, a killed space begins anew.
"""

from __future__ import annotations

import random
from itertools import compress, islice
from operator import not_
from typing import TYPE_CHECKING, Final, assert_never

from cramagent.page_index import PageIndex
from cramagent.policy.host import Backend
from cramagent.sources.changes import MAIN_SPACE, Exit, Fork, Free, Store

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cramagent.accesses import Accesses
    from cramagent.losses import Losses
    from cramagent.patterns import Pattern
    from cramagent.performer import Performer
    from cramagent.policy.host import Host
    from cramagent.sources.changes import Change, Source
    from cramagent.tally import Tally
    from cramagent.truth import Truth


class Workload:
    """The spaces of a source, as the host has them. All calls may raise `OutOfMemory`."""

    def __init__(
        self,
        *,
        source: Source,
        host: Host,
        performer: Performer,
        accesses: Accesses,
        truth: Truth,
        losses: Losses,
        tally: Tally,
        pattern: Pattern,
        write_share: float,
        seed: int,
    ) -> None:
        self._source = source
        self._host = host
        self._performer = performer
        self._accesses = accesses
        self._truth = truth
        self._losses = losses
        self._tally = tally
        self._pattern = pattern
        self._write_share = write_share
        self._random = random.Random(seed)
        self._index = PageIndex()
        self._lost: dict[tuple[int, int], None] = {}
        self._deferred: dict[tuple[int, int], None] = {}
        self.begin_anew = False
        """The main space was killed: the source should be scanned again at once."""
        self.spaces: Final = accesses.host_space
        self.spaces[MAIN_SPACE] = host.create_space()

    @property
    def lost_waiting(self) -> int:
        """Lost pages that are not stored anew yet."""
        return len(self._lost)

    def tell_losses(self) -> int:
        """Have the pages that were lost since this was called last recorded; how many they were."""
        return self._losses.collect(self._host, self.spaces)

    # -- changes of the source ---------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """One change, in full. Changes of a space that was killed meanwhile say nothing."""
        match change:
            case Store(space, vpns, data, digests):
                if space in self.spaces:
                    self._store(space, vpns, data, digests)
            case Free(space, vpns, noticed):
                if space in self.spaces:
                    for vpn in vpns:
                        self._free(space, vpn, noticed=noticed)
            case Fork(parent, child):
                if parent in self.spaces:
                    self._fork(parent, child)
            case Exit(space, noticed):
                if space in self.spaces:
                    self._exit(space, noticed=noticed)
            case _:
                assert_never(change)

    def _store(
        self, space: int, vpns: Sequence[int], data: bytes | memoryview, digests: Sequence[int] = ()
    ) -> None:
        if self._lost or self._deferred:
            for vpn in vpns:
                if (space, vpn) in self._lost:
                    # These bytes take the place of the ones that would have been brought back.
                    del self._lost[space, vpn]
                    self._tally.restored += 1
                self._deferred.pop((space, vpn), None)
        failed, later = self._accesses.store(space, vpns, data, digests)
        if self._killed(space):
            return
        self._deferred.update(((space, vpn), None) for vpn in later)
        self._index.add((space, vpn) for vpn in vpns)
        for vpn in failed:
            self._lose(space, vpn)

    def _free(self, space: int, vpn: int, *, noticed: bool) -> None:
        host_space = self.spaces[space]
        self.tell_losses()
        if self._host.peek(host_space, vpn).backend is not Backend.NONE:
            self._performer.drive(self._host.free(host_space, vpn, noticed=noticed))
        self._forget(space, vpn)

    def _forget(self, space: int, vpn: int) -> None:
        self._truth.forget(space, vpn)
        self._index.remove((space, vpn))
        self._lost.pop((space, vpn), None)
        self._deferred.pop((space, vpn), None)

    def _fork(self, parent: int, child: int) -> None:
        self.spaces[child] = self._host.fork(self.spaces[parent])
        self._truth.fork(parent, child)
        self._index.add((child, vpn) for vpn, _ in self._truth.pages(parent))
        for waiting in (self._lost, self._deferred):
            for space, vpn in list(waiting):
                if space == parent:
                    waiting[child, vpn] = None

    def _exit(self, space: int, *, noticed: bool) -> None:
        self.tell_losses()
        self._performer.drive(self._host.exit_space(self.spaces.pop(space), noticed=noticed))
        for vpn, _ in self._truth.pages(space):
            self._index.remove((space, vpn))
        self._truth.forget_space(space)
        for waiting in (self._lost, self._deferred):
            for page in [page for page in waiting if page[0] == space]:
                del waiting[page]

    # -- what goes wrong ---------------------------------------------------------------------------

    def _killed(self, space: int) -> bool:
        """Whether a bus error killed the space; if so, it is cleared away, and the main one begun anew."""
        if not self._host.killed(self.spaces[space]):
            return False
        self._tally.killed += 1
        self._exit(space, noticed=True)
        self._source.killed(space)
        if space == MAIN_SPACE:
            self.spaces[space] = self._host.create_space()
            self.begin_anew = True
        return True

    def _lose(self, space: int, vpn: int) -> None:
        self._free(space, vpn, noticed=True)
        self._lost[space, vpn] = None

    def restore(self, silent: Collection[int] = ()) -> bool:
        """Store a batch of lost pages anew, or of deferred stores; those on `silent` nodes wait on.

        Pages that the source has no more are given up. Whether there was anything to do.
        """
        waiting = self._lost or (self._answering(silent) if silent else self._deferred)
        if not waiting:
            return False
        space = next(iter(waiting))[0]
        same_space = (page for page in waiting if page[0] == space)
        batch = [vpn for _, vpn in islice(same_space, self._accesses.batch_pages)]
        found: list[int] = []
        data: list[bytes] = []
        for vpn in batch:
            page = self._source.page(space, vpn)
            if page is not None:
                found.append(vpn)
                data.append(page)
                continue
            if waiting is self._lost:
                self._tally.unrestored += 1
                del waiting[space, vpn]
            else:
                # It went away with its bytes, and the source will not say so again.
                self._free(space, vpn, noticed=True)
        if found:
            self._store(space, found, b"".join(data))
        return True

    def _answering(self, silent: Collection[int]) -> dict[tuple[int, int], None]:
        """Of a batch of the deferred stores: those that need no silent node. The others go to the end."""
        ready: dict[tuple[int, int], None] = {}
        for space, vpn in list(islice(self._deferred, self._accesses.batch_pages)):
            place = self._host.peek(self.spaces[space], vpn)
            if place.backend is Backend.NODE and place.node in silent:
                del self._deferred[space, vpn]
                self._deferred[space, vpn] = None
            else:
                ready[space, vpn] = None
        return ready

    # -- drawn accesses ----------------------------------------------------------------------------

    def draw(self, count: int) -> int:
        """Up to `count` accesses to different pages, drawn from the pattern; how many there were."""
        if not len(self._index):
            return 0
        reads = self._index.at(dict.fromkeys(self._pattern.draw(count, len(self._index))))
        writes: list[tuple[int, int]] = []
        if self._deferred:
            reads = [page for page in reads if page not in self._deferred]
        if self._write_share > 0:
            draw, share = self._random.random, self._write_share
            is_write = [draw() < share for _ in reads]
            writes = list(compress(reads, is_write))
            reads = list(compress(reads, map(not_, is_write)))
        self._accesses.begin_load(reads)
        self._rewrite(writes)
        for space, vpn in self._accesses.end_load():
            if space in self.spaces and not self._killed(space):
                self._lose(space, vpn)
        return len(reads) + len(writes)

    def _rewrite(self, pages: Sequence[tuple[int, int]]) -> None:
        """Store to these pages what the source would put there, the pages of a space together."""
        by_space: dict[int, list[int]] = {}
        for space, vpn in pages:
            by_space.setdefault(space, []).append(vpn)
        for space, vpns in by_space.items():
            change = self._source.rewrite(space, vpns) if space in self.spaces else None
            if change is not None:
                self._store(space, change.vpns, change.data, change.digests)
