"""TRIM: freed device pages wait in a bounded buffer and are given back to the device in batches.

A device page may be allocated again only after its TRIM was answered: a write before that could be
destroyed by a late TRIM, and until then the device holds the old page's media.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy.effects import NodeStatus, NodeTrim, NodeTrimmed
from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramagent.policy.effects import Decision
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node
    from cramagent.policy.settings import PolicySettings

COMMANDS_PER_TURN: Final = 8
"""TRIM commands that one turn of the daemon sends at most, unless it is forced."""


class TrimBuffer:
    """The device pages (DPAs) that wait."""

    def __init__(self, settings: PolicySettings) -> None:
        self.capacity = settings.trim_buffer_pages
        self.waiting: list[int] = []

    def __len__(self) -> int:
        return len(self.waiting)

    @property
    def full(self) -> bool:
        """No page may be offered now."""
        return len(self.waiting) >= self.capacity

    def offer(self, dpa: int) -> bool:
        """Queue one page; False if the buffer is full."""
        if len(self.waiting) >= self.capacity:
            return False
        self.waiting.append(dpa)
        return True

    def offer_all(self, dpas: Sequence[int]) -> int:
        """Queue the first of these pages, as many as there is room for; how many."""
        room = max(0, self.capacity - len(self.waiting))
        self.waiting.extend(dpas if len(dpas) <= room else dpas[:room])
        return min(room, len(dpas))

    def clear(self) -> None:
        """The session is over: nothing is left to TRIM."""
        self.waiting = []


def merge_first(dpas: Sequence[int], most: int) -> tuple[list[tuple[int, int]], int]:
    """The first ranges of sorted pages: at most `most` of (start, length) in bytes, and how many pages."""
    ranges: list[tuple[int, int]] = []
    start = end = -1
    for position, dpa in enumerate(dpas):
        if dpa == end:
            end += PAGE_BYTES
            continue
        if end > start:
            ranges.append((start, end - start))
            if len(ranges) == most:
                return ranges, position
        start, end = dpa, dpa + PAGE_BYTES
    if end > start:
        ranges.append((start, end - start))
    return ranges, len(dpas)


class Trimmer:
    """The TRIM batcher of one node."""

    def __init__(self, mm: Mm, node: Node) -> None:
        self._mm = mm
        self._node = node
        self._waiting_since_ns: int | None = None

    def trim(self, now_ns: int, *, force: bool) -> Decision[None]:
        """Send TRIM commands if it is due, or `force`d: then until nothing waits or the device balks."""
        mm, node, trim = self._mm, self._node, self._node.trim
        mm.now_ns = now_ns
        if not trim.waiting:
            self._waiting_since_ns = None
            return
        if self._waiting_since_ns is None:
            self._waiting_since_ns = now_ns
        if not node.reachable or not (force or self._due(now_ns - self._waiting_since_ns)):
            return
        trim.waiting.sort()
        commands = 0
        while trim.waiting and (force or commands < COMMANDS_PER_TURN):
            ranges, pages = merge_first(trim.waiting, mm.settings.ranges_per_trim)
            outcome: NodeTrimmed = yield NodeTrim(tuple(ranges), node.number)
            commands += 1
            if outcome.status is NodeStatus.GONE:
                mm.node_lost(node)
                return
            if outcome.status is not NodeStatus.OK:
                mm.counters.trim_unavailable += 1
                return
            # Descending, so that the lowest are allocated first and stay neighbours.
            node.recycle(reversed(trim.waiting[:pages]))
            del trim.waiting[:pages]
            node.admittance.trimmed(pages)
            mm.counters.trim_commands += 1
            mm.counters.trimmed_pages += pages
            node.counters.trimmed_pages += pages
        if not trim.waiting:
            self._waiting_since_ns = None

    def _due(self, waited_ns: int) -> bool:
        """Closed: media is wanted now. Half full or no free page: room is. Else after the interval."""
        node = self._node
        return (
            node.gate.closed
            or len(node.trim) * 2 >= node.trim.capacity
            or not node.free
            or waited_ns >= self._mm.settings.trim_interval_ns
        )
