"""Threads and room: who runs what, and how much at one time."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from cxldev.config import PAGE_BYTES
from cxldevd.errors import DeviceBusy
from cxldevd.log import log_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_P = ParamSpec("_P")
_T = TypeVar("_T")

SPARE_THREADS: Final = 4
"""Threads of a waiting pool beyond its slots: they tell callers that there is no slot."""


UNSENT_S: Final = 0.05
"""How long a call may wait for its request before others are let in beside it, s."""


GIVEN_UP_S: Final = 2.0
"""How long it may wait where others cannot be let in: then it is ended, s."""


class _Call:
    """One call of a pool: where it stands."""

    __slots__ = ("arrived", "end", "parked", "pool", "since")

    def __init__(self, pool: CountedPool, args: tuple[Any, ...]) -> None:
        self.pool = pool
        self.since = time.monotonic()
        # gRPC hands the event of the call's arrival over; there is no other way to end a call whose
        # request did not come, as nobody has its context yet. What has none is not ended.
        calls = (getattr(one, "call", None) for one in args)
        self.end: Callable[[], Any] | None = next((one.cancel for one in calls if one is not None), None)
        self.arrived = False
        """Its request is here: what it waits for from now on, it waits for in our code."""
        self.parked = False
        """It waits, and its place is another's."""


@dataclass(slots=True, eq=False)
class _Queued:
    """A call that waits for a place: to be run, or, without `fn`, on a thread that waits for `future`."""

    future: Future[Any]
    fn: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


