"""What a device is built from: sizes, watermarks, latencies. All values are checked here, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from cxldev.errors import ConfigError

PAGE_BYTES: Final = 4096
"""The unit of compression, bytes: one Linux base page."""

NS_PER_SECOND: Final = 1_000_000_000

# Upper bounds. With them no sum of the model leaves 63 bits, no field of the wire overflows, and the
# sparse maps of two power-ons fit a process's address space (47 bits).
MOST_PHYSICAL_BYTES: Final = 8 << 40
MOST_PAGES_PER_REQUEST: Final = 1 << 15
MOST_RANGES_PER_TRIM: Final = 1 << 16
MOST_REGIONS: Final = 1 << 16
MOST_EVENT_LOG_ENTRIES: Final = 1 << 20
MOST_BLOCK_CACHE_PAGES: Final = 1 << 24
MOST_ENGINES: Final = 1 << 16
LONGEST_LATENCY_NS: Final = 3600 * NS_PER_SECOND
"""Of each part of the model. A page has 66 parts at most: times the pages of a request, below 2^63."""
LONGEST_NS: Final = 365 * 24 * 3600 * NS_PER_SECOND
"""Of a lease, of the TRIM delay and of the staging delay: a year."""


class ExhaustionMode(Enum):
    """What the device does with a page that does not fit."""

    REFUSE = "refuse"
    """End the write with `NoMoreWrites`; the page keeps its old bytes."""
    POISON = "poison"
    """Acknowledge the write and poison the page, as the OCP tiered memory expander specification allows."""


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Where each level begins, per mille of physical capacity that remains free.

    The four levels are those of the OCP tiered memory expander specification. A level is entered
    when free media falls to its watermark, and left only when free media rises above the watermark
    plus the hysteresis.
    """

    high_milli: int = 500
    medium_milli: int = 250
    low_milli: int = 125
    critical_milli: int = 50
    hysteresis_milli: int = 25

    def __post_init__(self) -> None:
        if not 1000 >= self.high_milli > self.medium_milli > self.low_milli > self.critical_milli >= 0:
            raise ConfigError(
                "watermarks must fall: 1000 >= high > medium > low > critical >= 0, not "
                f"{self.high_milli}, {self.medium_milli}, {self.low_milli}, {self.critical_milli}"
            )
        if not 0 <= self.hysteresis_milli <= 1000:
            raise ConfigError(f"watermark hysteresis is 0..1000 per mille, not {self.hysteresis_milli}")


@dataclass(frozen=True, slots=True)
class LatencyConfig:
    """Device time, ns. Defaults: what is published of CXL loads and of compressed pages.

    A load from CXL memory takes about 250 ns; a compressed 4 KiB page 250 ns to 1 us with queueing.
    """

    base_ns: int = 250
    """Every page of every data command."""
    per_sector_ns: int = 0
    """Every sector moved from or to the media."""
    compress_ns: int = 0
    """Every page compressed. 0: writes are posted, and compressed behind."""
    decompress_ns: int = 600
    """Every page decompressed that the block cache does not hold."""
    block_cache_pages: int = 64
    """Decompressed pages that the device holds, direct-mapped by address. 0: no cache."""
    engines: int = 4
    """Pages served at one time."""
    queue_tail_ns: int = 1_000
    """What waiting behind other commands adds to one command, at most."""

    def __post_init__(self) -> None:
        for name in ("base_ns", "per_sector_ns", "compress_ns", "decompress_ns", "queue_tail_ns"):
            if not 0 <= getattr(self, name) <= LONGEST_LATENCY_NS:
                raise ConfigError(
                    f"latency {name} is 0..{LONGEST_LATENCY_NS} (an hour), not {getattr(self, name)}"
                )
        if not 0 <= self.block_cache_pages <= MOST_BLOCK_CACHE_PAGES:
            raise ConfigError(
                f"latency block_cache_pages is 0..{MOST_BLOCK_CACHE_PAGES}, not {self.block_cache_pages}"
            )
        if not 1 <= self.engines <= MOST_ENGINES:
            raise ConfigError(f"latency engines is 1..{MOST_ENGINES}, not {self.engines}")


