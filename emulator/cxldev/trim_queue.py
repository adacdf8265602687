"""TRIMs of one region whose media has not come back yet. In order; numbered 1, 2, 3, ..."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxldev.ledger import Account, Ledger


@dataclass(frozen=True, slots=True)
class _QueuedTrim:
    due_ns: int
    pages: int
    sectors: int


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

    @property
    def next_due_ns(self) -> int | None:
        """When the oldest is to be released."""
        return self._waiting[0].due_ns if self._waiting else None

    @property
    def last_due_ns(self) -> int | None:
        """When the newest is to be released."""
        return self._waiting[-1].due_ns if self._waiting else None

    @property
    def waiting(self) -> list[tuple[int, int]]:
        """Pages and sectors of each TRIM in the queue, oldest first."""
        return [(trim.pages, trim.sectors) for trim in self._waiting]

    def push(self, pages: int, sectors: int, due_ns: int) -> None:
        """Stored pages were trimmed. Their media stays in use until `due_ns`."""
        self._ledger.queue(self._account, pages, sectors)
        self._waiting.append(_QueuedTrim(due_ns, pages, sectors))
        self.last_number += 1

    def release_due(self, now_ns: int) -> int:
        """Release all that is due: how many pages that were."""
        pages = 0
        while self._waiting and self._waiting[0].due_ns <= now_ns:
            trim = self._waiting.popleft()
            self.released_bytes += self._ledger.release(self._account, trim.pages, trim.sectors)
            self.done_number += 1
            pages += trim.pages
        return pages
