"""Read-ahead: what a fault brings along for its neighbours, in the window of pages around it.

Two kinds, one setting each, in pages; a window is aligned, as the kernel's are, and of one address
space. What is brought along is mapped old: nobody has used it yet, and the clock hands may take it.

Fault-around (`fault_around_pages`) maps the neighbours of an R/O fault that hold an entry, for the
faulting mapper. No byte moves. It is off by default: a read fault is all that the host learns of
reads, and each neighbour mapped is one that it learns nothing of, as under `mapping = resident`.

Swap read-ahead (`read_ahead_pages`, by default the kernel's `vm.page-cluster` of 3) loads neighbours
that lie in the swap file, into frames that are not needed for anything else. zswap and the node are
memory, as good at one page as at many: from there nothing is read ahead (the kernel's rule for
synchronous swap devices). A promotion never reads ahead: its neighbours can be read where they are,
and each would cost a frame, a TRIM and a compression later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.answers import Backend
from cramagent.policy.states import PageEvent, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.policy.folio import AddressSpace, Folio, Pte
    from cramagent.policy.mm import Mm
    from cramagent.policy.pending import Pending


class ReadAhead:
    """Works within one pass of the fault handler."""

    def __init__(self, mm: Mm) -> None:
        self._mm = mm
        self.maps = mm.settings.fault_around_pages > 1
        """Whether there is fault-around."""
        self.loads = mm.settings.read_ahead_pages > 1
        """Whether there is swap read-ahead."""

    def map_around(self, pte: Pte) -> None:
        """A page was mapped R/O by a read fault: so are its neighbours that hold an entry."""
        mm = self._mm
        for near in _window(pte.space, pte.vpn, mm.settings.fault_around_pages):
            if near.state is State.ENTRY:
                mm.move(near, PageEvent.READ_FAULT)
                near.folio.ahead = True
                mm.counters.fault_around += 1

    def load_around(self, pte: Pte, pending: Pending, free: int) -> int:
        """A page will come from the swap file: so will its neighbours there. How many frames they take.

        `free`: frames that the batch has left. Those under the low watermark are not for read-ahead.
        """
        mm = self._mm
        if pte.folio.backend is not Backend.SWAPFILE:
            return 0
        spare = free - mm.frames.low
        taken = 0
        for near in _window(pte.space, pte.vpn, mm.settings.read_ahead_pages):
            if taken >= spare:
                break
            folio = near.folio
            if folio.backend is Backend.SWAPFILE and not folio.in_flight:
                pending.swap_in_ahead(folio)
                taken += 1
        return taken

    def used(self, folio: Folio) -> None:
        """An access to a page that was brought along: read-ahead has spared it a fault."""
        folio.ahead = False
        if folio.backend is Backend.DRAM:
            self._mm.counters.read_ahead_hits += 1
        else:
            self._mm.counters.fault_around_hits += 1


def _window(space: AddressSpace, vpn: int, pages: int) -> Iterator[Pte]:
    first = vpn - vpn % pages
    for near in range(first, first + pages):
        pte = space.ptes.get(near)
        if pte is not None:
            yield pte
