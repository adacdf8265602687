"""Placement: which of several nodes a batch goes to."""

from __future__ import annotations

import pytest

from cramagent.policy.settings import Placement
from policy_helpers import CRITICAL, PAGE_BYTES, Rig

PAGE_MEDIA = 4112
"""What a page that does not compress takes."""


def demoted(rig: Rig, count: int) -> list[int]:
    """So many pages, one batch each: the node of each."""
    first = len(tuple(rig.host.mapped(rig.a)))
    for vpn in range(first, first + count):
        rig.put(rig.a, vpn, 100 + vpn)
        rig.evict((rig.a, vpn))
    return [rig.host.peek(rig.a, vpn).node for vpn in range(first, first + count)]


def test_fill_takes_the_first_until_it_is_full() -> None:
    """Then the next; what becomes free on the first is used again."""
    rig = Rig(nodes=3, placement=Placement.FILL)
    for node in (0, 1):
        rig.host.resized(4 * PAGE_BYTES, node)
    assert demoted(rig, 10) == [0] * 4 + [1] * 4 + [2] * 2
    assert rig.counters.demote_denied_full == 0
    rig.drive(rig.host.free(rig.a, 0, noticed=True))
    rig.drive(rig.host.trimmer(0, force=True))
    rig.put(rig.a, 30, 7)
    rig.evict((rig.a, 30))
    assert rig.host.peek(rig.a, 30).node == 0


def test_a_batch_that_one_node_has_no_room_for_goes_on_to_the_next() -> None:
    """One batch, three nodes; what none has room for is counted once."""
    rig = Rig(nodes=2, placement=Placement.FILL)
    for node in (0, 1):
        rig.host.resized(2 * PAGE_BYTES, node)
    pages = rig.fill(5, evict=False)
    rig.evict(*pages)
    assert [node.used for node in rig.host.snapshot().nodes] == [2, 2]
    assert rig.counters.demote_denied_full == 1
    assert rig.counters.swap_outs_zswap == 1


def test_round_robin_takes_turns() -> None:
    """A node that is closed is passed over, and has its turn again when it opens."""
    rig = Rig(nodes=3, placement=Placement.ROUND_ROBIN)
    assert demoted(rig, 6) == [0, 1, 2, 0, 1, 2]
    rig.read_telemetry(CRITICAL, node=1)
    assert demoted(rig, 4) == [0, 2, 0, 2]
    rig.read_telemetry(node=1)
    assert demoted(rig, 3) == [0, 1, 2]


def test_most_free_follows_the_readings() -> None:
    """Media that is free; what was written since the reading counts as incompressible."""
    rig = Rig(nodes=2, placement=Placement.MOST_FREE)
    rig.read_telemetry(node=0, media_free_bytes=10 * PAGE_MEDIA)
    rig.read_telemetry(node=1, media_free_bytes=12 * PAGE_MEDIA)
    assert demoted(rig, 6) == [1, 1, 0, 1, 0, 1]
    rig.read_telemetry(node=0, media_free_bytes=20 * PAGE_MEDIA, stored_pages=2)
    assert demoted(rig, 2) == [0, 0]


def test_most_free_is_never_more_than_the_region_has_pages() -> None:
    """Much media behind few device pages is no room."""
    rig = Rig(nodes=2, placement=Placement.MOST_FREE)
    rig.host.resized(3 * PAGE_BYTES, 0)
    rig.read_telemetry(node=0, logical_bytes=3 * PAGE_BYTES)
    rig.read_telemetry(node=1, media_free_bytes=20 * PAGE_MEDIA)
    assert demoted(rig, 2) == [1, 1]


@pytest.mark.parametrize("placement", Placement)
def test_no_open_node_is_no_demotion(placement: Placement) -> None:
    """The page goes to swap, and is counted once."""
    rig = Rig(nodes=2, placement=placement)
    for node in (0, 1):
        rig.read_telemetry(CRITICAL, node=node)
    rig.put(rig.a, 0, 7)
    rig.evict((rig.a, 0))
    assert rig.counters.demote_denied_closed == 1
    assert rig.counters.swap_outs_zswap == 1