class CountedPool(ThreadPoolExecutor):
    """A thread pool that knows how many calls it has taken in and not finished.

    At most `threads` of them work at one time. A call that only waits (for a request that does not come,
    for a fault that holds its answer back) gives up its place, and one of `spare` more threads takes the
    next call: so nobody who waits keeps others waiting, until there are more of them than spare threads.
    A call that is done with waiting goes on at once, beside the others. A thread of another pool may ask
    for a `place` among them.
    """

    def __init__(self, threads: int, name: str, spare: int = 0) -> None:
        super().__init__(threads + spare, thread_name_prefix=f"cxldevd-{name}")
        self._places = threads
        self._most = threads + spare
        self._lock = threading.Lock()
        self._backed_up = threading.Condition(self._lock)
        self._pending = self._working = 0
        self._running: set[_Call] = set()
        self._backlog: deque[_Queued] = deque()
        self._ended = False
        self._overseer: threading.Thread | None = None

    @property
    def pending(self) -> int:
        """Calls that run or wait for a thread."""
        return self._pending

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """As `ThreadPoolExecutor.submit`, counted."""
        with self._lock:
            if self._has_room:
                future = super().submit(self._run, self._admit(args), fn, args, kwargs)
                self._pending += 1
                return future
            if self._ended:
                raise RuntimeError("cannot schedule new calls after shutdown")
            self._pending += 1
            waiting: Future[_T] = Future()
            self._queue(_Queued(waiting, fn, args, kwargs))
            return waiting

    def place(self) -> AbstractContextManager[None]:
        """While this is entered, the calling thread, which is none of this pool's, works as one of its calls.

        Raises:
            DeviceBusy: when it is entered, and the pool is shut down.
        """
        return _Place(self)

    def enter(self) -> _Call:
        """For `place`."""
        call = _Call(self, ())
        call.arrived = True
        with self._lock:
            self._pending += 1
            if self._working < self._places:
                self._working += 1
                return call
            turn: Future[None] = Future()
            self._queue(_Queued(turn))
        try:
            turn.result()
        except CancelledError:
            raise DeviceBusy("the service is shutting down; try again when it is back") from None
        return call

    def leave(self, call: _Call) -> None:
        """For `place`."""
        with self._lock:
            self._pending -= 1
            self._working -= not call.parked
            if self._backlog:
                self._let_in()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `ThreadPoolExecutor.shutdown`."""
        with self._lock:
            self._ended = True
            dropped = list(self._backlog) if cancel_futures else []
            if cancel_futures:
                self._backlog.clear()
            self._backed_up.notify_all()
        for queued in dropped:
            queued.future.cancel()
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait and self._overseer is not None:
            self._overseer.join()

    @contextmanager
    def giving_up(self, call: _Call) -> Iterator[None]:
        """The call waits while this is entered: its place is another's."""
        with self._lock:
            self._park(call)
        try:
            yield
        finally:
            self.takes_up(call)

    def takes_up(self, call: _Call) -> None:
        """The call waits no more."""
        with self._lock:
            if call.parked:
                call.parked = False
                self._working += 1

    # -- inside: all but `_run` need the lock ------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        return self._working < self._places and len(self._running) < self._most

    def _admit(self, args: tuple[Any, ...]) -> _Call:
        call = _Call(self, args)
        self._running.add(call)
        self._working += 1
        return call

    def _park(self, call: _Call) -> None:
        if not call.parked:
            call.parked = True
            self._working -= 1
            self._let_in()

    def _queue(self, queued: _Queued) -> None:
        self._backlog.append(queued)
        self._oversee()

    def _let_in(self) -> None:
        while self._working < self._places:
            has_thread = len(self._running) < self._most
            queued = next((one for one in self._backlog if has_thread or one.fn is None), None)
            if queued is None:
                return
            self._backlog.remove(queued)
            if queued.fn is None:
                self._working += 1
                queued.future.set_result(None)
            else:
                super().submit(self._run_late, self._admit(queued.args), queued, queued.fn)

    def _run(self, call: _Call, fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
        _of_thread.call = call
        try:
            return fn(*args, **kwargs)
        finally:
            _of_thread.call = None
            with self._lock:
                self._pending -= 1
                self._running.discard(call)
                self._working -= not call.parked
                if self._backlog:
                    self._let_in()

    def _run_late(self, call: _Call, queued: _Queued, fn: Callable[..., Any]) -> None:
        future = queued.future
        if not future.set_running_or_notify_cancel():
            self._run(call, _nothing, (), {})
            return
        try:
            future.set_result(self._run(call, fn, queued.args, queued.kwargs))
        except BaseException as error:  # noqa: BLE001 - whoever holds the future is told, as of any other
            future.set_exception(error)

    def _oversee(self) -> None:
        """See to it that calls whose requests do not come are parked, or ended, while others wait."""
        if self._overseer is None and self._most > self._places:
            self._overseer = threading.Thread(target=self._park_unsent, name="cxldevd-overseer", daemon=True)
            self._overseer.start()
        if len(self._backlog) == 1:
            self._backed_up.notify_all()

    def _park_unsent(self) -> None:
        with self._lock:
            while not self._ended:
                if not self._backlog:
                    self._backed_up.wait()
                    continue
                # Not woken by each call that comes or goes: calls that work come and go quickly.
                self._backed_up.wait(UNSENT_S)
                before = time.monotonic() - UNSENT_S
                for call in [one for one in self._running if not one.arrived and one.since <= before]:
                    self._park(call)
                if self._backlog and not self._has_room:
                    self._end_unsent()

    def _end_unsent(self) -> None:
        """All threads are taken: whose request did not come for long makes room for others."""
        before = time.monotonic() - GIVEN_UP_S
        late = [one for one in self._running if not one.arrived and one.since <= before and one.end]
        for call in late:
            assert call.end is not None
            call.end()
            call.end = None
        if late:
            log_event("unsent_calls_ended", level=logging.WARNING, calls=len(late))


def _nothing() -> None:
    """What a call that was cancelled before it began does."""


_of_thread: Final = threading.local()


def arrived() -> None:
    """The request of the call on this thread is here."""
    call: _Call | None = getattr(_of_thread, "call", None)
    if call is not None and not call.arrived:
        call.arrived = True
        if call.parked:
            call.pool.takes_up(call)


def parked() -> AbstractContextManager[None]:
    """While this is entered, the call on this thread only waits: another may have its place."""
    call: _Call | None = getattr(_of_thread, "call", None)
    return nullcontext() if call is None else call.pool.giving_up(call)


class _Place(AbstractContextManager[None]):
    """A place in a pool as a context."""

    __slots__ = ("_before", "_call", "_pool")

    def __init__(self, pool: CountedPool) -> None:
        self._pool = pool

    def __enter__(self) -> None:
        call = self._pool.enter()
        self._before: _Call | None = getattr(_of_thread, "call", None)
        self._call = _of_thread.call = call

    def __exit__(self, *_: object) -> None:
        _of_thread.call = self._before
        self._pool.leave(self._call)


class InFlight:
    """Pages that are being written and read right now."""

    def __init__(self, limit_bytes: int, of_one_bytes: int | None = None) -> None:
        """`of_one_bytes`: how many one holder may have; None: all."""
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
