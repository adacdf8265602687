"""One batch of pages that lie on several nodes: told apart, and moved at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cramagent.policy.effects import Together

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramagent.policy.effects import Decision, NodeLoad, NodeWrite
    from cramagent.policy.folio import Pte
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node


def by_node(mm: Mm, pages: list[tuple[int, Pte]]) -> list[tuple[Node, list[tuple[int, Pte]]]]:
    """Pages (position, PTE) that all lie on nodes, by node; within one in their order. No empty groups."""
    if len(mm.nodes) == 1:
        return [(mm.nodes[0], pages)] if pages else []
    groups: dict[Node, list[tuple[int, Pte]]] = {}
    for page in pages:
        groups.setdefault(page[1].folio.node, []).append(page)
    return list(groups.items())


def together(effects: tuple[NodeLoad, ...] | tuple[NodeWrite, ...]) -> Decision[Sequence[Any]]:
    """At least one effect, each of another node: their outcomes, in that order."""
    if len(effects) == 1:
        return ((yield effects[0]),)
    outcomes: Sequence[Any] = yield Together(effects)
    return outcomes
