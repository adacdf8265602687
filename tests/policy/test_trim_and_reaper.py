"""Frees, zombies, the reaper and the TRIM batcher: no device page is used again before its TRIM."""

from __future__ import annotations

import pytest

from cramagent.policy.effects import NodeTrim, TierDrop
from cramagent.policy.host import FreeAnswer
from cramagent.policy.states import State
from cramagent.policy.trim import merge_first
from cramagent.policy.vswap import VswapTable
from policy_helpers import LOW, NODE_PAGES, NodeStatus, Rig


def free(rig: Rig, page: tuple[int, int], *, noticed: bool = True) -> FreeAnswer:
    """Free one page and audit."""
    return rig.drive(rig.host.free(*page, noticed=noticed))


def test_what_a_free_answers() -> None:
    """DRAM, swap and lost pages are done at once; a device page waits for TRIM."""
    rig = Rig()
    (entry,) = rig.fill(1)
    rig.put(rig.a, 1, 1)
    assert free(rig, (rig.a, 1)) is FreeAnswer.DONE
    assert free(rig, entry) is FreeAnswer.DEFERRED
    rig.host.node_unreachable()
    rig.put(rig.a, 2, 2)
    rig.evict((rig.a, 2))
    assert free(rig, (rig.a, 2)) is FreeAnswer.DONE
    assert rig.performer.of_kind(TierDrop)
    assert list(rig.host.mapped(rig.a)) == []
    assert rig.host.snapshot().entries == 0
    assert (rig.counters.frees_done, rig.counters.frees_deferred) == (2, 1)


def test_an_unnoticed_free_leaves_a_zombie() -> None:
    """`we may not always be able to catch all frees`: the entry stays till the reaper finds it."""
    rig = Rig()
    (page,) = rig.fill(1)
    assert free(rig, page, noticed=False) is FreeAnswer.DEFERRED
    assert rig.state(*page) is State.NONE
    gauges = rig.host.snapshot()
    assert (gauges.zombies, gauges.node_used, gauges.trim_waiting) == (1, 1, 0)
    rig.drive(rig.host.reaper(rig.now))
    gauges = rig.host.snapshot()
    assert (gauges.zombies, gauges.node_used, gauges.trim_waiting) == (0, 0, 1)
    assert rig.counters.reaped == 1


def test_a_snapshot_knows_the_oldest_zombie_and_looks_at_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: it is taken five times a second."""
    rig = Rig()
    pages = rig.fill(3)

    def oldest_ns() -> int:
        with monkeypatch.context() as patch:
            patch.setattr(VswapTable, "__iter__", None)
            return rig.host.snapshot().oldest_zombie_ns

    assert oldest_ns() == 0
    for page in pages[:2]:
        rig.now += 1000
        rig.put(rig.a, 90, 1)
        free(rig, page, noticed=False)
    assert oldest_ns() == 1000
    rig.now += 500
    rig.put(rig.a, 90, 2)
    assert oldest_ns() == 1500
    rig.drive(rig.host.reaper(rig.now))
    assert (rig.host.snapshot().zombies, oldest_ns()) == (0, 0)


def test_a_zombie_in_swap_gives_its_handle_back() -> None:
    """The reaper drops tier handles in one effect per tier."""
    rig = Rig()
    rig.host.node_unreachable()
    rig.fill(3)
    rig.drive(rig.host.exit_space(rig.a, noticed=False))
    assert rig.host.snapshot().zombies == 3
    rig.drive(rig.host.reaper(rig.now))
    (drop,) = rig.performer.of_kind(TierDrop)
    assert len(drop.handles) == 3
    assert rig.host.snapshot().entries == 0


def test_pages_without_an_entry_are_always_noticed() -> None:
    """A writable page's free is seen, whatever the caller says."""
    rig = Rig(budget_pages=1)
    (page,) = rig.fill(1)
    rig.put(*page, 1)
    free(rig, page, noticed=False)
    gauges = rig.host.snapshot()
    assert (gauges.zombies, gauges.trim_waiting, gauges.writable) == (0, 1, 0)


def test_the_reaper_scans_a_bounded_batch() -> None:
    """Three slots a turn, round and round."""
    rig = Rig(reap_batch_pages=3)
    rig.fill(8)
    rig.drive(rig.host.exit_space(rig.a, noticed=False))
    left = []
    for _ in range(3):
        rig.drive(rig.host.reaper(rig.now))
        left.append(rig.host.snapshot().zombies)
    assert left == [5, 2, 0]


def test_the_age_of_the_oldest_zombie() -> None:
    """Counted from when its last user went."""
    rig = Rig(reap_batch_pages=1)
    first, second = rig.fill(2)
    rig.now = 1_000
    rig.get(*first)
    free(rig, first, noticed=False)
    rig.now = 5_000
    rig.get(*second)
    free(rig, second, noticed=False)
    assert rig.host.snapshot().oldest_zombie_ns == 4_000


def test_no_reuse_before_trim() -> None:
    """All device pages freed, none trimmed: demotion finds no free page; after TRIM it does."""
    rig = Rig(dram_pages=128)
    pages = rig.fill(NODE_PAGES)
    for page in pages:
        free(rig, page)
    assert rig.host.snapshot().node_free == 0
    rig.put(rig.a, 500, 1)
    rig.evict((rig.a, 500))
    assert rig.state(rig.a, 500) is State.SWAPPED
    rig.drive(rig.host.trimmer(rig.now))
    assert rig.host.snapshot().node_free == NODE_PAGES
    rig.put(rig.a, 501, 1)
    rig.evict((rig.a, 501))
    assert rig.state(rig.a, 501) is State.ENTRY


