"""Pressure, the gate's two thresholds, and what of the writable budget it leaves."""

from __future__ import annotations

import pytest

from cramagent.policy.settings import NS_PER_MS
from cramagent.policy.states import State
from policy_helpers import (
    ABOVE_HIGH,
    CRITICAL,
    HIGH,
    LOW,
    MEDIUM,
    AccessKind,
    NodeStatus,
    Rig,
    a_reading,
)

MIB = 1 << 20


@pytest.mark.parametrize(
    ("level", "pressure"), [(ABOVE_HIGH, 0), (HIGH, 0), (MEDIUM, 500), (LOW, 750), (CRITICAL, 1000)]
)
def test_pressure_of_each_watermark(level: int, pressure: int) -> None:
    """The table in pressure.py."""
    rig = Rig()
    rig.read_telemetry(level)
    assert rig.host.snapshot().pressure == pressure


def test_the_node_closes_at_low_and_opens_above_medium() -> None:
    """Two thresholds: medium does neither."""
    rig = Rig()
    opened = []
    for level in (HIGH, MEDIUM, LOW, MEDIUM, LOW, CRITICAL, MEDIUM, HIGH, MEDIUM):
        rig.read_telemetry(level)
        opened.append(rig.host.snapshot().open)
    assert opened == [True, True, False, False, False, False, False, True, True]
    assert (rig.counters.node_closes, rig.counters.node_opens) == (1, 1)


def test_no_more_writes_closes_whatever_the_watermark() -> None:
    """Told by a reading, counted when it is news."""
    rig = Rig()
    for _ in range(3):
        rig.read_telemetry(ABOVE_HIGH, no_more_writes=True)
    assert rig.host.snapshot().pressure == 1000
    assert not rig.host.snapshot().open
    assert rig.counters.no_more_writes == 1
    rig.read_telemetry(ABOVE_HIGH)
    assert rig.host.snapshot().open


def test_a_refusal_closes_before_any_event_comes() -> None:
    """A lost or late event does not keep the node open."""
    rig = Rig(capacity=0)
    rig.fill(1)
    assert not rig.host.snapshot().open
    assert rig.counters.no_more_writes == 1


