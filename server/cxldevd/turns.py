"""Turns at the machine: every command that moves pages takes one, so that hosts share it fairly.

Whose turn it is, `fair_queue` tells; here are the threads that wait. A call of a pool that waits gives up
its place there, so that the next call's host becomes known, and its turn may come first.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from cxldevd.fair_queue import FairQueue, Size
from cxldevd.pools import parked, refuse_if_short

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

SMALL_TURNS: Final = 2
"""Commands of a few pages beside the others: they hold the interpreter most of the time."""
SHORT_TURNS: Final = 1
"""For who is next with a command of one part, and has no turn at all."""
SMALL_PAGES: Final = 8
"""A command of more pages is none of a few pages."""
WRITTEN_PART: Final = 64
READ_PART: Final = 128
"""About a millisecond, either way. Who waits with no more waits until a neighbour has done so much."""
PARTS_AT_ONCE: Final = 4
"""A long command asks again after so many while nobody waits with less. Measured: eight hosts that hand their
turns over after each part write a tenth less in all."""
_WRITTEN_COST: Final = 2
"""Of a page that is written. To read one costs 1, the unit: to expand takes half of what to compress does."""
_COMMAND_COST: Final = 16
"""What a command costs beside its pages."""


class Turns:
    """Who works and who waits, over all transports."""

    def __init__(self, turns: int) -> None:
        """`turns`: commands that work at one time; a few more that are small, or short."""
        self.lock: Final = threading.Lock()
        self.queue: Final[FairQueue[Turn]] = FairQueue(turns, SMALL_TURNS, SHORT_TURNS)
        self.waited = 0
        """Commands, and parts of them, that had to wait."""

    @property
    def waiting(self) -> int:
        """Commands that wait now."""
        with self.lock:
            return self.queue.waiting

    def of_pages(self, host: str, pages: int, *, written: bool) -> Turn:
        """The turn of a command that writes or reads so many pages, to be entered."""
        return Turn(self, host, pages, *((_WRITTEN_COST, WRITTEN_PART) if written else (1, READ_PART)))

    def of_ranges(self, host: str) -> Turn:
        """The turn of a TRIM."""
        return Turn(self, host, 0, 0, 1)


class Turn(AbstractContextManager["Turn"]):
    """The turn of one command, as a context: single pages are too many for a generator each.

    Raises:
        DeviceBusy: when it is entered; it would have to wait, and its host has too many that wait.
    """

    __slots__ = ("_gate", "_host", "_page_cost", "_part", "_size", "_turns", "pages")

    def __init__(self, turns: Turns, host: str, pages: int, page_cost: int, part: int) -> None:
        self._turns = turns
        self._host = host
        self._page_cost = page_cost
        self._part = part
        self._size = Size.SMALL if pages <= SMALL_PAGES else Size.SHORT if pages <= part else Size.LONG
        self.pages = pages
        """Pages of the part that it has a turn for, once it is entered."""
        self._gate: threading.Lock | None = None

    def __enter__(self) -> Self:
        turns, size = self._turns, self._size
        with turns.lock:
            if size is Size.LONG:
                self.pages = self._next_pages(self.pages)
            if turns.queue.must_wait(size):
                refuse_if_short(self._host)
                self._gate = _shut()
            cost = _COMMAND_COST + self.pages * self._page_cost
            started = turns.queue.ask(self._host, cost, self, size)
            begins = self in started
            turns.waited += not begins
        if begins:
            started.remove(self)
        _let_go(started)
        if not begins:
            self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        with self._turns.lock:
            started = self._turns.queue.done(self._host, self._size)
        _let_go(started)

    def next_part(self, left: int) -> int:
        """Between two parts of a long command of which so many pages are left: others may be in front.

        Returns:
            Pages of the next part.
        """
        turns = self._turns
        with turns.lock:
            self._gate = _shut()
            self.pages = self._next_pages(left)
            started = turns.queue.next_part(self._host, self.pages * self._page_cost, self)
            goes_on = self in started
            turns.waited += not goes_on
        if goes_on:
            started.remove(self)
        _let_go(started)
        if not goes_on:
            self._wait()
        return self.pages

    def let_go(self) -> None:
        """It waits no more."""
        assert self._gate is not None
        self._gate.release()

    def _next_pages(self, left: int) -> int:
        """Of so many: who waits with little shall not wait for much. Needs the lock."""
        parts = 1 if self._turns.queue.brief_wait(self._host) else PARTS_AT_ONCE
        return min(left, parts * self._part)

    def _wait(self) -> None:
        assert self._gate is not None
        # Nobody waits here for long: no turn is held by a command that waits for anything else. One whose
        # caller has gone meanwhile finds that out when it has its turn.
        with parked(self._host):
            self._gate.acquire()


def _shut() -> threading.Lock:
    """A gate that holds up whoever comes to it, until it is released."""
    gate = threading.Lock()
    gate.acquire()
    return gate


def _let_go(turns: Iterable[Turn]) -> None:
    for turn in turns:
        turn.let_go()
