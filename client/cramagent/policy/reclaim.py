"""Reclaim: cold DRAM pages go to a node that is open, else to the tiers. kswapd and direct."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy import rmap
from cramagent.policy.effects import NodeStatus, NodeWrite, NodeWritten, Tier, TierPut, TierStored
from cramagent.policy.folio import PageKind
from cramagent.policy.node import DEMOTION, Gfp, Ineligible, Request
from cramagent.policy.placement import Placer
from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision
    from cramagent.policy.folio import Folio
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node

_ANON: Final = PageKind.ANON
BATCHES_PER_TURN: Final = 8
"""Batches that one turn of kswapd demotes at most."""
SCAN_LEAST: Final = 1024
"""Frames that one look for victims passes at least (if there are so many)."""


class Reclaim:
    """One reclaimer; a fault may run it while the folio being faulted is marked in flight."""

    def __init__(self, mm: Mm) -> None:
        self._mm = mm
        self._placer = Placer(mm.settings, mm.nodes)
        self._awake = False
        self._turning = False
        """A turn of kswapd has begun and not ended: it may wait for the device."""

    def kswapd(self, now_ns: int) -> Decision[None]:
        """Woken below the low watermark; rests when the high one is reached or nothing is cold."""
        mm = self._mm
        mm.now_ns = now_ns
        if self._turning:
            return
        if not self._awake:
            if mm.frames.free >= mm.frames.low:
                return
            self._awake = True
            mm.counters.kswapd_wakes += 1
        self._turning = True
        try:
            yield from self._turn()
        finally:
            self._turning = False

    def _turn(self) -> Decision[None]:
        """Until enough frames are free, or nothing more is cold, or its batches are used up."""
        mm = self._mm
        for _ in range(BATCHES_PER_TURN):
            missing = mm.frames.high(mm.pressure) - mm.frames.free
            if missing <= 0:
                self._awake = False
                return
            batch = min(missing, mm.settings.demote_batch_pages)
            chances = mm.counters.second_chances
            victims = mm.frames.isolate(batch, max(SCAN_LEAST, 4 * batch), second_chance=True)
            freed = yield from self._shrink_folios(victims)
            if not freed and (victims or mm.counters.second_chances != chances):
                # No tier has room, or the hand has cleared accessed bits: the next turn tries again.
                # A look that met only free frames and pages that may not leave says nothing.
                return

    def frame(self) -> Decision[int | None]:
        """Direct reclaim: a free frame, taken, for a fault that found none. None: out of memory."""
        mm = self._mm
        mm.counters.direct_reclaims += 1
        want = mm.frames.high(mm.pressure) - mm.frames.free
        batch = max(1, min(want, mm.settings.demote_batch_pages))
        # A second chance first; if all are referenced, the hand takes what it meets.
        for second_chance, scan in ((True, max(SCAN_LEAST, 4 * batch)), (False, mm.frames.count)):
            victims = mm.frames.isolate(batch, scan, second_chance=second_chance)
            if victims:
                yield from self._shrink_folios(victims)
            frame = mm.frames.take()
            if frame is not None:
                return frame
        mm.counters.out_of_memory += 1
        return None

    # -- one batch ---------------------------------------------------------------------------------

    def _shrink_folios(self, victims: list[Folio]) -> Decision[int]:
        """Move isolated folios out of DRAM; what no tier takes stays. Answers how many left.

        While the device has its write, pages may be used, forked or freed: those are left as they are.
        """
        mm = self._mm
        mm.reclaims += 1
        try:
            rest = eligible = [
                folio for folio in victims if folio.kind is _ANON or self._swap_eligible(folio)
            ]
            nodes = self._placer.order()
            if not nodes and any(node.attached for node in mm.nodes):
                mm.counters.demote_denied_closed += len(eligible)
            kept = 0
            for node in nodes:
                if rest and node.is_open:
                    offered = yield from self._demote(node, rest, last=node is nodes[-1])
                    rest = [folio for folio in offered if folio.idle]
                    kept += len(offered) - len(rest)
            for tier in mm.settings.writeback.tiers:
                if not rest:
                    break
                rest = yield from self._swap_out(tier, rest)
            mm.counters.reclaim_kept += len(rest)
            return len(eligible) - len(rest) - kept
        finally:
            mm.reclaims -= 1
            for folio in victims:
                folio.in_flight = False

    def _swap_eligible(self, folio: Folio) -> bool:
        """Write control: only user, swap-eligible pages. The node's allocation control says and counts it."""
        try:
            self._mm.nodes[0].check(Request(Gfp.PRIVATE, folio.kind))
        except Ineligible:
            return False
        return True

    def _demote(self, node: Node, folios: list[Folio], *, last: bool) -> Decision[list[Folio]]:
        """Offer a batch to a node. Answers those that it did not take, or that were used meanwhile.

        Only of the `last` node that is asked it counts what there was no room for.
        """
        mm, counters = self._mm, self._mm.counters
        admitted = node.admittance.allowance(len(folios))
        dpas = node.allocate(DEMOTION, admitted)
        if last:
            counters.demote_denied_admission += len(folios) - admitted
            counters.demote_denied_full += admitted - len(dpas)
        if not dpas:
            return folios
        frames = tuple([folio.handle for folio in folios[: len(dpas)]])
        session = node.hold(dpas)
        node.admittance.allocated(len(dpas))
        answered = False
        try:
            written: NodeWritten = yield NodeWrite(tuple(dpas), frames, node.number)
            answered = True
        finally:
            ours = node.let_go(session, dpas)
            if ours and not answered:
                # Ended early: some may be written. TRIM settles it.
                mm.give_back(node, _left(node, dpas))
        if not ours or written.status is NodeStatus.GONE:
            counters.demote_gone += len(dpas)
            if ours:
                mm.node_lost(node)
            return folios
        if node.is_cut(dpas):
            # Their bytes are still in DRAM, whatever the device has of them.
            counters.demotions_void += len(dpas)
            mm.give_back(node, _left(node, dpas))
            return folios
        accepted = len(dpas) if written.status is NodeStatus.OK else written.accepted
        stay = self._demoted(node, folios[:accepted], dpas)
        if accepted < len(dpas):
            self._refused(node, written.status, dpas[accepted:])
        return stay + folios[accepted:]

    def _demoted(self, node: Node, folios: list[Folio], dpas: list[int]) -> list[Folio]:
        """The device holds their bytes. Answers those that stay in DRAM all the same: not cold any more."""
        mm = self._mm
        cold = [folio for folio in folios if folio.mappers and not folio.referenced]
        stay: list[Folio] = []
        if len(cold) < len(folios):
            stay = [folio for folio in folios if not folio.idle]
            given_back = [dpa for folio, dpa in zip(folios, dpas, strict=False) if not folio.idle]
            mm.give_back(node, given_back)
            dpas = [dpa for folio, dpa in zip(folios, dpas, strict=False) if folio.idle]
            mm.counters.demotions_void += len(stay)
        rmap.demoted(mm, node, cold, dpas[: len(cold)])
        mm.counters.demotions += len(cold)
        node.counters.demotions += len(cold)
        return stay

    def _refused(self, node: Node, status: NodeStatus, dpas: list[int]) -> None:
        """The end of a batch that the device did not take: why, and what becomes of its device pages."""
        mm, counters = self._mm, self._mm.counters
        if status is NodeStatus.UNAVAILABLE:
            counters.demote_unavailable += len(dpas)
        elif status is NodeStatus.POISONED:
            counters.demote_refused_poisoned += len(dpas)
        else:
            node.admittance.allocated(-len(dpas))
            node.counters.demotions_refused += len(dpas)
            if status is NodeStatus.NO_MORE_WRITES:
                counters.demote_refused_no_more_writes += len(dpas)
                node.gate.refused_no_more_writes()
            else:
                counters.demote_refused_region_limit += len(dpas)
                node.gate.refused_region_limit()
            # The device keeps a refused page's old bytes: these are as empty as before.
            node.recycle(reversed(dpas))
            return
        mm.give_back(node, dpas)

    def _swap_out(self, tier: Tier, folios: list[Folio]) -> Decision[list[Folio]]:
        """Offer a batch to a tier. Answers those that it had no room for."""
        mm, counters = self._mm, self._mm.counters
        stored: TierStored = yield TierPut(tier, tuple(folio.handle for folio in folios))
        taken = len(stored.handles)
        rmap.swapped_out(mm, folios[:taken], tier, stored.handles)
        if tier is Tier.ZSWAP:
            counters.swap_outs_zswap += taken
            counters.zswap_full += len(folios) - taken
        else:
            counters.swap_outs_swapfile += taken
            counters.swapfile_full += len(folios) - taken
        return folios[taken:]


def _left(node: Node, dpas: list[int]) -> list[int]:
    """Those that the region still has: the device may have taken its end meanwhile."""
    end = node.size * PAGE_BYTES
    return [dpa for dpa in dpas if dpa < end]
