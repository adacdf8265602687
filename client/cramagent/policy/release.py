"""Capacity that the device asks back: the end of the region is emptied, then given up.

From the moment it is asked for, no page there is allocated: free ones are withheld, as by a balloon. Those
that hold data are written back to the tiers, a batch a turn, whatever their age; writable ones are made R/O
first, zombies reaped, and what was freed is TRIMmed at once. When nothing is left there, the runner may
tell the device (`ready`). With a deadline a batch is an eighth of what is left, if that is more: whatever
the device takes by force is lost. What no tier has room for stays, and is lost then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy import rmap
from cramagent.policy.settings import PAGE_BYTES
from cramagent.policy.spaces import drop_all
from cramagent.policy.states import PageEvent

if TYPE_CHECKING:
    from cramagent.policy.answers import NodeReading
    from cramagent.policy.effects import Decision, Tier
    from cramagent.policy.folio import Folio
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node
    from cramagent.policy.trim import Trimmer
    from cramagent.policy.writeback import Shrinker

_SHARE_OF_THE_REST = 8
"""Of what is left when time is short: a batch is one part of so many."""


class Release:
    """Keeps `Node.ceiling` where the device wants the region to end, and empties what is above it."""

    def __init__(self, mm: Mm, node: Node, shrinker: Shrinker, trimmer: Trimmer) -> None:
        self._mm = mm
        self._node = node
        self._shrinker = shrinker
        self._trimmer = trimmer
        self._forced = False
        """There is a deadline."""
        self._told = -1
        """The reading since which `ready` has been told."""

    def reading(self, reading: NodeReading) -> None:
        """What the device asks for now, if it asks; the latest word counts."""
        asked = reading.asked_back_to_bytes
        self._forced = reading.forced_in_ns is not None
        self._node.withhold_from(None if asked is None else asked // PAGE_BYTES)

    def step(self, now_ns: int) -> Decision[None]:
        """One batch of pages out of what is asked back."""
        mm, node = self._mm, self._node
        mm.now_ns = now_ns
        if not node.asked_back or not node.reachable:
            return
        there = [folio for dpa, folio in node.placed.items() if dpa >= node.allowed_bytes]
        batch = mm.settings.writeback_batch_pages
        if self._forced:
            batch = max(batch, len(there) // _SHARE_OF_THE_REST)
        drops: dict[Tier, list[int]] = {}
        victims: list[Folio] = []
        for folio in there[:batch]:
            if not folio.mappers:
                mm.reap(folio, drops)
                continue
            if folio in node.writable:
                rmap.reprotected(mm, folio, PageEvent.REPROTECT)
                mm.counters.reprotects_pressure += 1
            victims.append(folio)
        yield from drop_all(drops)
        moved = yield from self._shrinker.write_back_all(victims)
        mm.counters.writebacks_release += moved
        node.counters.writebacks_release += moved
        if any(dpa >= node.allowed_bytes for dpa in node.trim.waiting):
            yield from self._trimmer.trim(now_ns, force=True)

    def ready(self) -> int | None:
        """The size in bytes that the region can shrink to now, once for each reading; else None."""
        node = self._node
        if not node.asked_back or not node.reachable or self._told == node.readings:
            return None
        end = node.allowed_bytes
        if any(dpa >= end for held in (node.placed, node.trim.waiting, node.in_hand) for dpa in held):
            return None
        self._told = node.readings
        return node.allowed_bytes
