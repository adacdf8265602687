"""When the device changes its mind about how much media remains.

| level      | entered when free media is | left upwards when free media is   |
|------------|----------------------------|-----------------------------------|
| ABOVE_HIGH | above high                 | (the top)                         |
| HIGH       | at most high               | above high + hysteresis           |
| MEDIUM     | at most medium             | above medium + hysteresis         |
| LOW        | at most low                | above low + hysteresis            |
| CRITICAL   | at most critical           | above critical + hysteresis       |

A move over several levels is one move. No mark to leave is higher than all media but one byte: an empty
device is above every level, whatever the hysteresis. (A mark of all media is never left: free media
cannot be above it.) No more writes has two thresholds too, see `NoMoreWritesState`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldev.config import PAGE_BYTES
from cxldev.telemetry import WatermarkLevel

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig


class WatermarkGauge:
    """The level, moved by what is free. Bytes."""

    def __init__(self, config: DeviceConfig) -> None:
        marks, physical = config.watermarks, config.physical_capacity_bytes
        hysteresis = physical * marks.hysteresis_milli // 1000
        shares = (
            (WatermarkLevel.CRITICAL, marks.critical_milli),
            (WatermarkLevel.LOW, marks.low_milli),
            (WatermarkLevel.MEDIUM, marks.medium_milli),
            (WatermarkLevel.HIGH, marks.high_milli),
        )
        self._enter = [(level, physical * milli // 1000) for level, milli in shares]
        self._leave = [
            (level, max(mark, min(mark + hysteresis, physical - 1))) for level, mark in self._enter
        ]
        self.level = _level(physical, self._enter)
        leave = dict(self._leave)
        enter_next = {WatermarkLevel(level - 1): mark for level, mark in self._enter}
        self._stays = {
            level: (enter_next.get(level, -1), leave.get(level, physical)) for level in WatermarkLevel
        }
        """For each level: it is kept while more than the first is free, and at most the second."""

    def move(self, free_bytes: int) -> tuple[WatermarkLevel, WatermarkLevel] | None:
        """Take a reading. Returns (from, to) if the level changed."""
        above, at_most = self._stays[self.level]
        if above < free_bytes <= at_most:
            return None
        # The mark to enter is at or below the mark to leave: at most one of the two can ask for a move.
        level = max(_level(free_bytes, self._enter), min(self.level, _level(free_bytes, self._leave)))
        if level == self.level:
            return None
        moved = (self.level, level)
        self.level = level
        return moved


def _level(free_bytes: int, marks: list[tuple[WatermarkLevel, int]]) -> WatermarkLevel:
    """The most severe level whose mark is not exceeded."""
    for level, mark in marks:
        if free_bytes <= mark:
            return level
    return WatermarkLevel.ABOVE_HIGH


class NoMoreWritesState:
    """Entered at the first page that the media cannot take. Left when both of these hold.

    1. free media is above the critical watermark plus the hysteresis (no such floor where the critical
       watermark is 0; never more than all media free);
    2. one page that does not compress has room.

    It is a state of the whole device. A region that starves behind others' guarantees, or at its own limit,
    is no reason for it: the others can still write.
    """

    def __init__(self, config: DeviceConfig) -> None:
        marks, physical = config.watermarks, config.physical_capacity_bytes
        floor = physical * marks.critical_milli // 1000
        if floor:
            floor += physical * marks.hysteresis_milli // 1000
        self._floor_bytes = min(floor, physical - 1)
        self._page_bytes = min(PAGE_BYTES + config.metadata_bytes, physical)
        self.active = False

    def enter(self) -> bool:
        """A page did not fit the media. Returns whether that is the start of an episode."""
        first = not self.active
        self.active = True
        return first

    def left(self, free_bytes: int) -> bool:
        """Take a reading. Returns whether the episode is over."""
        if not self.active or free_bytes <= self._floor_bytes or free_bytes < self._page_bytes:
            return False
        self.active = False
        return True
