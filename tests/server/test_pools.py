"""Threads of a pool: how many work at one time, and who stands in for those that wait."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cxldevd.pools import CountedPool, arrived, parked
from server_helpers import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def pool_of(threads: int, spare: int = 0) -> Iterator[CountedPool]:
    """A pool, shut down at the end."""
    pool = CountedPool(threads, "test", spare)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


class Station:
    """A call that stands still until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def working(self) -> None:
        """Its request is here, and it works."""
        arrived()
        self.reached.set()
        assert self.go.wait(DEADLINE_S)

    def waiting(self) -> None:
        """Its request is here, and it waits for something."""
        arrived()
        with parked():
            self.working()

    def unsent(self) -> None:
        """Its request is not here yet."""
        self.reached.set()
        assert self.go.wait(DEADLINE_S)
        arrived()


def test_calls_that_work_keep_others_waiting() -> None:
    """However many spare threads there are."""
    with pool_of(1, spare=4) as pool:
        first, second = Station(), Station()
        pool.submit(first.working)
        assert first.reached.wait(DEADLINE_S)
        behind = pool.submit(second.working)
        assert not behind.running()
        assert pool.pending == 2
        first.go.set()
        assert second.reached.wait(DEADLINE_S)
        second.go.set()
        behind.result(DEADLINE_S)
    assert pool.pending == 0


def test_calls_that_wait_keep_nobody_waiting() -> None:
    """As many as there are spare threads; and they can go on while another works."""
    with pool_of(1, spare=2) as pool:
        stations = [Station() for _ in range(3)]
        waiting = [pool.submit(station.waiting) for station in stations]
        assert all(station.reached.wait(DEADLINE_S) for station in stations)
        behind = pool.submit(lambda: "done")
        assert not behind.done()  # there are no more threads
        stations[0].go.set()
        assert behind.result(DEADLINE_S) == "done"
        for station in stations:
            station.go.set()
        for future in waiting:
            future.result(DEADLINE_S)


def test_calls_without_a_request_keep_nobody_waiting_for_long() -> None:
    """They are passed by; when their request comes, they go on."""
    with pool_of(1, spare=2) as pool:
        silent = Station()
        first = pool.submit(silent.unsent)
        assert silent.reached.wait(DEADLINE_S)
        assert [pool.submit(abs, -number).result(DEADLINE_S) for number in (1, 2, 3)] == [1, 2, 3]
        silent.go.set()
        first.result(DEADLINE_S)
        busy = Station()
        pool.submit(busy.working)
        assert busy.reached.wait(DEADLINE_S)
        assert not pool.submit(abs, 0).running()  # one place, as before
        busy.go.set()


def test_what_a_call_raises_is_its_own() -> None:
    """Also of one that waited for its turn; the pool goes on."""

    def broken() -> None:
        raise LookupError

    with pool_of(1, spare=1) as pool:
        busy = Station()
        pool.submit(busy.working)
        assert busy.reached.wait(DEADLINE_S)
        late, cancelled = pool.submit(broken), pool.submit(abs, 1)
        assert cancelled.cancel()
        busy.go.set()
        with pytest.raises(LookupError):
            late.result(DEADLINE_S)
        with pytest.raises(CancelledError):
            cancelled.result(DEADLINE_S)
        assert pool.submit(abs, -1).result(DEADLINE_S) == 1


def test_a_pool_that_is_shut_down_cancels_what_waits() -> None:
    """Nobody holds a future that never ends."""
    busy = Station()
    with pool_of(1, spare=1) as pool:
        pool.submit(busy.working)
        assert busy.reached.wait(DEADLINE_S)
        behind = pool.submit(abs, 1)
        pool.shutdown(wait=False, cancel_futures=True)
        busy.go.set()
        assert behind.cancelled()
        with pytest.raises(RuntimeError):
            pool.submit(abs, 1)
