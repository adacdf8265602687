"""Writeback, the node's shrinker: device pages move to the tiers, coldest first, through bounce frames.

R/O mappings are zapped, the vswap entry's backend changes, the device page waits for TRIM. Writable
pages have no entry and are passed over: the ager makes them R/O first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cramagent.policy import rmap
from cramagent.policy.effects import NodeLoad, NodeLoaded, NodeStatus, TierPut, TierStored
from cramagent.policy.spaces import drop_all

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision, Tier
    from cramagent.policy.folio import Folio
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What one call of the shrinker came to."""

    moved: int
    """Pages that a tier took."""
    freed: int
    """Device pages given back: those, and zombies and poisoned pages met on the way."""


class Shrinker:
    """Gives device pages of one node back when pressure, or the balloon, asks."""

    def __init__(self, mm: Mm, node: Node) -> None:
        self._mm = mm
        self._node = node
        self._last_ns = 0
        self._last_reading = -1

    def writeback(self, now_ns: int) -> Decision[None]:
        """One batch, while pressure keeps the node closed.

        Media comes back only by TRIM and is only seen by a reading, so a batch waits for a reading
        newer than the last batch, or for `writeback_pause_ns`.
        """
        mm, node = self._mm, self._node
        mm.now_ns = now_ns
        if not node.gate.closed or not node.reachable:
            self._last_reading = -1
            return
        paused = now_ns - self._last_ns < mm.settings.writeback_pause_ns
        if self._last_reading == node.readings and paused:
            return
        self._last_ns = now_ns
        self._last_reading = node.readings
        yield from self.shrink(mm.settings.writeback_batch_pages)

    def drain(self, now_ns: int) -> Decision[int]:
        """All pages, whatever the pressure. Answers how many moved."""
        mm = self._mm
        mm.now_ns = now_ns
        moved = 0
        while self._node.reachable:
            shrunk = yield from self.shrink(mm.settings.writeback_batch_pages, second_chance=False)
            moved += shrunk.moved
            if not shrunk.freed:
                break
        return moved

    def shrink(self, pages: int, *, second_chance: bool = True) -> Decision[Shrunk]:
        """Write back up to so many of the coldest device pages."""
        mm = self._mm
        moved = freed = 0
        while freed < pages and self._node.reachable:
            chunk = min(pages - freed, len(mm.frames.bounce))
            drops: dict[Tier, list[int]] = {}
            victims, reaped = self._coldest(chunk, drops, second_chance=second_chance)
            if not victims and not reaped and second_chance:
                # All that were looked at have been used since: the coldest go all the same.
                victims, reaped = self._coldest(chunk, drops, second_chance=False)
            freed += reaped
            yield from drop_all(drops)
            if not victims:
                break
            shrunk = yield from self._write_back(victims)
            moved += shrunk.moved
            freed += shrunk.freed
            if shrunk.freed < len(victims):
                # No tier has room, or the device does not answer.
                break
        return Shrunk(moved, freed)

    def write_back_all(self, victims: list[Folio]) -> Decision[int]:
        """Write these back, in their order, as far as a tier has room. Answers how many moved."""
        chunk = len(self._mm.frames.bounce)
        moved = 0
        for start in range(0, len(victims), chunk):
            some = victims[start : start + chunk]
            shrunk = yield from self._write_back(some)
            moved += shrunk.moved
            if shrunk.freed < len(some):
                break
        return moved

    def _coldest(
        self, count: int, drops: dict[Tier, list[int]], *, second_chance: bool
    ) -> tuple[list[Folio], int]:
        """Victims from the cold end, and how many zombies were reaped instead; looks at a bounded number.

        What is passed over goes to the warm end: writable pages, zombies that TRIM has no room for,
        and with `second_chance` pages referenced since the last look.
        """
        mm, placed, writable = self._mm, self._node.placed, self._node.writable
        victims: list[Folio] = []
        reaped = 0
        for _ in range(min(len(placed), 4 * count)):
            dpa, folio = next(iter(placed.items()))
            if not folio.mappers and mm.reap(folio, drops):
                reaped += 1
            else:
                placed.move_to_end(dpa)
                if not folio.mappers or folio in writable:
                    continue
                if folio.referenced and second_chance:
                    folio.referenced = False
                    continue
                victims.append(folio)
            if len(victims) + reaped == count:
                break
        return victims, reaped

    def _write_back(self, victims: list[Folio]) -> Decision[Shrunk]:
        """One chunk: load it into the bounce frames, offer it to tier after tier."""
        mm, node, counters = self._mm, self._node, self._mm.counters
        dpas = tuple(folio.handle for folio in victims)
        bounce = mm.frames.bounce[: len(victims)]
        loaded: NodeLoaded = yield NodeLoad(dpas, bounce, node.number)
        if loaded.status is NodeStatus.GONE:
            mm.node_lost(node)
            return Shrunk(0, 0)
        if loaded.status is not NodeStatus.OK and loaded.status is not NodeStatus.POISONED:
            return Shrunk(0, 0)
        poisoned = loaded.poisoned
        mm.poison_met(node, (dpas[place] for place in poisoned))
        rest = [(folio, frame) for place, (folio, frame) in enumerate(zip(victims, bounce, strict=True))
                if place not in poisoned]  # fmt: skip
        moved = 0
        for tier in mm.settings.writeback.tiers:
            if not rest:
                break
            stored: TierStored = yield TierPut(tier, tuple(frame for _, frame in rest))
            taken = len(stored.handles)
            rmap.written_back(mm, node, [folio for folio, _ in rest[:taken]], tier, stored.handles)
            moved += taken
            rest = rest[taken:]
        counters.writebacks += moved
        node.counters.writebacks += moved
        counters.writeback_no_room += len(rest)
        node.counters.writeback_no_room += len(rest)
        return Shrunk(moved, moved + len(poisoned))
