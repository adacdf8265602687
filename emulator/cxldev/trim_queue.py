"""TRIMs of one region whose media has not come back yet. In order; numbered 1, 2, 3, ..."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from cxldev.faults.hold import until

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from cxldev.faults.hold import Hold
    from cxldev.ledger import Account, Ledger


@dataclass(frozen=True, slots=True)
class _QueuedTrim:
    due_ns: int
    pages: int
    sectors: int
    holds: tuple[Hold, ...]
    """Faults that it is stuck in."""


class TrimQueue:
    """Waits in order, releases in order. The ledger holds the media meanwhile."""

    def __init__(self, ledger: Ledger, account: Account) -> None:
        self._ledger = ledger
        self._account = account
        self._waiting: deque[_QueuedTrim] = deque()
        self.last_number = 0
        """Of the newest TRIM that was queued; 0 before the first."""
        self.done_number = 0
        """Of the newest TRIM that was released."""
        self.released_bytes = 0
        """Media that TRIMs of this region gave back since it was attached."""

    def next_due_ns(self, armed: Container[str], now_ns: int) -> int | None:
        """When the oldest is to be released; None: there is none, or it is stuck in a fault."""
        return _due_ns(islice(self._waiting, 1), armed, now_ns) if self._waiting else None

    def due_ns(self, through: int, armed: Container[str], now_ns: int) -> int | None:
        """When all up to number `through` are to be released; None: not as long as these faults are armed."""
        return _due_ns(islice(self._waiting, max(0, through - self.done_number)), armed, now_ns)

    @property
    def waiting(self) -> list[tuple[int, int]]:
        """Pages and sectors of each TRIM in the queue, oldest first."""
        return [(trim.pages, trim.sectors) for trim in self._waiting]

    @property
    def memory(self) -> dict[str, Any]:
        """What `restore` makes the same queue of; faults that hold a TRIM are left out."""
        return {
            "done_number": self.done_number,
            "released_bytes": self.released_bytes,
            "waiting": [[trim.due_ns, trim.pages, trim.sectors] for trim in self._waiting],
        }

    def restore(self, memory: dict[str, Any], later_ns: int) -> None:
        """Into a new queue of a region whose account holds no queued pages; due so much later."""
        self.last_number = self.done_number = memory["done_number"]
        self.released_bytes = memory["released_bytes"]
        for due_ns, pages, sectors in memory["waiting"]:
            self._ledger.store(self._account, pages, sectors)
            self.push(pages, sectors, due_ns + later_ns)

    def push(self, pages: int, sectors: int, due_ns: int, holds: tuple[Hold, ...] = ()) -> None:
        """Stored pages were trimmed. Their media stays in use until `due_ns`, and until no fault holds it."""
        self._ledger.queue(self._account, pages, sectors)
        self._waiting.append(_QueuedTrim(due_ns, pages, sectors, holds))
        self.last_number += 1

    def release_due(self, armed: Container[str], now_ns: int) -> int:
        """Release all that is due, with these faults armed: how many pages that were."""
        pages = 0
        while self._waiting and self._waiting[0].due_ns <= now_ns:
            if any(hold.holds(armed, now_ns) for hold in self._waiting[0].holds):
                break
            trim = self._waiting.popleft()
            self.released_bytes += self._ledger.release(self._account, trim.pages, trim.sectors)
            self.done_number += 1
            pages += trim.pages
        return pages


def _due_ns(trims: Iterable[_QueuedTrim], armed: Container[str], now_ns: int) -> int | None:
    last_ns = now_ns
    for trim in trims:
        held_ns = until(trim.holds, armed, now_ns)
        if held_ns is None:
            return None
        last_ns = max(last_ns, trim.due_ns, held_ns)
    return last_ns
