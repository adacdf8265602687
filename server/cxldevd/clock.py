"""Where the service's time comes from: the machine, or a test that moves it by hand."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from types import TracebackType


class Condition(Protocol):
    """A `threading.Condition`, as far as waiting by a clock needs it. Entered to take its lock."""

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified, for so many seconds at most. Whether it was."""
        ...

    def notify_all(self) -> None:
        """Wake everybody who waits."""
        ...


_LONGEST_WAIT_S: Final = 3600.0
"""A wait is cut into pieces of this, s: what a condition takes at most differs between platforms."""


class Clock(Protocol):
    """Monotonic time for the device, wall time for people, and waiting, all in ns."""

    @abstractmethod
    def now_ns(self) -> int:
        """Monotonic time: what the device is called with."""

    @abstractmethod
    def wall_ns(self) -> int:
        """Time since the epoch."""

    @abstractmethod
    def condition(self) -> Condition:
        """A new condition that `wait` can wait on."""

    @abstractmethod
    def wait(self, condition: Condition, deadline_ns: int | None) -> None:
        """Wait, holding the condition, until it is notified or the deadline has come.

        May return early; the caller looks again. `None` is no deadline.
        """


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()

    def condition(self) -> Condition:
        """Of threads."""
        return threading.Condition(threading.Lock())

    def wait(self, condition: Condition, deadline_ns: int | None) -> None:
        """Wait in real time."""
        if deadline_ns is None:
            condition.wait()
        elif (left_ns := deadline_ns - self.now_ns()) > 0:
            condition.wait(min(left_ns / 1e9, _LONGEST_WAIT_S))


class ManualClock:
    """A clock that stands still until `advance` moves it: leases run out without anyone sleeping."""

    def __init__(self, now_ns: int = 0, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._wall_offset_ns = wall_ns - now_ns
        self._lock = threading.Lock()
        self._new_waiter = threading.Condition(self._lock)
        self._waiting: list[tuple[Condition, int]] = []

    def now_ns(self) -> int:
        """As far as it was moved."""
        return self._now_ns

    def wall_ns(self) -> int:
        """Moves with the monotonic time."""
        return self._now_ns + self._wall_offset_ns

    def condition(self) -> Condition:
        """Of threads."""
        return threading.Condition(threading.Lock())

    def wait(self, condition: Condition, deadline_ns: int | None) -> None:
        """Wait for a notification, or for `advance` to reach the deadline."""
        if deadline_ns is None:
            condition.wait()
            return
        with self._lock:
            if self._now_ns >= deadline_ns:
                return
            waiter = (condition, deadline_ns)
            self._waiting.append(waiter)
            self._new_waiter.notify_all()
        try:
            condition.wait()
        finally:
            with self._lock:
                self._waiting.remove(waiter)

    def advance(self, ns: int) -> None:
        """Move time forward and wake all who wait for a deadline."""
        with self._lock:
            self._now_ns += ns
            waiting = [condition for condition, _ in self._waiting]
        # A waiter that saw the old time holds its condition until it really waits, so none is missed.
        for condition in waiting:
            with condition:
                condition.notify_all()

    def set_wall(self, wall_ns: int) -> None:
        """Set the wall clock, as NTP does; monotonic time is not moved."""
        self._wall_offset_ns = wall_ns - self._now_ns

    def until_waited_for(self, deadline_ns: int, waiters: int = 1, timeout_s: float = 30.0) -> bool:
        """Wait, in real time, until so many threads wait for exactly this deadline: whether they do."""

        def enough() -> bool:
            return sum(one == deadline_ns for _, one in self._waiting) >= waiters

        with self._new_waiter:
            return self._new_waiter.wait_for(enough, timeout_s)
