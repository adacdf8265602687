"""CPU loads and stores through device mappings, whole pages, in batches; and the bus error of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy import rmap
from cramagent.policy.answers import BUS_ERROR, ON_NODE, OUT_OF_MEMORY, STALLED, Access, AccessKind
from cramagent.policy.effects import CopyFrame, NodeLoad, NodeLoaded, NodeStatus, NodeWrite, NodeWritten
from cramagent.policy.per_node import by_node, together
from cramagent.policy.settings import OnBusError
from cramagent.policy.states import PageEvent, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramagent.policy.effects import Decision
    from cramagent.policy.fault import FaultHandler
    from cramagent.policy.folio import Pte
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node
    from cramagent.policy.reclaim import Reclaim
    from cramagent.policy.spaces import Spaces

# An enum's members are looked up by its metaclass at every use: too slow for a loop.
_RO: Final = State.RO
_RW: Final = State.RW


class Cpu:
    """See `Host.load` and `Host.store`."""

    def __init__(self, mm: Mm, fault: FaultHandler, reclaim: Reclaim, spaces: Spaces) -> None:
        self._mm = mm
        self._fault = fault
        self._reclaim = reclaim
        self._spaces = spaces

    # -- loads -------------------------------------------------------------------------------------

    def load(
        self, pages: Sequence[tuple[int, int]], frames: Sequence[int], now_ns: int
    ) -> Decision[list[Access]]:
        """One `NodeLoad` for all that is on one node; what is in DRAM is copied."""
        mm = self._mm
        mm.now_ns = now_ns
        _require_pairs(mm, pages, frames)
        answers: list[Access] = [BUS_ERROR] * len(pages)
        on_node: list[tuple[int, Pte]] = []
        faulted, spaces = False, mm.spaces
        for position, (space, vpn) in enumerate(pages):
            pte = spaces[space].ptes.get(vpn)
            if pte is None or (pte.state is not _RO and pte.state is not _RW):
                faulted = True
                answer = yield from self._fault.handle(space, vpn, write=False, now_ns=now_ns)
                if answer.kind is not AccessKind.NODE:
                    if answer.kind is AccessKind.DRAM:
                        # At once: the next page's fault may reclaim this frame.
                        yield CopyFrame(answer.where, frames[position])
                    answers[position] = answer
                    continue
                pte = mm.spaces[space].ptes[vpn]
            pte.folio.referenced = True
            on_node.append((position, pte))
        if faulted:
            # A fault on the way may have found the session gone; then these pages are lost.
            mm.counters.bus_errors += sum(pte.state is State.LOST for _, pte in on_node)
            on_node = [(position, pte) for position, pte in on_node if pte.state is not State.LOST]
        groups = self._answering(by_node(mm, on_node), answers)
        if groups:
            loads = [
                NodeLoad(
                    tuple([pte.folio.handle for _, pte in group]),
                    tuple([frames[position] for position, _ in group]),
                    node.number,
                )
                for node, group in groups
            ]
            outcomes = yield from together(tuple(loads))
            for (node, group), loaded in zip(groups, outcomes, strict=True):
                self._loaded(node, group, loaded, answers)
        return answers

    def _answering(
        self, groups: list[tuple[Node, list[tuple[int, Pte]]]], answers: list[Access]
    ) -> list[tuple[Node, list[tuple[int, Pte]]]]:
        """Those whose node can be reached. The others' accesses stall."""
        for node, group in groups:
            if not node.reachable:
                for position, _ in group:
                    answers[position] = self._mm.stalled()
        return [(node, group) for node, group in groups if node.reachable]

    def _loaded(
        self, node: Node, on_node: list[tuple[int, Pte]], loaded: NodeLoaded, answers: list[Access]
    ) -> None:
        """What one node's answer is to its pages."""
        mm = self._mm
        dpas = [pte.folio.handle for _, pte in on_node]
        if loaded.status is NodeStatus.GONE:
            mm.node_lost(node)
            mm.counters.bus_errors += len(on_node)
            return
        if loaded.status is not NodeStatus.OK and loaded.status is not NodeStatus.POISONED:
            for position, _ in on_node:
                answers[position] = mm.stalled()
            return
        for position, _ in on_node:
            answers[position] = ON_NODE
        for place in loaded.poisoned:
            answers[on_node[place][0]] = BUS_ERROR
        mm.counters.bus_errors += len(loaded.poisoned)
        mm.counters.node_loads += len(on_node) - len(loaded.poisoned)
        mm.poison_met(node, (dpas[place] for place in loaded.poisoned))

    # -- stores ------------------------------------------------------------------------------------

    def store(
        self, pages: Sequence[tuple[int, int]], frames: Sequence[int], now_ns: int
    ) -> Decision[list[Access]]:
        """One `NodeWrite` for all that is writable on one node; a new one after each page it refuses."""
        mm = self._mm
        mm.now_ns = now_ns
        _require_pairs(mm, pages, frames)
        answers: list[Access] = [BUS_ERROR] * len(pages)
        todo = yield from self._map_writable(range(len(pages)), pages, frames, answers, now_ns)
        while todo:
            batch: list[tuple[int, Pte]] = []
            moved: list[int] = []
            for position in todo:
                space, vpn = pages[position]
                pte = mm.spaces[space].ptes.get(vpn)
                if pte is not None and pte.state is State.RW:
                    batch.append((position, pte))
                else:
                    moved.append(position)
            if moved:
                # Lost with the session, rescued earlier in this batch, or its space was killed.
                todo = [position for position, _ in batch]
                todo += yield from self._map_writable(moved, pages, frames, answers, now_ns)
                todo.sort()
                if not todo:
                    break
                continue
            todo = yield from self._store_mapped(batch, frames, answers)
        return answers

    def _map_writable(
        self,
        positions: Sequence[int],
        pages: Sequence[tuple[int, int]],
        frames: Sequence[int],
        answers: list[Access],
        now_ns: int,
    ) -> Decision[list[int]]:
        """Fault what is not writable. Answers the positions whose store goes to the device."""
        mm = self._mm
        on_node: list[int] = []
        for position in positions:
            space, vpn = pages[position]
            pte = mm.spaces[space].ptes.get(vpn)
            if pte is not None and pte.state is State.RW:
                pte.folio.referenced = True
                pte.folio.node.writable.stored(pte.folio, now_ns)
                on_node.append(position)
                continue
            answer = yield from self._fault.handle(space, vpn, write=True, now_ns=now_ns)
            if answer.kind is AccessKind.NODE:
                on_node.append(position)
                continue
            if answer.kind is AccessKind.DRAM:
                yield CopyFrame(frames[position], answer.where)
            answers[position] = answer
        return on_node

    def _store_mapped(
        self, batch: list[tuple[int, Pte]], frames: Sequence[int], answers: list[Access]
    ) -> Decision[list[int]]:
        """One `NodeWrite` for each node. Answers the positions that are still to do."""
        groups = self._answering(by_node(self._mm, batch), answers)
        if not groups:
            return []
        writes = [
            NodeWrite(
                tuple([pte.folio.handle for _, pte in group]),
                tuple([frames[position] for position, _ in group]),
                node.number,
            )
            for node, group in groups
        ]
        outcomes = yield from together(tuple(writes))
        refused: list[tuple[Pte, int]] = []
        todo: list[int] = []
        for (node, group), written in zip(groups, outcomes, strict=True):
            todo += self._stored(node, group, written, answers, refused)
        # Behind all that was stored: what a refusal leads to may unmap pages of other nodes.
        for pte, position in refused:
            if not pte.space.killed:
                answers[position] = yield from self._refused(pte, frames[position])
        todo.sort()
        return todo

    def _stored(
        self,
        node: Node,
        batch: list[tuple[int, Pte]],
        written: NodeWritten,
        answers: list[Access],
        refused: list[tuple[Pte, int]],
    ) -> list[int]:
        """What one node's answer is to its pages; the one that it refused goes to `refused`. As above."""
        mm = self._mm
        if written.status is NodeStatus.GONE:
            mm.node_lost(node)
            mm.counters.bus_errors += len(batch)
            return []
        accepted = len(batch) if written.status is NodeStatus.OK else written.accepted
        for position, pte in batch[:accepted]:
            mm.move(pte, PageEvent.STORE)
            answers[position] = ON_NODE
        mm.counters.node_stores += accepted
        if accepted == len(batch):
            return []
        if written.status is NodeStatus.UNAVAILABLE:
            for position, _ in batch[accepted:]:
                mm.counters.stalls += 1
                answers[position] = STALLED
            return []
        position, pte = batch[accepted]
        mm.counters.stores_refused += 1
        if written.status is NodeStatus.NO_MORE_WRITES:
            node.gate.refused_no_more_writes()
        elif written.status is NodeStatus.REGION_LIMIT:
            node.gate.refused_region_limit()
        refused.append((pte, position))
        return [later for later, _ in batch[accepted + 1 :]]

    def _refused(self, pte: Pte, scratch: int) -> Decision[Access]:
        """The device could not take this store: what a bus error leads to."""
        mm = self._mm
        if mm.settings.on_bus_error is OnBusError.KILL:
            mm.counters.bus_error_kills += 1
            yield from self._spaces.kill(pte.space)
            return BUS_ERROR
        return (yield from self._rescue(pte, scratch))

    def _rescue(self, pte: Pte, scratch: int) -> Decision[Access]:
        """Promote the page with the store applied: it is a whole page, so nothing need be read."""
        mm = self._mm
        frame = mm.frames.take()
        if frame is None:
            frame = yield from self._reclaim.frame()
        if frame is None:
            return OUT_OF_MEMORY
        kept = False
        try:
            if pte.state is State.LOST:
                mm.counters.bus_errors += 1
                return BUS_ERROR
            yield CopyFrame(scratch, frame)
            kept = True
        finally:
            if not kept:
                mm.frames.release(frame)
        rmap.rescued(mm, pte.folio, frame)
        mm.counters.bus_error_rescues += 1
        return mm.frames.answers[frame]


def _require_pairs(mm: Mm, pages: Sequence[tuple[int, int]], frames: Sequence[int]) -> None:
    """Before anything is changed: a frame for each page, and every space is there."""
    for space, _ in pages:
        mm.spaces[space]
    if len(pages) != len(frames):
        raise ValueError(f"{len(pages)} pages need as many frames, not {len(frames)}")
