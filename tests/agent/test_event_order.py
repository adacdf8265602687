"""Events as they arrive: what is new, what came before, and what is missing between."""

from __future__ import annotations

from cramagent.event_order import Arrival, EventOrder


def arrivals(order: EventOrder, *told: tuple[int, int]) -> list[Arrival]:
    """What each (sequence, previous) is, in the order of their coming."""
    return [order.arrived(sequence, previous) for sequence, previous in told]


def test_a_whole_stream_is_new() -> None:
    """Numbers that others were told are no gap: each event names the one before it."""
    order = EventOrder(10)
    assert arrivals(order, (12, 10), (13, 12), (40, 13)) == [Arrival.NEW] * 3
    assert order.after == 40


def test_a_lost_event_is_noticed_by_the_next() -> None:
    """Thirteen never came: fourteen says that it should have."""
    assert arrivals(EventOrder(10), (12, 10), (14, 13)) == [Arrival.NEW, Arrival.NEW_BEHIND_A_GAP]


def test_a_repeated_event_is_known() -> None:
    """At once, or long after."""
    order = EventOrder(10)
    told = arrivals(order, (12, 10), (12, 10), (13, 12), (12, 10))
    assert told == [Arrival.NEW, Arrival.REPEATED, Arrival.NEW, Arrival.REPEATED]
    assert order.after == 13


def test_what_comes_behind_later_events_is_late() -> None:
    """The gap was told by the one that overtook it."""
    told = arrivals(EventOrder(10), (13, 12), (12, 10), (14, 13))
    assert told == [Arrival.NEW_BEHIND_A_GAP, Arrival.LATE, Arrival.NEW]


def test_what_the_device_says_is_gone_is_no_gap() -> None:
    """It told of the loss itself; going back is not possible."""
    order = EventOrder(10)
    order.passed(20)
    assert order.arrived(21, 20) is Arrival.NEW
    order.passed(5)
    assert order.after == 21


def test_what_was_seen_is_not_remembered_for_ever() -> None:
    """A copy of an event that is thousands back is dropped all the same, as a late one."""
    order = EventOrder(0)
    arrivals(order, *((number, number - 1) for number in range(1, 3000)))
    assert order.arrived(1, 0) is Arrival.LATE
    assert order.arrived(2999, 2998) is Arrival.REPEATED
