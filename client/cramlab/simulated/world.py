"""Emulated time: tasks that run one at a time, and a queue of what is due.

A task is ordinary blocking code on a stack of its own (a greenlet). It runs until it waits for something;
then the queue's next entry is taken, time jumps to it, and the task that it wakes goes on. While code runs
no time passes, unless it says so (`sleep`). Entries of the same time are taken in the order in which they
were made, so a run depends on nothing but its inputs.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from greenlet import GreenletExit, getcurrent, greenlet

if TYPE_CHECKING:
    from collections.abc import Callable


class Stuck(Exception):
    """Everybody waits, and nothing will ever happen again: a mistake of the simulation."""


class Timer:
    """Something that is due. May be cancelled."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], object]) -> None:
        self.act: Callable[[], object] | None = act

    def cancel(self) -> None:
        """It is due no more."""
        self.act = None


class World:
    """The time, ns since the world began, and what is due."""

    def __init__(self) -> None:
        self.now_ns = 0
        self._due: list[tuple[int, int, Timer]] = []
        self._made = 0
        self._hub = getcurrent()
        self._tasks: dict[Task, None] = {}

    # -- what is due --------------------------------------------------------------------------------

    def at(self, due_ns: int, act: Callable[[], object]) -> Timer:
        """Have something done then. It runs between tasks and must not wait."""
        timer = Timer(act)
        self._made += 1
        heapq.heappush(self._due, (max(due_ns, self.now_ns), self._made, timer))
        return timer

    def run(self, until: Callable[[], bool]) -> None:
        """Let time pass until the condition holds. What a task raises comes out here.

        Raises:
            Stuck: nothing is due any more, and it does not hold.
        """
        assert getcurrent() is self._hub, "a task cannot run the world that it lives in"
        while not until():
            if not self._due:
                raise Stuck(f"nothing is due after {self.now_ns} ns; waiting: {self._names()}")
            due_ns, _, timer = heapq.heappop(self._due)
            act, timer.act = timer.act, None
            if act is not None:
                self.now_ns = due_ns
                act()

    def end(self) -> None:
        """End all tasks where they wait, newest first."""
        for task in reversed(list(self._tasks)):
            task.kill()

    # -- tasks --------------------------------------------------------------------------------------

    def spawn(self, name: str, run: Callable[[], object]) -> Task:
        """A task that begins as soon as those that run now wait."""
        task = Task(self, name, run)
        self._tasks[task] = None
        self.at(self.now_ns, task.go_on)
        return task

    def sleep(self, ns: int) -> None:
        """Let time pass for the task that calls."""
        if ns > 0:
            self.at(self.now_ns + ns, getcurrent().switch)
            self._hub.switch()

    def waiter(self) -> Waiter:
        """One wait of the task that calls."""
        return Waiter(self)

    def to_hub(self) -> None:
        """Leave the task that calls, until somebody switches back to it."""
        assert getcurrent() is not self._hub, "only tasks can wait"
        self._hub.switch()

    def ended(self, task: Task) -> None:
        """Called by tasks."""
        self._tasks.pop(task, None)

    def _names(self) -> str:
        return ", ".join(task.name for task in self._tasks) or "nobody"


class Waiter:
    """One wait, made by the task that will wait. It is woken once; waking it before it waits counts."""

    __slots__ = ("_greenlet", "_woken", "_world")

    def __init__(self, world: World) -> None:
        self._world = world
        self._greenlet: greenlet | None = None
        self._woken = False

    def wait(self, deadline_ns: int | None = None) -> bool:
        """Wait until woken, or until the deadline; whether it was woken."""
        if self._woken:
            return True
        world = self._world
        if deadline_ns is not None and deadline_ns <= world.now_ns:
            return False
        self._greenlet = getcurrent()
        timer = None if deadline_ns is None else world.at(deadline_ns, self._greenlet.switch)
        try:
            world.to_hub()
        finally:
            self._greenlet = None
            if timer is not None:
                timer.cancel()
        return self._woken

    def wake(self) -> None:
        """End the wait. The task goes on once those that run now wait."""
        if not self._woken:
            self._woken = True
            self._world.at(self._world.now_ns, self._go_on)

    def _go_on(self) -> None:
        # It may have come to its deadline, or its end, in the meantime.
        if self._greenlet is not None:
            self._greenlet.switch()


class Task:
    """Code that runs beside other code, as a thread does."""

    def __init__(self, world: World, name: str, run: Callable[[], object]) -> None:
        self.name: Final = name
        self._world = world
        self._run = run
        self._greenlet: greenlet | None = None
        self._ended = False
        self._joining: list[Waiter] = []

    def go_on(self) -> None:
        """Begin: called by the world, between tasks."""
        if not self._ended:
            self._greenlet = greenlet(self._live)
            self._greenlet.switch()

    def _live(self) -> None:
        try:
            self._run()
        finally:
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._world.ended(self)
        for waiter in self._joining:
            waiter.wake()

    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return not self._ended

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, for so many seconds at most."""
        if not self._ended:
            waiter = self._world.waiter()
            self._joining.append(waiter)
            waiter.wait(None if timeout is None else self._world.now_ns + round(timeout * 1e9))

    def kill(self) -> None:
        """End it where it waits. Called by the world, between tasks."""
        if self._greenlet is not None and not self._ended:
            self._greenlet.throw(GreenletExit)
        if not self._ended:
            self._end()
