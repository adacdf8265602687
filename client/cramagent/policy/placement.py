"""Placement: to which of several nodes a batch of demotions is offered, and to which next.

Only open nodes are asked, and those without a free device page only if no other is. What one of them does
not take of a batch is offered to the next. A promoted page's place is forgotten: it may come back to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.settings import Placement

if TYPE_CHECKING:
    from cramagent.policy.node import Node
    from cramagent.policy.settings import PolicySettings


class Placer:
    """Orders the nodes anew for each batch, as `placement` says."""

    def __init__(self, settings: PolicySettings, nodes: tuple[Node, ...]) -> None:
        self._rule = settings.placement
        self._nodes = nodes
        self._next = 0
        """Round robin: the number of the node whose turn it is."""

    def order(self) -> list[Node]:
        """The nodes to ask for one batch, first first; none if all are closed or away."""
        nodes = [node for node in self._nodes if node.is_open]
        if len(nodes) < 2:
            return nodes
        nodes = [node for node in nodes if node.free] or nodes[:1]
        if self._rule is Placement.ROUND_ROBIN:
            nodes.sort(key=self._turn_of)
            self._next = nodes[0].number + 1
        elif self._rule is Placement.MOST_FREE:
            nodes.sort(key=_room_pages, reverse=True)
        return nodes

    def _turn_of(self, node: Node) -> int:
        return (node.number - self._next) % len(self._nodes)


def _room_pages(node: Node) -> int:
    """What is free there, in pages that do not compress: of media by the last reading, and of DPA space."""
    return min(node.admittance.room_pages, node.free)
