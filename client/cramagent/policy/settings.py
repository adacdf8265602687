"""What an administrator may set about the policy. One field each, defaults first; checked here, once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cramagent.policy.effects import Tier

PAGE_BYTES = 4096
NS_PER_MS = 1_000_000
LEAST_DRAM_PAGES = 16
"""Fewer leave reclaim nothing to choose from."""
MOST_NODES = 64
"""Each costs its daemons a look a turn."""


class SettingError(ValueError):
    """A setting that the policy cannot have; the message says which and why."""


class Mapping(Enum):
    """What demotion leaves in the page tables."""

    FAULT = "fault"
    """The vswap entry; the first read maps the device page R/O (the mail's way)."""
    RESIDENT = "resident"
    """An R/O mapping at once: reads never fault."""


class Budget(Enum):
    """Who says how many device pages may be writable."""

    PAGES = "pages"
    """The host: `budget_pages` at one time."""
    TOKENS = "tokens"
    """The device: each mkwrite spends a write credit that it granted."""


class Admission(Enum):
    """When demotion stops."""

    OPTIMISTIC = "optimistic"
    """When the device says so."""
    UPPER_BOUND = "upper-bound"
    """Before: every page allocated since the last capacity reading counts 4096 bytes."""


class Placement(Enum):
    """Which of several nodes a batch of demotions is offered to first. The next gets what that one left."""

    FILL = "fill"
    """The first one that is open and not full, in the order in which the devices were named."""
    ROUND_ROBIN = "round-robin"
    """The one after the node that was first offered the batch before."""
    MOST_FREE = "most-free"
    """The one with the most free media, as far as the last readings say."""


class OnBusError(Enum):
    """What follows a store that the device could not take."""

    KILL = "kill"
    """The address space dies, counted."""
    RESCUE = "rescue"
    """The page is promoted with the store applied."""


class Writeback(Enum):
    """Which tiers lie behind the node."""

    ZSWAP = "zswap"
    """zswap, then the swap file."""
    SWAPFILE = "swapfile"

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """In the order in which they are tried."""
        return (Tier.ZSWAP, Tier.SWAPFILE) if self is Writeback.ZSWAP else (Tier.SWAPFILE,)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """All of the policy's dials. Times in ns, sizes in pages unless the name says bytes.

    Raises:
        SettingError: a value that cannot be.
    """

    dram_pages: int
    """DRAM frames that the address spaces may use."""
    nodes: int = 1
    """Private memory nodes, one for each device."""
    placement: Placement = Placement.FILL
    mapping: Mapping = Mapping.FAULT
    budget: Budget = Budget.PAGES
    budget_pages: int = 0
    """The writable budget: device pages mapped writable at one time, on all nodes. 0: always promote."""
    credit_stock_pages: int = 256
    """Unspent write credits to have of each device (`budget = tokens`); more are asked for at half of it."""
    credit_interval_ns: int = 100 * NS_PER_MS
    """Between two requests for credits."""
    admission: Admission = Admission.OPTIMISTIC
    on_bus_error: OnBusError = OnBusError.KILL
    writeback: Writeback = Writeback.ZSWAP

    close_pressure: int = 750
    """At this pressure (0..1000) the node closes: no new demotion, entries are written back."""
    open_pressure: int = 250
    """At or under this pressure it opens again."""

    low_watermark_milli: int = 40
    """kswapd wakes when free DRAM falls under this share of all (as the kernel's low watermark)."""
    high_watermark_milli: int = 80
    """... and reclaims until this share is free."""
    watermark_boost_milli: int = 100
    """Added to the high watermark in proportion to pressure."""
    demote_batch_pages: int = 256
    writeback_batch_pages: int = 256
    reap_batch_pages: int = 1024
    """vswap entries that one pass of the reaper looks at."""
    trim_buffer_pages: int = 16_384
    """Freed device pages of a node that may wait for TRIM; beyond it a free answers `buffer full`."""
    ranges_per_trim: int = 127
    trim_interval_ns: int = 1_000 * NS_PER_MS
    """Freed device pages wait at most so long for TRIM while the node is open (as the kernel's flush
    buffers are swapped), unless half of the buffer fills or no device page is free."""
    writeback_pause_ns: int = 50 * NS_PER_MS
    """Between two batches of writeback without a new reading: the device may have recovered meanwhile."""
    fault_around_pages: int = 1
    """An R/O fault maps its neighbours too, in an aligned window of so many pages. 1: itself alone."""
    read_ahead_pages: int = 8
    """A swap-in from the swap file brings its neighbours along, likewise: 2 to the `vm.page-cluster` of 3."""
    writable_age_ns: int = 2_000 * NS_PER_MS
    """A writable mapping not stored to for so long is made R/O again."""
    balloon_step_bytes: int = 8 << 20
    balloon_deflate_milli: int = 100
    """The ratio must recover by this share above what asked for the balloon before it deflates."""
    balloon_min_pages: int = 256
    """Stored pages under which the observed ratio says nothing."""

    @property
    def bounce_pages(self) -> int:
        """Frames kept out of the address spaces' DRAM: writeback moves pages to the tiers through them."""
        return min(64, self.dram_pages // 16)

    def __post_init__(self) -> None:
        checks = (
            (
                self.dram_pages >= LEAST_DRAM_PAGES,
                f"dram is at least {LEAST_DRAM_PAGES} pages (64KiB), not {self.dram_pages}",
            ),
            (1 <= self.nodes <= MOST_NODES, f"a host has 1 to {MOST_NODES} devices, not {self.nodes}"),
            (self.budget_pages >= 0, f"budget cannot be negative: {self.budget_pages}"),
            (self.credit_stock_pages >= 1, "the stock of write credits is at least one"),
            (self.credit_interval_ns >= 0, "the interval between requests for credits cannot be negative"),
            (
                0 <= self.open_pressure < self.close_pressure <= 1000,
                f"pressures: 0 <= open < close <= 1000, not {self.open_pressure}, {self.close_pressure}",
            ),
            (
                0 < self.low_watermark_milli < self.high_watermark_milli
                and self.high_watermark_milli + self.watermark_boost_milli <= 900
                and self.watermark_boost_milli >= 0,
                "0 < low < high watermark, and high + boost <= 900 per mille, must hold",
            ),
            (self.demote_batch_pages >= 1, "a demotion batch holds at least one page"),
            (self.writeback_batch_pages >= 1, "a writeback batch holds at least one page"),
            (self.reap_batch_pages >= 1, "a reaper's pass looks at at least one entry"),
            (self.trim_buffer_pages >= 1, "the TRIM buffer holds at least one page"),
            (self.ranges_per_trim >= 1, "a TRIM holds at least one range"),
            (self.trim_interval_ns >= 0, "the TRIM interval cannot be negative"),
            (self.writeback_pause_ns >= 0, "the pause of writeback cannot be negative"),
            (self.fault_around_pages >= 1, "fault-around is of at least one page: the one that faults"),
            (self.read_ahead_pages >= 1, "read-ahead is of at least one page: the one that faults"),
            (self.writable_age_ns > 0, "the age of writable mappings is above 0"),
            (self.balloon_step_bytes >= PAGE_BYTES, "the balloon's step is at least one page"),
            (self.balloon_deflate_milli >= 0, "the balloon's hysteresis cannot be negative"),
            (self.balloon_min_pages >= 1, "the balloon's sample is at least one page"),
        )
        for good, rule in checks:
            if not good:
                raise SettingError(rule)
