"""What a stream of events is worth, event by event: new, seen before, or late, and whether some are missing.

Pure. A stream that nothing goes wrong with tells each event once, in order, and each event names the
one before it. Between host and device events may be lost, late, repeated or out of order.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Final

_REMEMBERED: Final = 1024
"""Events that are told apart from late ones. An older one that comes again counts as late."""


class Arrival(Enum):
    """What an event is to who follows the stream."""

    NEW = "new"
    NEW_BEHIND_A_GAP = "new behind a gap"
    """Something between it and what was seen before was lost, or is late."""
    REPEATED = "repeated"
    LATE = "late"
    """Later ones came before it: what it says of the device is no longer so."""


class EventOrder:
    """Follows the events of one session. `after` is the newest that is accounted for."""

    def __init__(self, after: int) -> None:
        self.after = after
        self._seen: OrderedDict[int, None] = OrderedDict()

    def arrived(self, sequence: int, previous: int) -> Arrival:
        """Take one event, and the one before it as the stream names it."""
        if sequence in self._seen:
            return Arrival.REPEATED
        self._seen[sequence] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if sequence <= self.after:
            return Arrival.LATE
        gap = previous > self.after
        self.after = sequence
        return Arrival.NEW_BEHIND_A_GAP if gap else Arrival.NEW

    def passed(self, sequence: int) -> None:
        """The device itself says that events up to this one are not to be had."""
        self.after = max(self.after, sequence)
