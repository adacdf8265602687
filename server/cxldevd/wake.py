"""A bell that threads wait for without missing a stroke."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxldevd.clock import Clock


class Wake:
    """Counts its strokes. Who notes the count first, looks, then waits for it to move, misses none.

    It has a lock of its own, held for microseconds, so that gRPC's threads may ring it at any time
    (a cancelled call does): they never wait for the device's lock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._condition = clock.condition()
        self._strokes = 0

    @property
    def strokes(self) -> int:
        """How often it was rung."""
        return self._strokes

    def ring(self) -> None:
        """Wake everybody who waits."""
        with self._condition:
            self._strokes += 1
            self._condition.notify_all()

    def wait(self, seen: int, deadline_ns: int | None = None) -> bool:
        """Wait until the bell was rung after `seen` strokes, or until the deadline.

        Returns:
            Whether it was rung.
        """
        with self._condition:
            while self._strokes == seen and (deadline_ns is None or self._clock.now_ns() < deadline_ns):
                self._clock.wait(self._condition, deadline_ns)
            return self._strokes != seen
