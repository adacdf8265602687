"""Looking for a bell before sleeping: it pays or it rests."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

from cramwire.bell import Patience

if TYPE_CHECKING:
    import select

HOUR_NS = 3_600_000_000_000
SHORT_NS = 2_000_000
"""Long enough for one look at least, however busy the machine is."""


class Bell:
    """A poll object that is asked without sleep, and rings at the n-th time."""

    def __init__(self, rings_at: int) -> None:
        self.asked = 0
        self._rings_at = rings_at

    def poll(self, timeout: int) -> list[tuple[int, int]]:
        """As `select.poll`."""
        assert timeout == 0
        self.asked += 1
        return [(7, 1)] if self.asked == self._rings_at else []


def look(patience: Patience, bell: Bell) -> list[tuple[int, int]]:
    """One look."""
    return patience.look(cast("select.poll", bell))


def test_it_looks_until_the_bell_rings() -> None:
    """And says what rang."""
    bell = Bell(rings_at=5)
    assert look(Patience(HOUR_NS), bell) == [(7, 1)]
    assert bell.asked == 5


def test_what_did_not_pay_is_left_be_for_longer_each_time() -> None:
    """1, 2, 4, 8, 16 turns of rest, and no more than 16."""
    patience, bell = Patience(SHORT_NS), Bell(rings_at=-1)
    looked = []
    for turn in range(100):
        before = bell.asked
        assert look(patience, bell) == []
        if bell.asked > before:
            looked.append(turn)
    rests = [after - before - 1 for before, after in pairwise(looked)]
    assert rests == [1, 2, 4, 8, 16, 16, 16, 16]


def test_one_that_pays_begins_anew() -> None:
    """After a ring, the next miss costs one turn of rest again."""
    patience = Patience(SHORT_NS)
    for _ in range(10):
        look(patience, Bell(rings_at=-1))
    ringing = Bell(rings_at=1)
    while not look(patience, ringing):
        pass
    missed = Bell(rings_at=-1)
    look(patience, missed)
    first = missed.asked
    assert first
    look(patience, missed)
    assert missed.asked == first
    look(patience, missed)
    assert missed.asked > first


def test_no_time_no_look() -> None:
    """0 ns: it sleeps at once."""
    bell = Bell(rings_at=1)
    assert look(Patience(0), bell) == []
    assert bell.asked == 0
