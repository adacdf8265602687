"""The threads of one lane: one listens for the bell, as many as there are cores work, the others sleep.

Measured on two cores: a third thread at work costs a fifth of the speed. Who hands a command to another
thread goes to sleep right after; by then the kernel has put the one that wakes behind the other core's work,
leaves it there for milliseconds, and the core that became free is idle. So a thread that is done with a
command takes the next one itself, and nobody is woken for work that no core is free for.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

CORES: Final = len(os.sched_getaffinity(0))

_Command = TypeVar("_Command")


class Crew(Generic[_Command]):
    """Who listens, works, waits, or sleeps; and commands that were heard while nobody was free for them."""

    def __init__(self, start: Callable[[], None], *, most: int, cores: int = CORES) -> None:
        """`start` starts one thread more, with the lock held; `most`: threads at one time, of any kind."""
        self.lock: Final = threading.Lock()
        """For a moment only. What else the threads share may be guarded with it, too."""
        self.threads = 0
        self._start = start
        self._most = most
        self._cores = cores
        self._called = threading.Condition(self.lock)
        self._put_off: deque[_Command] = deque()
        self._listens = False
        self._asleep = self._waiting = 0
        self._dismissed = False

    def begin(self) -> None:
        """The first thread."""
        with self.lock:
            self._call()

    def next(self) -> _Command | None:
        """This command is for the thread that asks; None: to listen is. It sleeps until there is either."""
        with self.lock:
            while True:
                if self._put_off:
                    return self._put_off.popleft()
                if not self._listens:
                    self._listens = True
                    return None
                self._asleep += 1
                self._called.wait()
                self._asleep -= 1

    def put_off(self, command: _Command) -> bool:
        """The thread that listens heard a large one. True: who works takes it later; it goes on listening."""
        with self.lock:
            if self._working < self._cores:
                return False
            self._put_off.append(command)
            return True

    def hand_on(self, *, at_once: bool = False) -> None:
        """The thread that listens goes to work. Another is called if a core is free, or `at_once`."""
        with self.lock:
            self._listens = False
            if at_once or self._dismissed or self._working < self._cores:
                self._call()

    def wait(self) -> None:
        """A thread that works is about to wait, and leaves its core to others. Needs the lock."""
        self._waiting += 1
        if (self._put_off or not self._listens) and self._working < self._cores:
            self._call()

    def go_on(self) -> None:
        """It is done with waiting. Needs the lock."""
        self._waiting -= 1

    def dismiss(self) -> None:
        """No thread is started from now on. Needs the lock."""
        self._dismissed = True

    def leave(self) -> bool:
        """A thread that does not listen ends, and wakes the next that shall. Was it the last?"""
        with self.lock:
            self.threads -= 1
            if self._put_off or (self._dismissed and not self._listens):
                self._call()
            return not self.threads

    @property
    def _working(self) -> int:
        """Threads that want a core, beside the one that listens."""
        return self.threads - self._asleep - self._waiting - self._listens

    def _call(self) -> None:
        if self._asleep:
            self._called.notify()
        elif not self._dismissed and self.threads < self._most:
            self._start()
            self.threads += 1
