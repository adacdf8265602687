"""Threads: who runs what, and how many at one time."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from google.rpc import code_pb2

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
_GIVEN_UP: Final = (
    f"its request did not come within {GIVEN_UP_S:g} s, and all {{most}} threads for such calls are taken; "
    "send the request with the call, or try again with fewer calls outstanding"
)


class _End:
    """Ends a call from outside, with a reason: one whose request did not come has no context yet."""

    __slots__ = ("_cancel",)

    def __init__(self, args: tuple[Any, ...]) -> None:
        # gRPC hands the event of the call's arrival over; there is no other way to it. What has none is
        # not ended.
        calls = (getattr(one, "call", None) for one in args)
        self._cancel: Callable[[int, str], Any] | None = next(
            (one.cancel for one in calls if one is not None), None
        )

    def __call__(self, why: str) -> bool:
        """UNAVAILABLE, and why. Returns whether it could be ended."""
        if self._cancel is None:
            return False
        self._cancel(code_pb2.UNAVAILABLE, why)
        return True


class _Call:
    """One call of a pool: where it stands."""

    __slots__ = ("arrived", "end", "ended", "parked", "pool", "since")

    def __init__(self, pool: CountedPool, args: tuple[Any, ...]) -> None:
        self.pool = pool
        self.since = time.monotonic()
        self.end = _End(args)
        self.ended = False
        self.arrived = False
        """Its request is here: what it waits for from now on, it waits for in our code."""
        self.parked = False
        """It waits, and its place is another's."""


class CountedPool(ThreadPoolExecutor):
    """A thread pool that knows how many calls it has taken in and not finished.

    At most `threads` of them work at one time. A call that only waits (for a request that does not come,
    for a fault that holds its answer back) gives up its place, and one of `spare` more threads takes the
    next call: so nobody who waits keeps others waiting, until there are more of them than spare threads.
    A call that is done with waiting goes on at once, beside the others. Of calls that wait for their turn,
    one host has no more than there are threads left for others.
    """

    def __init__(self, threads: int, name: str, spare: int = 0) -> None:
        super().__init__(threads + spare, thread_name_prefix=f"cxldevd-{name}")
        self._places = threads
        self._most = threads + spare
        self._lock = threading.Lock()
        self._backed_up = threading.Condition(self._lock)
        self._pending = self._working = 0
        self._running: set[_Call] = set()
        self._waiting_of: Counter[str] = Counter()
        """Calls of a host that wait for their turn."""
        self._backlog: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = (
            deque()
        )
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
            self._backlog.append((waiting, fn, args, kwargs))
            self._oversee()
            return waiting

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As `ThreadPoolExecutor.shutdown`."""
        with self._lock:
            self._ended = True
            dropped = list(self._backlog) if cancel_futures else []
            if cancel_futures:
                self._backlog.clear()
            self._backed_up.notify_all()
        for future, *_ in dropped:
            future.cancel()
        super().shutdown(wait, cancel_futures=cancel_futures)
        if wait and self._overseer is not None:
            self._overseer.join()

    @contextmanager
    def giving_up(self, call: _Call, host: str = "") -> Iterator[None]:
        """The call waits while this is entered: its place is another's. `host`: whose turn it waits for."""
        with self._lock:
            self._park(call)
            if host:
                self._waiting_of[host] += 1
        try:
            yield
        finally:
            if host:
                with self._lock:
                    self._waiting_of[host] -= 1
                    if not self._waiting_of[host]:
                        del self._waiting_of[host]
            self.takes_up(call)

    def refuse_if_short(self, host: str) -> None:
        """For a call that may have to wait for its host's turn.

        Raises:
            DeviceBusy: as many of that host wait already as there are threads left.
        """
        with self._lock:
            waiting, left = self._waiting_of[host], self._most - len(self._running)
        if waiting > left:
            raise DeviceBusy(
                f"{waiting} calls of this host wait for their turn, and the {left} threads that are left are "
                "for others; wait for an answer"
            )

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

    def _let_in(self) -> None:
        while self._backlog and self._has_room:
            future, fn, args, kwargs = self._backlog.popleft()
            super().submit(self._run_late, self._admit(args), future, fn, args, kwargs)

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

    def _run_late(
        self,
        call: _Call,
        future: Future[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        if not future.set_running_or_notify_cancel():
            self._run(call, _nothing, (), {})
            return
        try:
            future.set_result(self._run(call, fn, args, kwargs))
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
        late = [one for one in self._running if not (one.arrived or one.ended) and one.since <= before]
        # No more than others need: the rest may be on their way, from a host that has much to send.
        late = sorted(late, key=lambda one: one.since)[: len(self._backlog)]
        for call in late:
            call.ended = True
        ended = sum(call.end(_GIVEN_UP.format(most=self._most)) for call in late)
        if ended:
            log_event("unsent_calls_ended", level=logging.WARNING, calls=ended)


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


def settles() -> None:
    """The call on this thread has its request, and a thread of its own from now on.

    It is to stay: it gives no place up where it waits, and nobody is short of threads for its sake.
    """
    arrived()
    _of_thread.call = None


def ender() -> Callable[[str], bool]:
    """What ends the call on this thread from another one: UNAVAILABLE, and why. Not once it `settles`."""
    call: _Call | None = getattr(_of_thread, "call", None)
    return _End(()) if call is None else call.end


def parked(host: str = "") -> AbstractContextManager[None]:
    """While this is entered, the call on this thread only waits: another may have its place.

    `host`: whose turn it waits for, if that is what it does.
    """
    call: _Call | None = getattr(_of_thread, "call", None)
    return nullcontext() if call is None else call.pool.giving_up(call, host)


def refuse_if_short(host: str) -> None:
    """For a call on this thread that may have to wait for its host's turn: see `CountedPool.refuse_if_short`.

    Raises:
        DeviceBusy: too many of that host wait already.
    """
    call: _Call | None = getattr(_of_thread, "call", None)
    if call is not None:
        call.pool.refuse_if_short(host)
