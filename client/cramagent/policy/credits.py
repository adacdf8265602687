"""Write credits (`budget = tokens`): the device says how many pages may be made writable, not the host.

A mkwrite spends a credit for good; a page that is made R/O again does not bring it back. New ones come from
the device, over the control path: where that stalls, the credits run out, and writes promote.

One request is under way at a time. It says what is held (pages writable, credits unspent), by which the
device knows what it may promise elsewhere; so an answer that is lost costs nothing. Credits are asked for
when half of the stock is spent, and reported when the device keeps media for many that are not held any
more. A closed node makes nothing writable: its credits are dropped and reported.

What the device keeps media for is at least what is held, always: `writable + unspent <= promised`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cramagent.policy.settings import Budget

if TYPE_CHECKING:
    from cramagent.policy.counters import HostCounters
    from cramagent.policy.settings import PolicySettings


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """What the runner is to ask the device. Pages."""

    number: int
    """1, 2, 3, ...: the device tells late requests by it."""
    writable: int
    unspent: int
    wanted: int


class Credits:
    """What is held of the device's grants. Nothing at all with `budget = pages`."""

    def __init__(self, settings: PolicySettings, counters: HostCounters) -> None:
        self.in_use = settings.budget is Budget.TOKENS
        self.unspent = 0
        self.promised = 0
        """Pages that the device keeps media for, as far as it said."""
        self._stock = settings.credit_stock_pages
        self._interval_ns = settings.credit_interval_ns
        self._counters = counters
        self._under_way: CreditRequest | None = None
        self._number = 0
        self._next_ns = 0

    def request(self, writable: int, now_ns: int, *, node_open: bool) -> CreditRequest | None:
        """What to ask now, if anything. The answer must come back by `granted` or `unanswered`."""
        if not self.in_use:
            return None
        if not node_open:
            self._drop()
        if self._under_way is not None or now_ns < self._next_ns:
            return None
        wanted = self._stock - self.unspent if node_open and 2 * self.unspent <= self._stock else 0
        idle = self.promised - writable - self.unspent
        if not wanted and (idle == 0 if not node_open else 2 * idle <= self._stock):
            return None
        self._number += 1
        self._next_ns = now_ns + self._interval_ns
        self._under_way = CreditRequest(self._number, writable, self.unspent, wanted)
        return self._under_way

    def granted(self, number: int, pages: int) -> None:
        """The device answered. An answer to a request that was given up is none."""
        asked = self._under_way
        if asked is None or asked.number != number:
            return
        self._under_way = None
        self.unspent += pages
        self.promised = asked.writable + asked.unspent + pages
        self._counters.credits_granted += pages
        self._counters.credits_refused += asked.wanted - pages

    def unanswered(self, number: int) -> None:
        """The device did not answer, or not with a grant: what was promised before may still be."""
        if self._under_way is not None and self._under_way.number == number:
            self._under_way = None
            self._counters.credit_requests_unanswered += 1

    def spend(self) -> None:
        """A page is made writable."""
        assert self.unspent > 0, "a page was made writable without a credit"
        self.unspent -= 1
        self._counters.credits_spent += 1

    def reset(self) -> None:
        """The session is over, and its promises with it."""
        self._drop()
        self.promised = 0
        self._under_way = None
        self._next_ns = 0

    def _drop(self) -> None:
        self._counters.credits_dropped += self.unspent
        self.unspent = 0
