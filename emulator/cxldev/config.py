"""What a device is built from: sizes, watermarks, latencies. All values are checked here, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from cxldev.errors import ConfigError

PAGE_BYTES: Final = 4096
"""The unit of compression, bytes: one Linux base page."""

NS_PER_SECOND: Final = 1_000_000_000


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
        for name in (
            "base_ns",
            "per_sector_ns",
            "compress_ns",
            "decompress_ns",
            "block_cache_pages",
            "queue_tail_ns",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"latency {name} cannot be negative: {getattr(self, name)}")
        if self.engines < 1:
            raise ConfigError(f"latency engines is at least 1, not {self.engines}")


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
            (self.physical_capacity_bytes >= PAGE_BYTES, f"physical capacity is at least {PAGE_BYTES} bytes"),
            (1000 <= self.zratio_milli <= 64_000, "zratio is 1000..64000 per mille (1:1 to 64:1)"),
            (
                64 <= self.sector_bytes <= PAGE_BYTES and self.sector_bytes & (self.sector_bytes - 1) == 0,
                "sector is 64..4096 bytes, a power of two",
            ),
            (0 <= self.metadata_bytes <= PAGE_BYTES, "metadata is 0..4096 bytes a page"),
            (1 <= self.zstd_level <= 22, "zstd level is 1..22"),
            (self.trim_delay_ns >= 0, "trim delay cannot be negative"),
            (
                0 < self.default_lease_ns <= self.max_lease_ns,
                "default lease is above 0 and at most the maximum",
            ),
            (self.max_pages_per_request >= 1, "a request holds at least one page"),
            (self.max_ranges_per_trim >= 1, "a TRIM holds at least one range"),
            (self.max_regions >= 1, "a device has at least one region"),
            (self.event_log_entries >= 1, "the event log keeps at least one event"),
        )
        for good, rule in checks:
            if not good:
                raise ConfigError(f"{rule}: {self}")

    @property
    def logical_capacity_bytes(self) -> int:
        """What the device advertises, bytes of DPA, in whole pages."""
        return self.physical_capacity_bytes * self.zratio_milli // 1000 // PAGE_BYTES * PAGE_BYTES
