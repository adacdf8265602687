"""How fast a run goes, and how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NS_PER_S: Final = 1_000_000_000
_CATCH_UP_BATCHES: Final = 8
"""Accesses that were due while the loop was busy elsewhere are made up for, up to so many batches."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how long. Times in ns; 0 is no limit."""

    interval_ns: int = NS_PER_S
    """Between the beginnings of two scans of the source."""
    rate: int = 2_000
    """Drawn accesses per second; 0: as many as can be had."""
    batch_pages: int = 64
    """Drawn accesses that are resolved together."""
    duration_ns: int = 0
    accesses: int = 0
    """Drawn accesses after which the run ends."""
    background_ns: int = 20_000_000
    """The daemons have a turn at least this often."""
    patience_ns: int = 10 * NS_PER_S
    """How long the end of the run waits for a device that does not answer, to read back what lies there."""


class DrawnPace:
    """When the next batch of drawn accesses is due. They begin when the source was stored once."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._since_ns = 0
        self._drawn = 0
        self.paused = False
        """The host's programs stand still."""

    @property
    def begun(self) -> bool:
        """Whether accesses are drawn, or would be."""
        return self._since_ns > 0

    @property
    def done(self) -> bool:
        """All that were asked for are drawn."""
        return self._pace.accesses > 0 and self._drawn >= self._pace.accesses

    def begin(self, now_ns: int) -> None:
        """From now on."""
        self._since_ns = now_ns

    def due(self, now_ns: int) -> int:
        """Accesses to draw now, in one batch; taken as drawn. 0: none."""
        if not self.begun or self.paused or self.done:
            return 0
        batch, rate = self._pace.batch_pages, self._pace.rate
        if rate:
            due = (now_ns - self._since_ns) * rate // NS_PER_S - self._drawn
            if due > _CATCH_UP_BATCHES * batch:
                # What cannot be made up for is forgotten: the clock starts anew.
                self._since_ns += (due - batch) * NS_PER_S // rate
            if due < batch:
                return 0
        if self._pace.accesses:
            batch = min(batch, self._pace.accesses - self._drawn)
        self._drawn += batch
        return batch

    def pause(self, now_ns: int, *, stand_still: bool) -> None:
        """Stand still, or go on: what was due meanwhile is not made up for."""
        if self.paused and not stand_still and self.begun and self._pace.rate:
            self._since_ns = now_ns - self._drawn * NS_PER_S // self._pace.rate
        self.paused = stand_still
