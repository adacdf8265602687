"""Room: how many pages are in flight at one time, and whose."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from cxldev.config import PAGE_BYTES
from cxldevd.errors import DeviceBusy


class InFlight:
    """Pages that are being written and read right now, or wait for their turn."""

    def __init__(self, limit_bytes: int, of_one_bytes: int | None = None) -> None:
        """`of_one_bytes`: how many one holder may have; None: all.

        Nobody has more than is left for others: whoever comes next finds room, however many want all.
        """
        self._limit_pages = max(1, limit_bytes // PAGE_BYTES)
        of_one = limit_bytes if of_one_bytes is None else of_one_bytes
        self._of_one_pages = max(1, of_one // PAGE_BYTES)
        self._lock = threading.Lock()
        self._pages = 0
        self._holders: dict[str, int] = {}

    @property
    def pages(self) -> int:
        """Of all calls."""
        return self._pages

    def hold(self, pages: int, holder: str = "") -> AbstractContextManager[None]:
        """Count these pages while this is entered. A request that is alone always has room.

        Raises:
            DeviceBusy: when it is entered, and too much is in flight.
        """
        return _Hold(self, pages, holder)

    def add(self, pages: int, holder: str) -> None:
        """Count them. Raises DeviceBusy."""
        with self._lock:
            mine = self._holders.get(holder, 0)
            if mine and mine + pages > self._of_one_pages:
                raise DeviceBusy(
                    f"{mine} pages of this host are in flight and {pages} more would pass its limit of "
                    f"{self._of_one_pages}; wait for an answer"
                )
            left = self._limit_pages - self._pages - pages
            if mine and len(self._holders) > 1 and mine + pages > left:
                raise DeviceBusy(
                    f"{mine} pages of this host are in flight and {pages} more would leave {max(0, left)} "
                    "for others; wait for an answer"
                )
            if self._pages and self._pages + pages > self._limit_pages:
                raise DeviceBusy(
                    f"{self._pages} pages are in flight and {pages} more would pass the limit of "
                    f"{self._limit_pages}; try again"
                )
            self._pages += pages
            self._holders[holder] = mine + pages

    def drop(self, pages: int, holder: str) -> None:
        """They are done."""
        with self._lock:
            self._pages -= pages
            left = self._holders[holder] - pages
            if left:
                self._holders[holder] = left
            else:
                del self._holders[holder]


class _Hold(AbstractContextManager[None]):
    """Pages in flight as a context: single pages are too many for a generator each."""

    __slots__ = ("_holder", "_in_flight", "_pages")

    def __init__(self, in_flight: InFlight, pages: int, holder: str) -> None:
        self._in_flight = in_flight
        self._pages = pages
        self._holder = holder

    def __enter__(self) -> None:
        self._in_flight.add(self._pages, self._holder)

    def __exit__(self, *_: object) -> None:
        self._in_flight.drop(self._pages, self._holder)
