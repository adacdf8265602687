"""What the host looks like at one moment, for metrics and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cramagent.policy.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cramagent.policy.effects import Tier
    from cramagent.policy.mm import Mm


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
    writable: int
    """Device pages mapped writable: writable_cnt, never above the budget."""
    budget: int
    """The writable budget: as set, or what the device keeps media for (`budget = tokens`)."""
    writable_ceiling: int
    """What of the budget holds now: all of it while the node is open, less by pressure while closed."""
    credits_unspent: int
    """Write credits that are left (`budget = tokens`)."""
    pressure: int
    """0..1000."""
    attached: bool
    reachable: bool
    open: bool
    """The node takes new demotions."""
    node_pages: int
    """Size of the region."""
    node_used: int
    """Device pages that hold a folio (zombies included)."""
    node_free: int
    """Device pages that may be allocated at once."""
    trim_waiting: int
    """Freed device pages that wait for TRIM."""
    balloon_target: int
    balloon_size: int
    dram_frames: int
    """Frames that address spaces may use (bounce frames are apart)."""
    dram_used: int
    swap_used: Mapping[Tier, int]
    """Pages in each tier behind the node."""


def take_snapshot(mm: Mm) -> HostSnapshot:
    """The gauges of `mm` now. Looks at each vswap entry only if there are zombies."""
    oldest = 0
    if mm.vswap.zombies:
        born = min(folio.zombie_since_ns for _, folio in mm.vswap if not folio.mappers)
        oldest = max(0, mm.now_ns - born)
    node = mm.node
    return HostSnapshot(
        pages={state: mm.pages_in_state[state] for state in State if state is not State.NONE},
        spaces=sum(not space.killed for space in mm.spaces.values()),
        entries=len(mm.vswap),
        zombies=mm.vswap.zombies,
        oldest_zombie_ns=oldest,
        writable=len(mm.writable),
        budget=mm.writable.budget,
        writable_ceiling=mm.writable.ceiling,
        credits_unspent=mm.credits.unspent,
        pressure=mm.gate.pressure,
        attached=node.attached,
        reachable=node.reachable,
        open=mm.node_open,
        node_pages=node.size,
        node_used=len(node.placed),
        node_free=node.free,
        trim_waiting=len(mm.trim),
        balloon_target=mm.balloon_target,
        balloon_size=len(node.ballooned),
        dram_frames=mm.frames.count,
        dram_used=mm.frames.count - mm.frames.free,
        swap_used=dict(mm.tier_used),
    )
