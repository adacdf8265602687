"""The private node: allocation control, the allocator, the region's size."""

from __future__ import annotations

import pytest

from cramagent.policy.budget import WritableCount
from cramagent.policy.counters import HostCounters
from cramagent.policy.folio import PageKind
from cramagent.policy.node import DEMOTION, Gfp, Ineligible, Node, Request
from cramagent.policy.settings import PolicySettings
from policy_helpers import NODE_PAGES, PAGE_BYTES, Rig


def a_node(pages: int = 4) -> Node:
    """A node with an empty region."""
    node = empty(HostCounters())
    node.attach(pages * PAGE_BYTES)
    return node


def empty(counters: HostCounters) -> Node:
    """A node that is not attached."""
    return Node(0, PolicySettings(dram_pages=16), counters, WritableCount())


@pytest.mark.parametrize(
    ("request_", "why", "counter"),
    [
        (Request(Gfp.USER, PageKind.ANON), "only __GFP_PRIVATE", "ineligible_gfp"),
        (Request(Gfp.KERNEL, PageKind.KERNEL), "only __GFP_PRIVATE", "ineligible_gfp"),
        (Request(Gfp.PRIVATE, PageKind.FILE), "file pages", "ineligible_file"),
        (Request(Gfp.PRIVATE, PageKind.KERNEL), "swap-eligible", "ineligible_kernel"),
    ],
)
def test_no_other_allocation_can_land_there(request_: Request, why: str, counter: str) -> None:
    """A clear error, one counter per reason, nothing allocated."""
    counters = HostCounters()
    node = empty(counters)
    node.attach(4 * PAGE_BYTES)
    with pytest.raises(Ineligible, match=why):
        node.allocate(request_, 1)
    assert getattr(counters, counter) == 1
    assert node.free == 4


def test_the_demotion_path_is_served() -> None:
    """Neighbours in order, until none is left."""
    node = a_node(3)
    assert node.allocate(DEMOTION, 4) == [0, 4096, 8192]
    node.recycle([4096])
    assert node.allocate(Request(Gfp.PRIVATE, PageKind.ANON), 1) == [4096]


@pytest.mark.parametrize("size", [0, -4096, 1, 4097])
def test_a_region_is_whole_pages(size: int) -> None:
    """Refused at attach and at resize alike."""
    with pytest.raises(ValueError, match="multiple of 4096"):
        empty(HostCounters()).attach(size)
    with pytest.raises(ValueError, match="multiple of 4096"):
        a_node().resize(size)


def test_a_region_grows_and_shrinks() -> None:
    """Growth is free at once; what is cut off while it holds data is lost."""
    rig = Rig()
    rig.fill(4)
    rig.host.resized(2 * NODE_PAGES * PAGE_BYTES)
    rig.host.check()
    assert rig.host.snapshot().node_free == 2 * NODE_PAGES - 4
    rig.host.resized(4 * PAGE_BYTES)
    rig.host.check()
    assert rig.host.snapshot().node_free == 0
    assert rig.host.resized(3 * PAGE_BYTES) == 1
    rig.host.check()
    assert rig.host.snapshot().node_pages == 3


def test_no_node_no_resize() -> None:
    """Without a session there is nothing to resize."""
    rig = Rig()
    rig.host.node_lost()
    with pytest.raises(ValueError, match="no node"):
        rig.host.resized(4096)
