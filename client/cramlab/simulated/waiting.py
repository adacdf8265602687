"""What tasks of an emulated world wait for: flags, inboxes, conditions. As threading and queue have them."""

from __future__ import annotations

from collections import deque
from queue import Empty
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

    from cramlab.simulated.world import Waiter, World

T = TypeVar("T")


class _Queue:
    """Tasks that wait for one thing, in order."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: dict[Waiter, None] = {}

    def wait(self, timeout: float | None) -> bool:
        """Whether the task that calls was woken within so many seconds."""
        waiter = self._world.waiter()
        self._waiting[waiter] = None
        deadline_ns = None if timeout is None else self._world.now_ns + round(timeout * 1e9)
        try:
            return waiter.wait(deadline_ns)
        finally:
            self._waiting.pop(waiter, None)

    def wake(self, most: int | None = None) -> None:
        """Wake those that wait: all, or the first few."""
        for waiter in list(self._waiting)[:most]:
            del self._waiting[waiter]
            waiter.wake()


class EmulatedFlag:
    """A `threading.Event`."""

    def __init__(self, world: World) -> None:
        self._raised = False
        self._queue = _Queue(world)

    def set(self) -> None:
        """Raise it."""
        self._raised = True
        self._queue.wake()

    def clear(self) -> None:
        """Take it down."""
        self._raised = False

    def is_set(self) -> bool:
        """Whether it is raised."""
        return self._raised

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is raised, for so many seconds at most; whether it is."""
        return self._raised or self._queue.wait(timeout) or self._raised


class EmulatedInbox(Generic[T]):
    """A `queue.SimpleQueue`."""

    def __init__(self, world: World) -> None:
        self._items: deque[T] = deque()
        self._world = world
        self._queue = _Queue(world)

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        self._queue.wake(1)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """The oldest item, waited for `timeout` seconds at most. Raises queue.Empty."""
        if not self._items and (not block or not self._queue.wait(timeout)):
            raise Empty
        return self.get_nowait()

    def get_nowait(self) -> T:
        """The oldest item, if there is one. Raises queue.Empty."""
        if not self._items:
            raise Empty
        return self._items.popleft()


class EmulatedCondition:
    """A `threading.Condition`. Its lock is never contended: no other task runs before this one waits."""

    def __init__(self, world: World) -> None:
        self._queue = _Queue(world)

    def __enter__(self) -> bool:
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until notified, for so many seconds at most. Whether it was."""
        return self._queue.wait(timeout)

    def notify_all(self) -> None:
        """Wake everybody who waits."""
        self._queue.wake()
