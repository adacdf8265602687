"""Which pages of a write fit, judged one by one in a few numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from cxldev.admission import Admission, Obstacle, Room, admit, admit_or_poison

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLENTY = 10**9


def decide(growth: list[int], *, free: int = PLENTY, unmet: int = 0, limit: int = PLENTY) -> Admission:
    """In a room of these sizes, mode `refuse`."""
    return admit(np.array(growth, np.int64), Room(free, unmet, limit), stored(len(growth)))


def stored(count: int) -> NDArray[np.bool_]:
    """Pages that the media holds already."""
    return np.zeros(count, np.bool_)


def test_all_fit() -> None:
    """To the last byte."""
    assert decide([100, 200], free=300) == Admission(2, None)


def test_the_first_that_does_not_fit_ends_the_request() -> None:
    """Even if a later one would fit."""
    assert decide([100, 300, 1], free=200) == Admission(1, Obstacle.MEDIA, media_exhausted=True)


def test_a_page_that_shrinks_makes_room_for_those_behind_it() -> None:
    """Not for those before it."""
    assert decide([-300, 300], free=0) == Admission(2, None)
    assert decide([300, -300], free=0) == Admission(0, Obstacle.MEDIA, media_exhausted=True)


def test_an_overwrite_that_needs_no_more_is_never_refused() -> None:
    """However little there is: others' guarantees or faults may have made room negative."""
    assert decide([0, -5, 0], free=-1000, limit=-50) == Admission(3, None)


def test_the_obstacle_is_named() -> None:
    """Guaranteed to others, the region's limit (first), or no room at all."""
    assert decide([500], free=600, unmet=200).obstacle is Obstacle.GUARANTEE
    assert decide([500], free=400, unmet=200).obstacle is Obstacle.MEDIA
    assert decide([500], free=400, limit=499).obstacle is Obstacle.LIMIT
    assert not decide([500], free=600, unmet=200).media_exhausted
    assert not decide([500], free=400, limit=499).media_exhausted


def test_poison_mode_goes_on() -> None:
    """A page that does not fit gives up what it holds; those behind it may take that."""
    growth, lost = np.array([50, 300, 40]), np.array([0, -60, 0])
    assert admit_or_poison(growth, lost, Room(50, 0, PLENTY), stored(len(growth))) == Admission(
        3, None, [1], media_exhausted=True
    )


def test_poison_mode_tells_media_from_guarantees() -> None:
    """A page is poisoned in both cases; only one means that the device is full."""
    growth, lost = np.array([300]), np.array([0])
    assert admit_or_poison(growth, lost, Room(400, 200, PLENTY), stored(len(growth))) == Admission(
        1, None, [0]
    )
    assert admit_or_poison(growth, lost, Room(200, 200, PLENTY), stored(len(growth))).media_exhausted


def test_poison_mode_goes_on_without_any_room() -> None:
    """Poison takes no media, so it always has room: even where others' guarantees are not covered."""
    growth, lost = np.array([100, 116]), np.array([0, 0])
    expected = Admission(2, None, [0, 1], media_exhausted=True)
    assert admit_or_poison(growth, lost, Room(-50, 100, PLENTY), stored(len(growth))) == expected


def test_poison_mode_ends_at_the_limit() -> None:
    """A region's own limit is refused in both modes."""
    growth, lost = np.array([100, 100]), np.array([0, 0])
    assert admit_or_poison(growth, lost, Room(0, 0, 150), stored(len(growth))).poisoned == [0, 1]
    assert admit_or_poison(growth, lost, Room(PLENTY, 0, 150), stored(len(growth))) == Admission(
        1, Obstacle.LIMIT, []
    )


def test_new_pages_leave_what_is_promised() -> None:
    """Pages that are stored already may have it, as it is theirs."""
    growth, room = np.array([100, 100, 100]), Room(300, 0, PLENTY, promised_bytes=150)
    new = np.array([True, False, True])
    assert admit(growth, room, new) == Admission(2, Obstacle.GUARANTEE)
    assert admit_or_poison(growth, np.array([0, 0, 0]), room, new) == Admission(3, None, [2])


@given(
    st.lists(st.integers(-400, 400), min_size=1, max_size=20),
    st.integers(-200, 1500),
    st.integers(0, 300),
    st.integers(-100, 1500),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_same_as_one_page_at_a_time(growth: list[int], free: int, unmet: int, limit: int) -> None:
    """The sums over a batch decide what a loop would."""
    taken = 0
    accepted = 0
    for one in growth:
        if one > 0 and (taken + one > free - unmet or taken + one > limit):
            break
        taken += one
        accepted += 1
    assert decide(growth, free=free, unmet=unmet, limit=limit).accepted == accepted


@given(
    needs=st.lists(st.tuples(st.integers(0, 4_112), st.integers(0, 4_112), st.booleans()), min_size=1),
    free=st.integers(0, 100_000),
    unmet=st.integers(0, 20_000),
    limit=st.integers(0, 100_000),
    promised=st.integers(0, 20_000),
)
@settings(max_examples=200, deadline=None)
def test_what_is_covered_is_admitted(
    needs: list[tuple[int, int, bool]], free: int, unmet: int, limit: int, promised: int
) -> None:
    """Whatever the pages hold already: so the sum is enough to know, while there is plenty."""
    growth = np.array([new - (0 if bare else held) for new, held, bare in needs], np.int64)
    bare = np.array([bare for *_, bare in needs])
    room = Room(free, unmet, limit, promised)
    if room.covers(sum(new for new, *_ in needs)):
        assert admit(growth, room, bare) == Admission(len(needs), None)
