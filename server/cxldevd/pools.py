"""Threads and room: who runs what, and how much at one time."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from cxldev.config import PAGE_BYTES
from cxldevd.errors import DeviceBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

_P = ParamSpec("_P")
_T = TypeVar("_T")

SPARE_THREADS: Final = 4
"""Threads of a waiting pool beyond its slots: they tell callers that there is no slot."""


class CountedPool(ThreadPoolExecutor):
    """A thread pool that knows how many calls it has taken in and not finished."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=f"cxldevd-{name}")
        self._count_lock = threading.Lock()
        self._pending = 0

    @property
    def pending(self) -> int:
        """Calls that run or wait for a thread."""
        return self._pending

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """As `ThreadPoolExecutor.submit`, counted."""
        with self._count_lock:
            self._pending += 1
        try:
            future = super().submit(fn, *args, **kwargs)
        except RuntimeError:  # shut down
            self._one_less(None)
            raise
        future.add_done_callback(self._one_less)
        return future

    def _one_less(self, _: Any) -> None:
        with self._count_lock:
            self._pending -= 1


class Slots:
    """So many at one time; one more is refused, not queued. A part of them for each holder, at most."""

    def __init__(self, count: int, what: str, of_one: int | None = None) -> None:
        """`of_one`: how many one holder may have; None: all."""
        self._count = count
        self._what = what
        self._of_one = count if of_one is None else of_one
        self._given_back = threading.Condition(threading.Lock())
        self._taken = 0
        self._holders: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many there are now."""
        return self._taken

    def wait_below(self, count: int, timeout_s: float = 30.0) -> bool:
        """Wait until fewer than this are taken. Returns whether they are."""
        with self._given_back:
            return self._given_back.wait_for(lambda: self._taken < count, timeout_s)

    @contextmanager
    def one(self, holder: str = "") -> Iterator[None]:
        """Take a slot while this is entered.

        Raises:
            DeviceBusy: all are taken, or all that this holder may have.
        """
        with self._given_back:
            if self._taken >= self._count:
                raise DeviceBusy(f"all {self._count} {self._what} are taken; close one or try again later")
            if self._holders[holder] >= self._of_one:
                raise DeviceBusy(
                    f"all {self._of_one} {self._what} that one host may have are taken; close one"
                )
            self._taken += 1
            self._holders[holder] += 1
        try:
            yield
        finally:
            with self._given_back:
                self._taken -= 1
                self._holders[holder] -= 1
                if not self._holders[holder]:
                    del self._holders[holder]
                self._given_back.notify_all()


class InFlight:
    """Pages that are being written and read right now."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_pages = max(1, limit_bytes // PAGE_BYTES)
        self._lock = threading.Lock()
        self._pages = 0

    @property
    def pages(self) -> int:
        """Of all calls."""
        return self._pages

    def hold(self, pages: int) -> AbstractContextManager[None]:
        """Count these pages while this is entered. A request that is alone always has room.

        Raises:
            DeviceBusy: when it is entered, and too much is in flight.
        """
        return _Hold(self, pages)

    def add(self, pages: int) -> None:
        """Count them. Raises DeviceBusy."""
        with self._lock:
            if self._pages and self._pages + pages > self._limit_pages:
                raise DeviceBusy(
                    f"{self._pages} pages are in flight and {pages} more would pass the limit of "
                    f"{self._limit_pages}; try again"
                )
            self._pages += pages

    def drop(self, pages: int) -> None:
        """They are done."""
        with self._lock:
            self._pages -= pages


class _Hold(AbstractContextManager[None]):
    """Pages in flight as a context: single pages are too many for a generator each."""

    __slots__ = ("_in_flight", "_pages")

    def __init__(self, in_flight: InFlight, pages: int) -> None:
        self._in_flight = in_flight
        self._pages = pages

    def __enter__(self) -> None:
        self._in_flight.add(self._pages)

    def __exit__(self, *_: object) -> None:
        self._in_flight.drop(self._pages)
