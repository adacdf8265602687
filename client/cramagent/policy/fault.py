"""The fault handler: every way in which a page comes to be mapped as an access needs it.

A batch of faults is one decision: what is page-table work alone is done in one pass, and what needs
bytes is gathered, so that the pages that are promoted are one read of each device, those that are swapped in
one load from each tier. Frames are reclaimed only before a pass, never in it: no page of a batch can
push out another. Where frames run out, the batch ends early, and its first pages are answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy import rmap
from cramagent.policy.answers import BUS_ERROR, ON_NODE, OUT_OF_MEMORY, STALLED, Access
from cramagent.policy.effects import (
    CopyFrame,
    NodeLoad,
    NodeLoaded,
    NodeStatus,
    TierDrop,
    TierGet,
    ZeroFrames,
)
from cramagent.policy.pending import Pending
from cramagent.policy.per_node import by_node, together
from cramagent.policy.read_ahead import ReadAhead
from cramagent.policy.states import PageEvent, State

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cramagent.policy.effects import Decision, Tier
    from cramagent.policy.folio import Folio, Pte
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node
    from cramagent.policy.reclaim import Reclaim

# An enum's members are looked up by its metaclass at every use: too slow for the pass.
_DRAM: Final = State.DRAM
_ENTRY: Final = State.ENTRY
_RO: Final = State.RO
_RW: Final = State.RW
_SWAPPED: Final = State.SWAPPED
_LOST: Final = State.LOST


class FaultHandler:
    """See `Host.fault` and `Host.fault_in`."""

    def __init__(self, mm: Mm, reclaim: Reclaim) -> None:
        self._mm = mm
        self._reclaim = reclaim
        self.ahead = ReadAhead(mm)

    def handle(self, number: int, vpn: int, *, write: bool, now_ns: int) -> Decision[Access]:
        """Map one page so that the access can go through, or say why it cannot."""
        (answer,) = yield from self.fault_in(((number, vpn),), write=write, now_ns=now_ns)
        return answer

    def fault_in(
        self, pages: Sequence[tuple[int, int]], *, write: bool, now_ns: int
    ) -> Decision[list[Access]]:
        """Map the first of these pages, as many as there are frames for; at least one is answered."""
        mm = self._mm
        mm.now_ns = now_ns
        for number in {number for number, _ in pages}:
            mm.spaces[number]
        while True:
            pending = Pending()
            answers = self._pass(pages, pending, write=write)
            if pending:
                try:
                    yield from self._fill(pending, answers, write=write)
                finally:
                    pending.let_go()
            if answers or not pages:
                return answers
            if not pending and not (yield from self._reclaim_for(pages[0])):
                mm.faults.add("out_of_memory", 1, write=write)
                return [OUT_OF_MEMORY]

    # -- one pass over the page tables ---------------------------------------------------------------

    def _pass(self, pages: Sequence[tuple[int, int]], pending: Pending, *, write: bool) -> list[Access]:
        """Answer what can be answered at once; what needs bytes is `pending`, and answered by `_fill`.

        Ends at the first page that finds no frame left, or whose folio is pending already.
        """
        mm = self._mm
        spaces, frame_answers = mm.spaces, mm.frames.answers
        free = mm.frames.free
        # Nearly always all are: then no page asks its own node.
        reachable = all_open = True
        for node in mm.nodes:
            if not node.reachable:
                reachable = all_open = False
            elif node.gate.closed:
                all_open = False
        # Within the pass it only shrinks.
        room = write and any(node.writable.has_room for node in mm.nodes)
        mapped = stalled = failed = shared = closed = denied = 0
        answers: list[Access] = []
        answer, promote, hold = answers.append, pending.promotions.append, pending.held.append
        ahead = self.ahead
        last, space = -1, None
        for number, vpn in pages:
            if number != last or space is None:
                last, space = number, spaces[number]
            pte = space.ptes.get(vpn)
            if pte is None:
                if space.killed:
                    mm.counters.killed_accesses += 1
                    failed += 1
                    answer(BUS_ERROR)
                    continue
                if not free or (number, vpn) in pending.fresh:
                    break
                free -= 1
                pending.fresh[number, vpn] = len(answers)
                answer(OUT_OF_MEMORY)
                continue
            folio, state = pte.folio, pte.state
            if state is _DRAM:
                folio.referenced = True
                if folio.ahead:
                    ahead.used(folio)
                if not write or len(folio.mappers) == 1 or folio.shared:
                    answer(frame_answers[folio.handle])
                    continue
                if not free or folio in pending.sources:
                    break
                free -= 1
                pending.copy(len(answers), pte)
                answer(OUT_OF_MEMORY)
            elif state is _SWAPPED:
                if not folio.in_flight:
                    if not free:
                        break
                    free -= 1
                    pending.swap_in(folio)
                    if ahead.loads:
                        free -= ahead.load_around(pte, pending, free)
                elif not pending.claim(folio):
                    break
                if write and folio.copy_on_write:
                    # One step a pass: the next one copies it from DRAM.
                    break
                pending.swapped.append((len(answers), folio))
                answer(OUT_OF_MEMORY)
            elif state is _LOST:
                mm.counters.bus_errors += 1
                failed += 1
                answer(BUS_ERROR)
            elif not reachable and not folio.node.reachable:
                stalled += state is _ENTRY or (write and state is _RO)
                answer(mm.stalled())
            elif not write:
                folio.referenced = True
                if state is _ENTRY:
                    # Only the faulting mapper is mapped; the entry stays cached behind the mapping.
                    mm.move(pte, PageEvent.READ_FAULT)
                    mapped += 1
                    if ahead.maps:
                        ahead.map_around(pte)
                elif folio.ahead:
                    ahead.used(folio)
                answer(ON_NODE)
            elif state is _RW:
                folio.referenced = True
                folio.node.writable.stored(folio, mm.now_ns)
                answer(ON_NODE)
            elif folio.in_flight:
                break
            elif (
                room
                and len(folio.mappers) == 1
                and (all_open or folio.node.is_open)
                and folio.node.writable.has_room
            ):
                # The write control of the mail: under budget, one mapper, and the node open.
                folio.referenced = True
                rmap.made_writable(mm, pte)
                mm.counters.mkwrites += 1
                mapped += 1
                answer(ON_NODE)
            elif free:
                free -= 1
                folio.referenced = folio.in_flight = True
                denied += 1
                if len(folio.mappers) != 1:
                    shared += 1
                elif not all_open and not folio.node.is_open:
                    closed += 1
                promote((len(answers), pte))
                hold(folio)
                answer(OUT_OF_MEMORY)
            else:
                break
        if not write:
            mm.counters.read_faults += mapped
        mm.counters.mkwrite_denied_mappers += shared
        mm.counters.mkwrite_denied_closed += closed
        if mm.nodes[0].credits.in_use:
            mm.counters.mkwrite_denied_credits += denied - shared - closed
        else:
            mm.counters.mkwrite_denied_budget += denied - shared - closed
        for outcome, count in (("mapped", mapped), ("stalled", stalled), ("bus_error", failed)):
            mm.faults.add(outcome, count, write=write)
        return answers

    def _reclaim_for(self, page: tuple[int, int]) -> Decision[bool]:
        """Direct reclaim, for a page that found no frame; it leaves the page itself alone."""
        mm = self._mm
        pte = mm.spaces[page[0]].ptes.get(page[1])
        folio = None if pte is None else pte.folio
        held = folio is not None and not folio.in_flight
        if held and folio is not None:
            folio.in_flight = True
        try:
            frame = yield from self._reclaim.frame()
        finally:
            if held and folio is not None:
                folio.in_flight = False
        if frame is None:
            return False
        mm.frames.release(frame)
        return True

    # -- what needs bytes ----------------------------------------------------------------------------

    def _fill(self, pending: Pending, answers: list[Access], *, write: bool) -> Decision[None]:
        """One effect for all pages of a kind. Answers nothing for a page that ended the pass."""
        mm, faults = self._mm, self._mm.faults
        if pending.fresh:
            yield from self._first_touch(pending.fresh, answers)
            faults.add("first_touch", len(pending.fresh), write=write)
        if pending.copies:
            yield from self._copy_on_write(pending.copies, answers)
            faults.add("copy_on_write", len(pending.copies), write=write)
        for tier, folios in pending.swap_ins.items():
            yield from self._swap_in(tier, folios)
        for position, folio in pending.swapped:
            answers[position] = mm.frames.answers[folio.handle]
        faults.add("swapped_in", len(pending.swapped), write=write)
        for folio in pending.ahead:
            folio.referenced, folio.ahead = False, True
        mm.counters.read_ahead += len(pending.ahead)
        if pending.promotions:
            yield from self._promote(pending.promotions, answers)

    def _first_touch(self, fresh: dict[tuple[int, int], int], answers: list[Access]) -> Decision[None]:
        mm = self._mm
        frames = mm.frames.take_many(len(fresh))
        zeroed = False
        try:
            yield ZeroFrames(tuple(frames))
            zeroed = True
        finally:
            if not zeroed:
                mm.frames.release_many(frames)
        mm.counters.first_touches += len(frames)
        for ((number, vpn), position), frame in zip(fresh.items(), frames, strict=True):
            rmap.map_new(mm, mm.spaces[number], vpn, frame)
            answers[position] = mm.frames.answers[frame]

    def _copy_on_write(self, copies: list[tuple[int, Pte]], answers: list[Access]) -> Decision[None]:
        """Each writer gets a frame of its own."""
        mm = self._mm
        for position, pte in copies:
            (frame,) = mm.frames.take_many(1)
            copied = False
            try:
                yield CopyFrame(pte.folio.handle, frame)
                copied = True
            finally:
                if not copied:
                    mm.frames.release(frame)
            rmap.copied(mm, pte, frame, PageEvent.COPY_ON_WRITE)
            mm.counters.cow_copies += 1
            answers[position] = mm.frames.answers[frame]

    def _swap_in(self, tier: Tier, folios: list[Folio]) -> Decision[None]:
        """Normal swap-in, for all mappers."""
        mm = self._mm
        handles = tuple(folio.handle for folio in folios)
        frames = mm.frames.take_many(len(folios))
        loaded = False
        try:
            yield TierGet(tier, handles, tuple(frames))
            loaded = True
        finally:
            if not loaded:
                mm.frames.release_many(frames)
        for folio in folios:
            folio.referenced = True
        rmap.swapped_in(mm, folios, tier, frames)
        mm.counters.swap_ins += len(folios)
        yield TierDrop(tier, handles)

    def _promote(self, promotions: list[tuple[int, Pte]], answers: list[Access]) -> Decision[None]:
        """Copy device pages to DRAM: for the writer alone if one is shared copy-on-write, else for all."""
        mm = self._mm
        groups = by_node(mm, promotions)
        frames = mm.frames.take_many(len(promotions))
        parts: list[list[int]] = []
        for _, group in groups:
            taken = sum(map(len, parts))
            parts.append(frames[taken : taken + len(group)])
        answered = False
        try:
            loads = [
                NodeLoad(tuple([pte.folio.handle for _, pte in group]), tuple(part), node.number)
                for (node, group), part in zip(groups, parts, strict=True)
            ]
            outcomes = yield from together(tuple(loads))
            answered = True
        finally:
            if not answered:
                mm.frames.release_many(frames)
        for (node, group), part, loaded in zip(groups, parts, outcomes, strict=True):
            self._promoted(node, group, part, loaded, answers)

    def _promoted(
        self,
        node: Node,
        promotions: list[tuple[int, Pte]],
        frames: list[int],
        loaded: NodeLoaded,
        answers: list[Access],
    ) -> None:
        """What one node's answer is to its pages."""
        mm = self._mm
        if loaded.status is not NodeStatus.OK:
            promotions, frames = self._leave(node, promotions, frames, loaded, answers)
        frame_answers = mm.frames.answers
        for (position, _), frame in zip(promotions, frames, strict=True):
            answers[position] = frame_answers[frame]
        mm.faults.add("promoted", len(promotions), write=True)
        moved = [pte.folio for _, pte in promotions if len(pte.folio.mappers) == 1 or pte.folio.shared]
        if len(moved) < len(promotions):
            frames = self._copy_for_writers(promotions, frames)
        rmap.promoted(mm, node, moved, frames)
        mm.counters.promotions += len(moved)

    def _copy_for_writers(self, promotions: list[tuple[int, Pte]], frames: list[int]) -> list[int]:
        """The pages that are copied for one writer alone. Answers the frames of the others."""
        mm = self._mm
        rest: list[int] = []
        for (_, pte), frame in zip(promotions, frames, strict=True):
            if pte.folio.copy_on_write:
                rmap.copied(mm, pte, frame, PageEvent.PROMOTE)
                mm.counters.promotions_copied += 1
            else:
                rest.append(frame)
        return rest

    def _leave(
        self,
        node: Node,
        promotions: list[tuple[int, Pte]],
        frames: list[int],
        loaded: NodeLoaded,
        answers: list[Access],
    ) -> tuple[list[tuple[int, Pte]], list[int]]:
        """Not all could be read: answer those that could not, and give back what the others go on with."""
        mm = self._mm
        bad: Collection[int] = range(len(promotions))
        answer, outcome = BUS_ERROR, "bus_error"
        if loaded.status is NodeStatus.GONE:
            mm.node_lost(node)
        elif loaded.status is NodeStatus.POISONED:
            bad = loaded.poisoned
            mm.poison_met(node, [promotions[place][1].folio.handle for place in sorted(bad)])
        else:
            answer, outcome = STALLED, "stalled"
            mm.counters.stalls += len(promotions)
        for place in bad:
            answers[promotions[place][0]] = answer
        if answer is BUS_ERROR:
            mm.counters.bus_errors += len(bad)
        mm.faults.add(outcome, len(bad), write=True)
        mm.frames.release_many([frames[place] for place in bad])
        good = [place for place in range(len(promotions)) if place not in bad]
        return [promotions[place] for place in good], [frames[place] for place in good]
