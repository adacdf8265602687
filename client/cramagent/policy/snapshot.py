"""What the host looks like at one moment, for metrics and reports."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cramagent.policy.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cramagent.policy.counters import NodeCounters
    from cramagent.policy.effects import Tier
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """Gauges of one node. Sizes in pages of 4096 bytes."""

    number: int
    attached: bool
    reachable: bool
    open: bool
    """It takes new demotions."""
    pressure: int
    """0..1000."""
    pages: int
    """Size of the region."""
    used: int
    """Device pages that hold a folio (zombies included)."""
    free: int
    """Device pages that may be allocated at once."""
    trim_waiting: int
    """Freed device pages that wait for TRIM."""
    balloon_target: int
    balloon_size: int
    writable: int
    """Device pages mapped writable."""
    writable_ceiling: int
    """What of the budget holds here now: all of it while the node is open, less by pressure while closed."""
    credits_unspent: int
    """Write credits that are left (`budget = tokens`)."""
    credits_promised: int
    """Pages that the device keeps media for (`budget = tokens`)."""
    counters: NodeCounters
    """Copied."""


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """Gauges. Sizes in pages of 4096 bytes unless the name says otherwise."""

    pages: Mapping[State, int]
    """Mapped pages by state, one per mapper; NONE is left out (it has no end)."""
    spaces: int
    """Address spaces that live."""
    entries: int
    """vswap entries, zombies included."""
    zombies: int
    """vswap entries whose last user is gone."""
    oldest_zombie_ns: int
    """How long the oldest zombie has waited for the reaper; 0 without one."""
    budget: int
    """The writable budget: as set, or what the devices keep media for (`budget = tokens`)."""
    writable_ceiling: int
    """What of it holds now: less than all of it once no node is open."""
    dram_frames: int
    """Frames that address spaces may use (bounce frames are apart)."""
    dram_used: int
    swap_used: Mapping[Tier, int]
    """Pages in each tier behind the nodes."""
    nodes: tuple[NodeSnapshot, ...]
    """By number."""

    @property
    def writable(self) -> int:
        """Device pages mapped writable: writable_cnt, never above the budget."""
        return sum(node.writable for node in self.nodes)

    @property
    def attached(self) -> bool:
        """Whether a node is."""
        return any(node.attached for node in self.nodes)

    @property
    def reachable(self) -> bool:
        """Whether every node is."""
        return all(node.reachable for node in self.nodes)

    @property
    def open(self) -> bool:
        """Whether a node takes new demotions."""
        return any(node.open for node in self.nodes)

    @property
    def pressure(self) -> int:
        """The highest of any node."""
        return max(node.pressure for node in self.nodes)

    @property
    def node_pages(self) -> int:
        """Size of all regions."""
        return sum(node.pages for node in self.nodes)

    @property
    def node_used(self) -> int:
        """Device pages that hold a folio (zombies included)."""
        return sum(node.used for node in self.nodes)

    @property
    def node_free(self) -> int:
        """Device pages that may be allocated at once."""
        return sum(node.free for node in self.nodes)

    @property
    def trim_waiting(self) -> int:
        """Freed device pages that wait for TRIM."""
        return sum(node.trim_waiting for node in self.nodes)

    @property
    def balloon_target(self) -> int:
        """Of all balloons."""
        return sum(node.balloon_target for node in self.nodes)

    @property
    def balloon_size(self) -> int:
        """Of all balloons."""
        return sum(node.balloon_size for node in self.nodes)

    @property
    def credits_unspent(self) -> int:
        """Write credits that are left (`budget = tokens`)."""
        return sum(node.credits_unspent for node in self.nodes)


def take_snapshot(mm: Mm) -> HostSnapshot:
    """The gauges of `mm` now. A look at counters, and at no page: it is taken five times a second."""
    oldest = 0
    zombie = mm.vswap.oldest_zombie
    if zombie is not None:
        oldest = max(0, mm.now_ns - zombie.zombie_since_ns)
    nodes = tuple([_of_node(node) for node in mm.nodes])
    in_credit = mm.nodes[0].credits.in_use
    ceilings = [node.writable_ceiling for node in nodes]
    return HostSnapshot(
        pages={state: mm.pages_in_state[state] for state in State if state is not State.NONE},
        spaces=sum(not space.killed for space in mm.spaces.values()),
        entries=len(mm.vswap),
        zombies=mm.vswap.zombies,
        oldest_zombie_ns=oldest,
        budget=sum(node.credits_promised for node in nodes) if in_credit else mm.settings.budget_pages,
        writable_ceiling=sum(ceilings) if in_credit else max(ceilings),
        dram_frames=mm.frames.count,
        dram_used=mm.frames.count - mm.frames.free,
        swap_used=dict(mm.tier_used),
        nodes=nodes,
    )


def _of_node(node: Node) -> NodeSnapshot:
    return NodeSnapshot(
        number=node.number,
        attached=node.attached,
        reachable=node.reachable,
        open=node.is_open,
        pressure=node.gate.pressure,
        pages=node.size,
        used=len(node.placed),
        free=node.free,
        trim_waiting=len(node.trim),
        balloon_target=node.balloon_target,
        balloon_size=len(node.ballooned),
        writable=len(node.writable),
        writable_ceiling=node.writable.ceiling,
        credits_unspent=node.credits.unspent,
        credits_promised=node.credits.promised,
        counters=copy(node.counters),
    )
