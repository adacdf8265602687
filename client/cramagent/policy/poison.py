"""Poison that the device tells of: a hint, looked into before anybody suffers.

An event may come late, twice, or both: by then the device page may have been TRIMmed and hold other,
good bytes. So the pages that it names are loaded, through the bounce frames, and only those that are
still bad lose their bytes. Where the device does not answer nothing is decided: whoever loads such a
page next meets the poison himself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.effects import NodeLoad, NodeLoaded, NodeStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cramagent.policy.effects import Decision
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node


def look_into(mm: Mm, node: Node, dpas: Iterable[int]) -> Decision[None]:
    """Load those of the named device pages (DPAs in bytes) of a node that someone would miss."""
    todo = [dpa for dpa in dict.fromkeys(dpas) if mm.is_missed(node, dpa)]
    bounce = mm.frames.bounce
    for start in range(0, len(todo), len(bounce)):
        if not node.reachable:
            return
        chunk = tuple(todo[start : start + len(bounce)])
        loaded: NodeLoaded = yield NodeLoad(chunk, bounce[: len(chunk)], node.number)
        if loaded.status is NodeStatus.GONE:
            mm.node_lost(node)
        elif loaded.poisoned:
            mm.poison_met(node, (chunk[place] for place in loaded.poisoned))