@dataclass(frozen=True, slots=True)
class StagingConfig:
    """The buffer of pages that are acknowledged before they are compressed. Off unless it has bytes."""

    bytes: int = 0
    """Media set aside for it, whole pages. 0: every page is compressed before it is acknowledged."""
    delay_ns: int = 1_000_000
    """How long a page lies in it before its compression begins."""
    bytes_per_second: int = 1 << 30
    """How fast the compressor behind it takes pages out, uncompressed bytes."""

    def __post_init__(self) -> None:
        if self.bytes < 0 or self.bytes % PAGE_BYTES:
            raise ConfigError(f"staging is 0 or whole pages of {PAGE_BYTES} bytes, not {self.bytes}")
        if not 0 <= self.delay_ns <= LONGEST_NS:
            raise ConfigError(f"staging delay is 0..{LONGEST_NS} ns (a year), not {self.delay_ns}")
        if not PAGE_BYTES <= self.bytes_per_second <= MOST_PHYSICAL_BYTES:
            raise ConfigError(
                f"staging rate is {PAGE_BYTES}..{MOST_PHYSICAL_BYTES} bytes per second, "
                f"not {self.bytes_per_second}"
            )

    @property
    def page_ns(self) -> int:
        """What the compressor takes for one page, at least 1."""
        return -(-PAGE_BYTES * NS_PER_SECOND // self.bytes_per_second)


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """One device. Sizes in bytes, times in ns.

    Raises:
        ConfigError: a value that the device cannot have; the message says which and why.
    """

    physical_capacity_bytes: int
    """Media that really exists."""
    zratio_milli: int = 3000
    """Ratio assumed when the capacity was advertised, per mille: logical = physical * zratio / 1000."""
    sector_bytes: int = 64
    """The media's allocation unit: 64..4096, a power of two."""
    metadata_bytes: int = 16
    """Media that each stored page takes beside its sectors."""
    zstd_level: int = 1
    exhaustion_mode: ExhaustionMode = ExhaustionMode.REFUSE
    trim_delay_ns: int = 0
    """How long a trimmed page's media stays in the queue. 0: released at once."""
    staging: StagingConfig = field(default_factory=StagingConfig)
    credit_share_milli: int = 500
    """Of the media that all regions could still take: what may be promised as write credits, per mille."""
    watermarks: Watermarks = field(default_factory=Watermarks)
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    default_lease_ns: int = 10 * NS_PER_SECOND
    max_lease_ns: int = 3600 * NS_PER_SECOND
    max_pages_per_request: int = 1024
    max_ranges_per_trim: int = 127
    """As many as fit a 2048-byte payload of CXL Media Operations (opcode 4402h)."""
    max_regions: int = 256
    event_log_entries: int = 4096
    """Events kept for watchers that reconnect."""

    def __post_init__(self) -> None:
        checks = (
            (
                PAGE_BYTES <= self.physical_capacity_bytes <= MOST_PHYSICAL_BYTES,
                f"physical capacity is at least {PAGE_BYTES} bytes, at most {MOST_PHYSICAL_BYTES} (8 TiB)",
            ),
            (1000 <= self.zratio_milli <= 64_000, "zratio is 1000..64000 per mille (1:1 to 64:1)"),
            (
                64 <= self.sector_bytes <= PAGE_BYTES and self.sector_bytes & (self.sector_bytes - 1) == 0,
                "sector is 64..4096 bytes, a power of two",
            ),
            (0 <= self.metadata_bytes <= PAGE_BYTES, "metadata is 0..4096 bytes a page"),
            (1 <= self.zstd_level <= 22, "zstd level is 1..22"),
            (0 <= self.trim_delay_ns <= LONGEST_NS, f"trim delay is 0..{LONGEST_NS} ns (a year)"),
            (0 <= self.credit_share_milli <= 1000, "credit share is 0..1000 per mille"),
            (
                self.staging.bytes <= self.physical_capacity_bytes // 2,
                "staging is at most half of the physical capacity: the rest is for compressed pages",
            ),
            (
                0 < self.default_lease_ns <= self.max_lease_ns <= LONGEST_NS,
                "default lease is above 0 and at most the maximum, which is at most a year",
            ),
            (
                1 <= self.max_pages_per_request <= MOST_PAGES_PER_REQUEST,
                f"a request holds at least one page, and at most {MOST_PAGES_PER_REQUEST}",
            ),
            (
                1 <= self.max_ranges_per_trim <= MOST_RANGES_PER_TRIM,
                f"a TRIM holds at least one range, and at most {MOST_RANGES_PER_TRIM}",
            ),
            (
                1 <= self.max_regions <= MOST_REGIONS,
                f"a device has at least one region, and at most {MOST_REGIONS}",
            ),
            (
                1 <= self.event_log_entries <= MOST_EVENT_LOG_ENTRIES,
                f"the event log keeps at least one event, and at most {MOST_EVENT_LOG_ENTRIES}",
            ),
        )
        for good, rule in checks:
            if not good:
                raise ConfigError(f"{rule}: {self}")

    @property
    def logical_capacity_bytes(self) -> int:
        """What the device advertises, bytes of DPA, in whole pages."""
        return self.physical_capacity_bytes * self.zratio_milli // 1000 // PAGE_BYTES * PAGE_BYTES
