"""Device time: what a command would have cost on the device. Pure arithmetic in whole ns.

Of each page:

    write  base + compress (unless same-filled) + sectors * per_sector
    read   base + decompress (compressed pages) + sectors * per_sector
    read, held by the block cache: base
    TRIM, FLUSH: base for each range, base for a flush

The pages of a command are shared out to the engines; what else is in flight is waited for, up to the tail:

    service = max(longest page, ceil(sum of pages / engines))
    wait    = min(queue_tail, in_flight_pages * (base + decompress) // engines)
    device_ns = service + wait

The block cache is direct-mapped by page number. A command looks up all its pages before it fills any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cxldev.outcomes import COMPRESSED, SAME_FILLED
from cxldev.page_table import MOST_SECTORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import LatencyConfig

_REGION_SHIFT: Final = 44
"""Page numbers of emulated devices are far below 2^44."""
_REGIONS: Final = 1 << 18
"""Region numbers are told apart modulo this: what is left of 63 bits, with room to spare."""


class CachedBefore(NamedTuple):
    """Some places of the block cache, and what they held."""

    slots: NDArray[np.int64]
    tags: NDArray[np.int64]


class LatencyModel:
    """The model and its block cache."""

    def __init__(self, config: LatencyConfig) -> None:
        self._config = config
        self._slots = config.block_cache_pages
        self._tags = np.full(self._slots, -1, np.int64)

    def of_write(
        self,
        region: int,
        pages: NDArray[np.int64],
        kinds: NDArray[np.uint8],
        sectors: NDArray[np.int64],
        in_flight_pages: int,
    ) -> int:
        """Device ns of a write. The pages are in the block cache afterwards."""
        config = self._config
        if not len(pages):
            return 0
        self._fill(region, pages)
        total_ns = len(pages) * config.base_ns
        if config.per_sector_ns:
            total_ns += int(sectors.sum()) * config.per_sector_ns
        if config.compress_ns:
            total_ns += int(np.count_nonzero(kinds != SAME_FILLED)) * config.compress_ns
        longest_ns = config.base_ns + MOST_SECTORS * config.per_sector_ns + config.compress_ns
        if longest_ns * config.engines > total_ns:
            # Few pages: one of them may take longer than its engine's share of all.
            longest_ns = int(
                (sectors * config.per_sector_ns + (kinds != SAME_FILLED) * config.compress_ns).max()
            )
            longest_ns += config.base_ns
        else:
            longest_ns = 0
        return self._served(total_ns, longest_ns, in_flight_pages)

    def of_single_write(
        self, region: int, page: int, sectors: int, in_flight_pages: int, *, same_filled: bool
    ) -> int:
        """As `of_write`, for one page."""
        config = self._config
        if self._slots:
            tag = _tag(region, page)
            self._tags[tag % self._slots] = tag
        cost = config.base_ns + sectors * config.per_sector_ns
        if not same_filled:
            cost += config.compress_ns
        return self._served(cost, cost, in_flight_pages)

    def of_read(
        self,
        region: int,
        pages: NDArray[np.int64],
        kinds: NDArray[np.uint8],
        sectors: NDArray[np.int64],
        in_flight_pages: int,
    ) -> int:
        """Device ns of a read. Its compressed pages are in the block cache afterwards."""
        config = self._config
        if len(pages) == 1:
            return self.of_single_read(region, pages.item(), kinds.item(), sectors.item(), in_flight_pages)
        packed = kinds == COMPRESSED
        costs = packed * config.decompress_ns + sectors * config.per_sector_ns
        if self._slots:
            tags = _tags(region, pages)
            costs[self._tags[tags % self._slots] == tags] = 0
            kept = tags[packed]
            self._tags[kept % self._slots] = kept
        costs += config.base_ns
        return self._served(int(costs.sum()), int(costs.max()), in_flight_pages)

    def of_single_read(self, region: int, page: int, kind: int, sectors: int, in_flight_pages: int) -> int:
        """As `of_read`, for one page."""
        config = self._config
        cost = config.base_ns
        tag = _tag(region, page)
        slot = tag % self._slots if self._slots else 0
        if not self._slots or self._tags.item(slot) != tag:
            cost += sectors * config.per_sector_ns
            if kind == COMPRESSED:
                cost += config.decompress_ns
        if self._slots and kind == COMPRESSED:
            self._tags[slot] = tag
        return self._served(cost, cost, in_flight_pages)

    def of_command(self, parts: int) -> int:
        """Device ns of a TRIM with so many ranges, or of a flush (one part)."""
        return parts * self._config.base_ns

    def forget(self, region: int, pages: NDArray[np.int64]) -> None:
        """These pages were trimmed or poisoned: the block cache drops them."""
        if self._slots:
            tags = _tags(region, pages)
            slots = tags % self._slots
            self._tags[slots[self._tags[slots] == tags]] = -1

    def cached_before(self, region: int, pages: NDArray[np.int64]) -> CachedBefore:
        """What the block cache holds where these pages would go."""
        slots = _tags(region, pages) % self._slots if self._slots else pages[:0]
        return CachedBefore(slots, self._tags[slots])

    def put_back(self, before: CachedBefore) -> None:
        """What was read since was not read."""
        self._tags[before.slots] = before.tags

    def _fill(self, region: int, pages: NDArray[np.int64]) -> None:
        if self._slots:
            tags = _tags(region, pages)
            self._tags[tags % self._slots] = tags

    def _served(self, total_ns: int, longest_ns: int, in_flight_pages: int) -> int:
        config = self._config
        engines = config.engines
        service = max(longest_ns, -(-total_ns // engines))
        wait = in_flight_pages * (config.base_ns + config.decompress_ns) // engines
        return service + min(config.queue_tail_ns, wait)


def _tags(region: int, pages: NDArray[np.int64]) -> NDArray[np.int64]:
    return pages + _tag(region, 0)


def _tag(region: int, page: int) -> int:
    return page + (region % _REGIONS << _REGION_SHIFT)
