"""Waiting for a lane's bell awake for a while: to sleep and be woken costs more than a small command."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import select

_LONGEST_REST: Final = 16
"""Turns."""


class Patience:
    """Looks a while before one sleeps: measured, a sleeper is woken 20 to 70 us late.

    It lets whoever else has work go first, so that it costs only a processor that is idle. Where it did
    not pay, it is left be for some turns, for twice as many each time.
    """

    def __init__(self, look_ns: int) -> None:
        """`look_ns`: how long it looks at most."""
        self._look_ns = look_ns
        self._rest = 0
        self._next_rest = 1

    def look(self, poll: select.poll, look_ns: int | None = None) -> list[tuple[int, int]]:
        """What happened within a short time; empty if nothing did, or it is not worth a look.

        `look_ns`: how short, if it is another than usual.
        """
        if self._rest:
            self._rest -= 1
            return []
        until_ns = time.monotonic_ns() + (self._look_ns if look_ns is None else look_ns)
        while time.monotonic_ns() < until_ns:
            events = poll.poll(0)
            if events:
                self._next_rest = 1
                return events
            # Without it, two that look for each other on one processor wait for the end of their slices.
            os.sched_yield()
        self._rest = self._next_rest
        self._next_rest = min(2 * self._next_rest, _LONGEST_REST)
        return []
