"""Pressure, 0..1000: what the node's watermarks and refusals add up to, and the gate that it works.

    level       above high   high   medium   low   critical   no more writes, region limit
    pressure         0         0      500    750     1000                1000

The kernel's CRAM sets 1000 at the low threshold and 0 at the high one; the levels between are this
table's, so that the watermark boost and the budget's cut can be in proportion. With the settings'
defaults (close at 750, open at 250) the node closes when the level falls to low and opens when it is
back at high: medium does neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cramagent.policy.answers import NodeReading
    from cramagent.policy.counters import HostCounters, NodeCounters
    from cramagent.policy.settings import PolicySettings

MOST: Final = 1000
OF_WATERMARK: Final = {1: 0, 2: 0, 3: 500, 4: 750, 5: MOST}
"""Pressure of each `cramwire.v1.WatermarkLevel`."""


class Gate:
    """Open or closed, with two thresholds: between them it stays as it is."""

    def __init__(
        self, settings: PolicySettings, counters: HostCounters, of_node: NodeCounters, room_bytes: int
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._of_node = of_node
        self._room_bytes = room_bytes
        """Free media that is worth opening for, after the region's limit or the device's end was met: one
        whole batch (but never more than a sixteenth of the limit, or a small region would close for good)."""
        self.reset()

    def reset(self) -> None:
        """A new node: no pressure, open."""
        self.pressure = 0
        self.closed = False
        self._level = 0
        self._no_more_writes = False
        self._refused = False
        """A write was refused, and no reading since has shown room."""
        self._least_free: int | None = None
        """Of the readings since then, the least free media, bytes."""
        self._region_limit = False

    def reading(self, reading: NodeReading) -> None:
        """Telemetry, or an event with it.

        A refusal counts for more than a reading that does not know of it: what that shows free may be
        other regions' guarantees, or may have been free before. It holds until the device itself has
        said that it takes no more (then its word ends it, too), until a batch's room more than the
        least since is free, or until nothing is stored in the region: another try costs nothing then.
        """
        room = min(self._room_bytes, reading.region_limit_bytes // 16)
        if reading.no_more_writes and not self._no_more_writes and not self._refused:
            self._counters.no_more_writes += 1
            self._of_node.no_more_writes += 1
        self._no_more_writes = reading.no_more_writes
        self._level = OF_WATERMARK[reading.watermark]
        if reading.region_free_bytes >= room:
            self._region_limit = False
        elif not reading.region_free_bytes:
            # Also without a refusal: the limit may have been set below what the region holds.
            self._region_limit = True
        if self._refused:
            free = reading.media_free_bytes
            least = self._least_free = free if self._least_free is None else min(free, self._least_free)
            if reading.no_more_writes or not reading.stored_pages or free >= least + max(room, 1):
                self._refused = False
        self._work()

    def refused_no_more_writes(self) -> None:
        """A write came back: the device takes no more. Holds until a reading shows more room."""
        if not self._no_more_writes and not self._refused:
            self._counters.no_more_writes += 1
            self._of_node.no_more_writes += 1
        self._refused = True
        self._least_free = None
        self._work()

    def refused_region_limit(self) -> None:
        """A write came back: the region is at its limit. Holds until a reading shows a batch's room."""
        self._region_limit = True
        self._work()

    def _work(self) -> None:
        stopped = self._no_more_writes or self._refused or self._region_limit
        self.pressure = MOST if stopped else self._level
        if not self.closed and self.pressure >= self._settings.close_pressure:
            self.closed = True
            self._counters.node_closes += 1
            self._of_node.closes += 1
        elif self.closed and self.pressure <= self._settings.open_pressure:
            self.closed = False
            self._counters.node_opens += 1
            self._of_node.opens += 1
