"""The daemons of one node: each looks after its own device pages, whatever the other nodes do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.balloon import Balloon
from cramagent.policy.release import Release
from cramagent.policy.trim import Trimmer
from cramagent.policy.writeback import Shrinker

if TYPE_CHECKING:
    from cramagent.policy.answers import NodeReading
    from cramagent.policy.effects import Decision
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node


class NodeDaemons:
    """Writeback, balloon, release and TRIM batcher, by name."""

    def __init__(self, mm: Mm, node: Node) -> None:
        self._mm = mm
        self.node = node
        self.trimmer = Trimmer(mm, node)
        self.shrinker = Shrinker(mm, node)
        self.balloon = Balloon(mm, node, self.shrinker)
        self.release = Release(mm, node, self.shrinker, self.trimmer)

    def reading(self, reading: NodeReading, now_ns: int) -> None:
        """Telemetry of the device. While the node is not attached it says nothing."""
        if self.node.attached:
            self.node.reading(reading, now_ns)
            self.balloon.retarget(reading)
            self.release.reading(reading)

    def empty(self, now_ns: int) -> Decision[int]:
        """Every page goes that a tier has room for, TRIM included. Answers how many moved."""
        node, moved = self.node, 0
        while left := len(node.placed):
            # Zombies that found the TRIM buffer full are met again after the TRIM.
            moved += yield from self.shrinker.drain(now_ns)
            yield from self.trimmer.trim(now_ns, force=True)
            if len(node.placed) == left:
                break
        return moved
