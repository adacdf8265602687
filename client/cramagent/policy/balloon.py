"""The balloon: device pages held empty, so that a region that compresses worse than sold cannot be filled.

    target = logical * (zratio - ratio) / zratio   if ratio < zratio, else 0

Ratios are this region's. Under `balloon_min_pages` stored pages the ratio says nothing and the
target stays; an empty region has nothing to hold against, and its target is 0. The latest target
wins, and the balloon converges by `balloon_step_bytes` a turn: it takes free device pages first, then
has the coldest written back (their pages come once they are TRIMmed). A lower target is taken only
once the ratio has risen by `balloon_deflate_milli` above the one that asked for the present target,
or is what was sold; a region of another size has another target at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from cramagent.policy.answers import NodeReading
    from cramagent.policy.effects import Decision
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node
    from cramagent.policy.writeback import Shrinker


def target_pages(logical_pages: int, ratio_milli: int, zratio_milli: int) -> int:
    """The rule above, in pages (rounded down)."""
    if ratio_milli >= zratio_milli:
        return 0
    return logical_pages * (zratio_milli - ratio_milli) // zratio_milli


class Balloon:
    """Keeps `Node.balloon_target` and moves `Node.ballooned` towards it."""

    def __init__(self, mm: Mm, node: Node, shrinker: Shrinker) -> None:
        self._mm = mm
        self._node = node
        self._shrinker = shrinker
        self._asked_ratio = 0
        """The ratio that asked for the present target, per mille."""
        self._asked_pages = 0
        """And the size of the region then."""

    def retarget(self, reading: NodeReading) -> None:
        """A reading: the latest target wins, with hysteresis downwards."""
        mm, node = self._mm, self._node
        if reading.stored_pages == 0:
            node.balloon_target = 0
            return
        if node.balloon_target and reading.logical_pages != self._asked_pages:
            self._asked_pages = reading.logical_pages
            node.balloon_target = target_pages(reading.logical_pages, self._asked_ratio, reading.zratio_milli)
        if reading.stored_pages < mm.settings.balloon_min_pages or not reading.ratio_milli:
            return
        target = target_pages(reading.logical_pages, reading.ratio_milli, reading.zratio_milli)
        recovered = self._asked_ratio * (1000 + mm.settings.balloon_deflate_milli) // 1000
        recovered = min(recovered, reading.zratio_milli)
        if target > node.balloon_target or reading.ratio_milli >= recovered:
            node.balloon_target = target
            self._asked_ratio = reading.ratio_milli
            self._asked_pages = reading.logical_pages

    def step(self, now_ns: int) -> Decision[None]:
        """One step towards the target."""
        mm, node = self._mm, self._node
        mm.now_ns = now_ns
        if not node.attached:
            return
        step = mm.settings.balloon_step_bytes // PAGE_BYTES
        missing = node.balloon_target - len(node.ballooned)
        if missing < 0:
            mm.counters.balloon_deflated += node.deflate(min(step, -missing))
            return
        want = min(step, missing)
        took = node.inflate(want)
        mm.counters.balloon_inflated += took
        # Pages that wait for TRIM will be free soon: only what they do not cover is written back.
        short = want - took - len(node.trim)
        if short > 0 and node.reachable:
            shrunk = yield from self._shrinker.shrink(short)
            mm.counters.writebacks_balloon += shrunk.moved
            node.counters.writebacks_balloon += shrunk.moved
