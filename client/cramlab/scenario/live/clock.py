"""Time zero of a live run, on both clocks of this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ZeroPoint:
    """The moment from which a scenario counts."""

    monotonic_ns: int
    wall_ns: int

    @classmethod
    def now(cls) -> ZeroPoint:
        """This moment."""
        return cls(time.monotonic_ns(), time.time_ns())

    def elapsed_ns(self) -> int:
        """Since then."""
        return time.monotonic_ns() - self.monotonic_ns

    def of_wall(self, wall_time_ns: int) -> int:
        """Since then, of a time that a process on this machine told."""
        return wall_time_ns - self.wall_ns

    def sleep_until(self, at_ns: int) -> None:
        """Until so long after then; not at all if that is past."""
        time.sleep(max(0, at_ns - self.elapsed_ns()) / 1e9)
