"""Turns at the machine: every command that moves pages takes one, so that hosts share it fairly.

Whose turn it is, `fair_queue` tells; here are the threads that wait. A call of a pool that waits gives up
its place there, so that the next call's host becomes known, and its turn may come first.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from cxldevd.fair_queue import FairQueue
from cxldevd.pools import parked, refuse_if_short

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

SMALL_TURNS: Final = 2
"""Commands of a few pages beside the others: they hold the interpreter most of the time."""
SMALL_PAGES: Final = 8
"""A command of more pages is a large one."""
WRITTEN_PART: Final = 64
READ_PART: Final = 128
"""A large command asks again after so many pages: about a millisecond, either way."""
PARTS_ALONE: Final = 4
"""So many parts at once, but for the first, while no other host waits: a part has costs of its own."""
_WRITTEN_COST: Final = 2
"""Of a page that is written. To read one costs 1, the unit: to expand takes half of what to compress does."""
_COMMAND_COST: Final = 16
"""What a command costs beside its pages."""


class Turns:
    """Who works and who waits, over all transports."""

    def __init__(self, turns: int) -> None:
        """`turns`: commands that work at one time; a few more that are small."""
        self.lock: Final = threading.Lock()
        self.queue: Final[FairQueue[Turn]] = FairQueue(turns, SMALL_TURNS)
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

    __slots__ = ("_gate", "_host", "_large", "_page_cost", "_pages", "_part", "_turns")

    def __init__(self, turns: Turns, host: str, pages: int, page_cost: int, part: int) -> None:
        self._turns = turns
        self._host = host
        self._pages = pages
        self._page_cost = page_cost
        self._part = part
        self._large = pages > SMALL_PAGES
        self._gate: threading.Lock | None = None

    def __enter__(self) -> Self:
        turns = self._turns
        cost = _COMMAND_COST + min(self._pages, self._part) * self._page_cost
        with turns.lock:
            if turns.queue.must_wait(large=self._large):
                refuse_if_short(self._host)
                self._gate = _shut()
            if turns.queue.ask(self._host, cost, self, large=self._large):
                return self
            turns.waited += 1
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        with self._turns.lock:
            started = self._turns.queue.done(large=self._large)
        _let_go(started)

    def next_part(self, left: int) -> int:
        """Between two parts of a large command of which so many pages are left: others may be in front.

        Returns:
            Pages of the next part.
        """
        turns = self._turns
        with turns.lock:
            self._gate = _shut()
            parts = 1 if turns.queue.others_wait(self._host) else PARTS_ALONE
            pages = min(left, parts * self._part)
            started = turns.queue.next_part(self._host, pages * self._page_cost, self)
            goes_on = self in started
            turns.waited += not goes_on
        if goes_on:
            started.remove(self)
        _let_go(started)
        if not goes_on:
            self._wait()
        return pages

    def let_go(self) -> None:
        """It waits no more."""
        assert self._gate is not None
        self._gate.release()

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
