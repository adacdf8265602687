"""Deadlines of what waits for answers: who is late is told so, on a thread that sleeps until one could be."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Final, Protocol

_LINGER_S: Final = 30.0


class Waits(Protocol):
    """Something that waits until a deadline."""

    def late(self) -> None:
        """It has passed."""
        ...


class Deadlines:
    """All of one host."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[Waits, float] = {}
        self._looks_at: float | None = None
        """None: nobody looks."""

    def expect(self, who: Waits, deadline: float | None) -> None:
        """It waits until this `monotonic()`. None: it waits for nothing."""
        with self._changed:
            if deadline is None:
                self._due.pop(who, None)
                return
            self._due[who] = deadline
            if self._looks_at is None:
                self._looks_at = deadline
                threading.Thread(target=self._run, name="transfer-deadlines", daemon=True).start()
            elif deadline < self._looks_at:
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due:
                    self._looks_at = None
                    return
                now = monotonic()
                late = [one for one, deadline in self._due.items() if deadline <= now]
                for one in late:
                    del self._due[one]
                if not late:
                    # As long as anything is asked now and then, one thread does for all of it.
                    self._looks_at = min(self._due.values(), default=now + _LINGER_S)
                    self._changed.wait(self._looks_at - now)
            for one in late:
                one.late()
