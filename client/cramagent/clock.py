"""Where the agent's time and its threads come from: the machine, or an emulated world.

Everything in the agent that waits, or asks what time it is, does so through one `Clock`. `SYSTEM_CLOCK`
is the machine's. `cramlab.simulated` has one whose time stands still while code runs and jumps to
whatever is due next, so that the same code lives through an hour in seconds.
"""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Flag(Protocol):
    """A `threading.Event`, as far as the agent needs it."""

    def set(self) -> None:
        """Raise it: whoever waits goes on."""
        ...

    def clear(self) -> None:
        """Take it down again."""
        ...

    def is_set(self) -> bool:
        """Whether it is raised."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is raised, for so many seconds at most; whether it is."""
        ...


class Inbox(Protocol[T]):
    """A `queue.SimpleQueue`, likewise."""

    def put(self, item: T) -> None:
        """Add an item; never waits."""
        ...

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """The oldest item, waited for `timeout` seconds at most. Raises queue.Empty."""
        ...

    def get_nowait(self) -> T:
        """The oldest item, if there is one. Raises queue.Empty."""
        ...


class Task(Protocol):
    """A `threading.Thread`, likewise."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, for so many seconds at most."""
        ...

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        ...


class Clock(Protocol):
    """Time in ns, and what waits for it."""

    def now_ns(self) -> int:
        """Monotonic time: what the policy is called with."""
        ...

    def wall_ns(self) -> int:
        """Time since the epoch, as devices stamp their events."""
        ...

    def flag(self) -> Flag:
        """A flag that is not raised."""
        ...

    def start(self, name: str, run: Callable[[], None]) -> Task:
        """Run something beside what runs now. It does not keep the process alive."""
        ...

    def lend(self, name: str, run: Callable[[], None]) -> None:
        """As `start`, for work that comes often and that nobody joins. It must not raise."""
        ...

    def spend(self, *, accesses: int = 0, faults: int = 0) -> None:
        """A CPU made so many accesses to mapped pages, or handled so many faults: let that time pass.

        On a machine it has passed already.
        """
        ...


class SystemClock:
    """The machine's clocks and threads."""

    def __init__(self) -> None:
        self._idle: list[_Lent] = []

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """CLOCK_REALTIME."""
        return time.time_ns()

    def flag(self) -> Flag:
        """A threading.Event."""
        return threading.Event()

    def start(self, name: str, run: Callable[[], None]) -> Task:
        """A daemon thread."""
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def lend(self, name: str, run: Callable[[], None]) -> None:
        """A daemon thread that has done such work before, if one is idle: starting one takes 0.4 ms."""
        try:
            lent = self._idle.pop()
        except IndexError:
            lent = _Lent(self._idle)
            self.start(name, lent.serve)
        lent.work.put(run)

    def spend(self, *, accesses: int = 0, faults: int = 0) -> None:
        """It was spent while the code ran."""


class _Lent:
    """A thread that waits for work, and is among the idle meanwhile."""

    def __init__(self, idle: list[_Lent]) -> None:
        self.work: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = idle

    def serve(self) -> None:
        """One piece of work after the other."""
        while True:
            self.work.get()()
            self._idle.append(self)


SYSTEM_CLOCK: Final = SystemClock()
