"""The fault handler: every way in which a page comes to be mapped as an access needs it.

A fault that needs a frame may reclaim, and reclaim may find the session gone; so after every nested
decision the handler looks at the PTE anew. The folio being faulted is marked in flight wherever
reclaim could choose it (that is: while it is in DRAM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy import rmap
from cramagent.policy.answers import BUS_ERROR, OUT_OF_MEMORY, STALLED, Access
from cramagent.policy.effects import CopyFrame, NodeLoad, NodeLoaded, NodeStatus, TierDrop, TierGet, ZeroFrame
from cramagent.policy.states import PageEvent, State

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision
    from cramagent.policy.folio import AddressSpace, Folio, Pte
    from cramagent.policy.mm import Mm
    from cramagent.policy.reclaim import Reclaim


class FaultHandler:
    """See `Host.fault`."""

    def __init__(self, mm: Mm, reclaim: Reclaim) -> None:
        self._mm = mm
        self._reclaim = reclaim

    def handle(self, number: int, vpn: int, *, write: bool, now_ns: int) -> Decision[Access]:
        """Map a page so that the access can go through, or say why it cannot."""
        mm = self._mm
        mm.now_ns = now_ns
        space = mm.spaces[number]
        pte = space.ptes.get(vpn)
        if pte is None:
            if space.killed:
                mm.counters.killed_accesses += 1
                return BUS_ERROR
            return (yield from self._first_touch(space, vpn))
        pte.folio.referenced = True
        state = pte.state
        if state is State.LOST:
            return self._bus_error()
        if state is State.SWAPPED:
            failed = yield from self._swap_in(pte.folio)
            if failed is not None:
                return failed
            state = pte.state
        if state is State.DRAM:
            if write and pte.folio.copy_on_write:
                return (yield from self._copy_on_write(pte))
            return pte.folio.access()
        if not mm.node.reachable:
            return mm.stalled()
        if not write:
            if state is State.ENTRY:
                # Only the faulting mapper is mapped; the entry stays cached behind the mapping.
                mm.move(pte, PageEvent.READ_FAULT)
                mm.counters.read_faults += 1
            return pte.folio.access()
        if state is State.RW:
            return pte.folio.access()
        if self._may_mkwrite(pte.folio):
            rmap.made_writable(mm, pte)
            mm.counters.mkwrites += 1
            return pte.folio.access()
        return (yield from self._promote(pte))

    def _bus_error(self) -> Access:
        self._mm.counters.bus_errors += 1
        return BUS_ERROR

    def _take_frame(self) -> Decision[int | None]:
        frame = self._mm.frames.take()
        if frame is None:
            frame = yield from self._reclaim.frame()
        return frame

    # -- DRAM --------------------------------------------------------------------------------------

    def _first_touch(self, space: AddressSpace, vpn: int) -> Decision[Access]:
        mm = self._mm
        frame = yield from self._take_frame()
        if frame is None:
            return OUT_OF_MEMORY
        mapped = False
        try:
            yield ZeroFrame(frame)
            mapped = True
        finally:
            if not mapped:
                mm.frames.release(frame)
        mm.counters.first_touches += 1
        return rmap.map_new(mm, space, vpn, frame).access()

    def _copy_on_write(self, pte: Pte) -> Decision[Access]:
        """The writer gets a frame of its own; reclaim leaves the one being copied alone."""
        mm = self._mm
        folio = pte.folio
        folio.in_flight = True
        try:
            frame = yield from self._take_frame()
        finally:
            folio.in_flight = False
        if frame is None:
            return OUT_OF_MEMORY
        copied = False
        try:
            yield CopyFrame(folio.handle, frame)
            copied = True
        finally:
            if not copied:
                mm.frames.release(frame)
        mm.counters.cow_copies += 1
        return rmap.copied(mm, pte, frame, PageEvent.COPY_ON_WRITE).access()

    def _swap_in(self, folio: Folio) -> Decision[Access | None]:
        """Normal swap-in, for all mappers. Answers what went wrong, if something did."""
        mm = self._mm
        tier, handle = folio.backend.tier, folio.handle
        assert tier is not None, folio
        frame = yield from self._take_frame()
        if frame is None:
            return OUT_OF_MEMORY
        loaded = False
        try:
            yield TierGet(tier, (handle,), (frame,))
            loaded = True
        finally:
            if not loaded:
                mm.frames.release(frame)
        rmap.swapped_in(mm, folio, frame)
        mm.counters.swap_ins += 1
        yield TierDrop(tier, (handle,))
        return None

    # -- the node ----------------------------------------------------------------------------------

    def _may_mkwrite(self, folio: Folio) -> bool:
        """The write control of the mail: under budget, one mapper, and the node open. Counts the denials."""
        mm, counters = self._mm, self._mm.counters
        if len(folio.mappers) != 1:
            counters.mkwrite_denied_mappers += 1
            return False
        if not mm.node_open:
            counters.mkwrite_denied_closed += 1
            return False
        if not mm.writable.has_room:
            counters.mkwrite_denied_budget += 1
            return False
        return True

    def _promote(self, pte: Pte) -> Decision[Access]:
        """Copy the device page to DRAM: for the writer alone if it is shared copy-on-write, else for all."""
        mm = self._mm
        folio = pte.folio
        frame = yield from self._take_frame()
        if frame is None:
            return OUT_OF_MEMORY
        kept = False
        try:
            if pte.state is State.LOST:
                # Reclaim, nested here, found the session gone.
                return self._bus_error()
            dpa = folio.handle
            loaded: NodeLoaded = yield NodeLoad((dpa,), (frame,))
            if loaded.status is NodeStatus.GONE:
                mm.node_lost()
                return self._bus_error()
            if loaded.poisoned or loaded.status is NodeStatus.POISONED:
                mm.poison_met((dpa,))
                return self._bus_error()
            if loaded.status is not NodeStatus.OK:
                mm.counters.stalls += 1
                return STALLED
            kept = True
        finally:
            if not kept:
                mm.frames.release(frame)
        if folio.copy_on_write:
            mm.counters.promotions_copied += 1
            return rmap.copied(mm, pte, frame, PageEvent.PROMOTE).access()
        mm.counters.promotions += 1
        rmap.promoted(mm, folio, frame)
        return folio.access()