@pytest.mark.parametrize(
    ("batch", "limit_bytes", "room_bytes"),
    [(3, 1 << 30, 3 * 4112), (256, 1 << 20, (1 << 20) // 16), (256, 16 * 4112, 4112)],
)
def test_the_regions_limit_closes_until_a_batch_fits(batch: int, limit_bytes: int, room_bytes: int) -> None:
    """A reading with a little room is not enough; a sixteenth of the limit always is, however small."""
    rig = Rig(demote_batch_pages=batch)
    rig.performer.region_limit = 1
    rig.fill(2)
    assert not rig.host.snapshot().open
    rig.read_telemetry(region_limit_bytes=limit_bytes, region_free_bytes=room_bytes - 1)
    assert not rig.host.snapshot().open
    rig.read_telemetry(region_limit_bytes=limit_bytes, region_free_bytes=room_bytes)
    assert rig.host.snapshot().open


def test_a_closed_node_makes_nothing_writable() -> None:
    """Write faults are promoted; reads go on as before."""
    rig = Rig(budget_pages=4)
    first, second = rig.fill(2)
    rig.read_telemetry(CRITICAL)
    assert rig.get(*first) == 100
    assert rig.put(*second, 9).kind is AccessKind.DRAM
    assert rig.counters.mkwrite_denied_closed == 1


def test_a_reading_of_no_node_says_nothing() -> None:
    """Events cross with the end of the session."""
    rig = Rig()
    rig.host.node_lost()
    rig.read_telemetry(CRITICAL)
    assert rig.host.snapshot().pressure == 0


@pytest.mark.parametrize("level", [0, 6, -1])
def test_an_unknown_watermark_is_refused(level: int) -> None:
    """The wire's UNSPECIFIED is no level."""
    with pytest.raises(ValueError, match="watermark level"):
        a_reading(level)


def test_the_budget_is_never_exceeded() -> None:
    """Ten writers, three writable pages, whatever the order."""
    rig = Rig(budget_pages=3)
    for turn, page in enumerate(rig.fill(10)):
        rig.put(*page, turn)
        assert rig.host.snapshot().writable == min(turn + 1, 3)
    assert rig.counters.mkwrites == 3
    assert rig.counters.mkwrite_denied_budget == 7


def test_aged_writable_pages_are_protected_again() -> None:
    """Nothing stored for `writable_age_ns`: RW -> RO, and the budget has room again."""
    rig = Rig(budget_pages=2, writable_age_ns=100 * NS_PER_MS)
    old, young = rig.fill(2)
    rig.put(*old, 1)
    rig.turn(ms=60)
    rig.put(*young, 2)
    rig.turn(ms=50)
    assert (rig.state(*old), rig.state(*young)) == (State.RO, State.RW)
    assert rig.counters.reprotects_aged == 1
    assert (rig.get(*old), rig.get(*young)) == (1, 2)


def test_stores_keep_a_page_writable() -> None:
    """The age counts from the last store, not from mkwrite; loads do not count."""
    rig = Rig(budget_pages=2, writable_age_ns=100 * NS_PER_MS)
    stored, loaded = rig.fill(2)
    rig.put(*stored, 0)
    rig.put(*loaded, 0)
    for turn in range(4):
        rig.put(*stored, turn)
        rig.get(*loaded)
        rig.turn(ms=40)
    assert (rig.state(*stored), rig.state(*loaded)) == (State.RW, State.RO)


@pytest.mark.parametrize(("level", "left"), [(MEDIUM, 8), (LOW, 2), (CRITICAL, 0)])
def test_pressure_cuts_the_budget_once_the_node_is_closed(level: int, left: int) -> None:
    """Budget * (1000 - pressure) / 1000: a quarter at low, none at critical, all while it is open."""
    rig = Rig(budget_pages=8)
    pages = rig.fill(8)
    for page in pages:
        rig.put(*page, 1)
    rig.read_telemetry(level)
    rig.drive(rig.host.ager(rig.now))
    assert rig.host.snapshot().writable == rig.host.snapshot().writable_ceiling == left
    assert rig.counters.reprotects_pressure == 8 - left
    # The longest without a store went first.
    assert [rig.state(*page) for page in pages[8 - left :]] == [State.RW] * left


def test_a_session_gone_under_a_store() -> None:
    """GONE as an answer is the end of the node, there and then."""
    rig = Rig(budget_pages=1)
    page, other = rig.fill(2)
    rig.put(*page, 1)
    rig.performer.answers.append(NodeStatus.GONE)
    assert rig.put(*page, 2).kind is AccessKind.BUS_ERROR
    assert rig.state(*page) is rig.state(*other) is State.LOST
    assert rig.host.snapshot().writable == 0


def refused() -> Rig:
    """A host of four device pages whose last write was refused, though media looks free."""
    rig = Rig()
    rig.fill(4)
    rig.put(rig.a, 9, 9)
    rig.performer.answers.append(NodeStatus.NO_MORE_WRITES)
    rig.evict((rig.a, 9))
    assert not rig.host.snapshot().open
    return rig


def test_a_refusal_outlives_readings_that_do_not_know_of_it() -> None:
    """The device as a whole is well, and its flag is down; the node does not flap."""
    rig = refused()
    told = {"region_limit_bytes": 64 * MIB, "stored_pages": 4}
    room = 256 * 4112
    for free in (8 * MIB, 8 * MIB + 4096, 8 * MIB + room - 1):
        rig.read_telemetry(ABOVE_HIGH, media_free_bytes=free, **told)
        assert not rig.host.snapshot().open
    rig.read_telemetry(ABOVE_HIGH, media_free_bytes=8 * MIB + room, **told)
    assert rig.host.snapshot().open
    assert (rig.counters.node_closes, rig.counters.node_opens) == (1, 1)


def test_a_reading_older_than_the_refusal_does_not_hold_the_node_closed() -> None:
    """The least of what is read since counts."""
    rig = refused()
    told = {"region_limit_bytes": 16 * MIB, "stored_pages": 4}
    for free in (100 * MIB, 8 * MIB, 9 * MIB):
        assert not rig.host.snapshot().open
        rig.read_telemetry(ABOVE_HIGH, media_free_bytes=free, **told)
    assert rig.host.snapshot().open


def test_a_region_that_holds_nothing_tries_again() -> None:
    """All was written back: there is no room of its own to wait for."""
    rig = refused()
    rig.read_telemetry(ABOVE_HIGH, media_free_bytes=8 * MIB, stored_pages=0)
    assert rig.host.snapshot().open


def test_a_device_that_says_so_itself_also_says_when_it_is_over() -> None:
    """Its flag was up since the refusal: when it is down again, it has recovered. Counted once."""
    rig = refused()
    rig.read_telemetry(CRITICAL, no_more_writes=True, media_free_bytes=0, stored_pages=4)
    assert not rig.host.snapshot().open
    rig.read_telemetry(ABOVE_HIGH, media_free_bytes=4096, stored_pages=4)
    assert rig.host.snapshot().open
    assert rig.counters.no_more_writes == 1