def test_trim_ranges_are_merged_sorted_and_bounded() -> None:
    """At most `ranges_per_trim` in one command."""
    rig = Rig(ranges_per_trim=2)
    pages = rig.fill(10)
    for vpn in (9, 0, 1, 5, 4, 7):
        free(rig, pages[vpn])
    rig.drive(rig.host.trimmer(rig.now, force=True))
    k = 4096
    assert [effect.ranges for effect in rig.performer.of_kind(NodeTrim)] == [
        ((0, 2 * k), (4 * k, 2 * k)),
        ((7 * k, k), (9 * k, k)),
    ]
    assert (rig.counters.trim_commands, rig.counters.trimmed_pages) == (2, 6)


@pytest.mark.parametrize(
    ("pages", "most", "ranges", "covered"),
    [
        ([], 3, [], 0),
        ([0], 3, [(0, 4096)], 1),
        ([0, 4096, 8192], 1, [(0, 12288)], 3),
        ([0, 8192], 1, [(0, 4096)], 1),
        ([0, 4096, 12288, 16384, 40960], 2, [(0, 8192), (12288, 8192)], 4),
    ],
)
def test_merging(pages: list[int], most: int, ranges: list[tuple[int, int]], covered: int) -> None:
    """Neighbours become one range; the rest waits for the next command."""
    assert merge_first(pages, most) == (ranges, covered)


def test_the_trimmer_batches() -> None:
    """Nothing is sent before the interval is over, unless half the buffer is full or the node is closed."""
    rig = Rig(trim_buffer_pages=8)
    pages = rig.fill(20)
    free(rig, pages[0])
    rig.drive(rig.host.trimmer(rig.now))
    rig.now += 999_000_000
    rig.drive(rig.host.trimmer(rig.now))
    assert rig.counters.trim_commands == 0
    rig.now += 1_000_000
    rig.drive(rig.host.trimmer(rig.now))
    assert rig.counters.trim_commands == 1
    for page in pages[1:5]:
        free(rig, page)
    rig.drive(rig.host.trimmer(rig.now))
    assert rig.counters.trim_commands == 2
    free(rig, pages[5])
    rig.read_telemetry(LOW)
    rig.drive(rig.host.trimmer(rig.now))
    assert rig.counters.trim_commands == 3


def test_a_full_buffer_defers_to_the_reaper() -> None:
    """`buffer full`: the entry keeps the device page; once there is room, the reaper frees it."""
    rig = Rig(trim_buffer_pages=2, budget_pages=1)
    pages = rig.fill(4)
    rig.put(*pages[3], 1)
    answers = [free(rig, page) for page in pages]
    assert answers == [FreeAnswer.DEFERRED] * 2 + [FreeAnswer.BUFFER_FULL] * 2
    gauges = rig.host.snapshot()
    assert (gauges.zombies, gauges.trim_waiting) == (2, 2)
    assert rig.counters.frees_buffer_full == 2
    rig.drive(rig.host.reaper(rig.now))
    assert rig.host.snapshot().zombies == 2, "still no room"
    rig.drive(rig.host.trimmer(rig.now))
    rig.drive(rig.host.reaper(rig.now))
    rig.drive(rig.host.trimmer(rig.now, force=True))
    assert rig.host.snapshot().zombies == 0
    assert rig.host.snapshot().node_free == NODE_PAGES
    assert rig.performer.device == {}


@pytest.mark.parametrize("status", [NodeStatus.UNAVAILABLE, NodeStatus.NO_MORE_WRITES])
def test_a_trim_that_was_not_taken_is_asked_for_again(status: NodeStatus) -> None:
    """Until it is answered the pages wait."""
    rig = Rig()
    (page,) = rig.fill(1)
    free(rig, page)
    rig.performer.answers.append(status)
    rig.drive(rig.host.trimmer(rig.now, force=True))
    assert rig.host.snapshot().trim_waiting == 1
    assert rig.counters.trim_unavailable == 1
    rig.drive(rig.host.trimmer(rig.now, force=True))
    assert rig.host.snapshot().node_free == NODE_PAGES


def test_a_trim_finds_the_session_gone() -> None:
    """Then there is nothing to give back."""
    rig = Rig()
    page, kept = rig.fill(2)
    free(rig, page)
    rig.performer.answers.append(NodeStatus.GONE)
    rig.drive(rig.host.trimmer(rig.now, force=True))
    assert rig.state(*kept) is State.LOST
    assert rig.host.snapshot().trim_waiting == 0


def test_exit_gives_everything_back() -> None:
    """DRAM, device and swap pages of a space; only its own."""
    rig = Rig(budget_pages=1)
    other = rig.host.create_space()
    rig.put(other, 0, 7)
    rig.evict((other, 0))
    pages = rig.fill(4)
    rig.put(*pages[0], 1)
    rig.get(*pages[1])
    rig.put(rig.a, 9, 9)
    rig.drive(rig.host.exit_space(rig.a, noticed=True))
    gauges = rig.host.snapshot()
    assert (gauges.spaces, gauges.dram_used, gauges.node_used, gauges.trim_waiting) == (1, 0, 1, 4)
    assert rig.get(other, 0) == 7
