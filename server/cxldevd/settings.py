"""The one table of settings: flags, environment variables and TOML keys all come from it."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cramwire.lane import SOCKET_SUFFIX
from cramwire.transport import MESSAGE_BYTES
from cxldev.config import PAGE_BYTES, DeviceConfig
from cxldevd import kinds
from cxldevd.addresses import MOST_PATH_BYTES, Address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cxldevd.kinds import Kind

_MESSAGE_OVERHEAD_BYTES: Final = 4096
"""What a message holds beside pages and addresses: session, generation, tags; rounded up a lot."""


_LISTEN: Final = Address("127.0.0.1", 7700)
_OPERATOR: Final = Address("127.0.0.1", 7701)
_METRICS: Final = Address("127.0.0.1", 7702)


class SettingsError(Exception):
    """A setting that cannot be used. One line, which begins with where it was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that `cxldevd` can be told. Sizes in bytes, times in ns.

    Raises:
        SettingsError: values that contradict each other.
    """

    device: DeviceConfig = field(default_factory=lambda: DeviceConfig(physical_capacity_bytes=1 << 30))
    listen: Address = _LISTEN
    operator: Address = _OPERATOR
    metrics: Address | None = _METRICS
    insecure: bool = False
    lane: str = "auto"
    max_lanes: int = 64
    ready_file: Path | None = None
    workers: int = 4
    max_watchers: int = 256
    max_queued_calls: int = 256
    max_in_flight_bytes: int = 64 << 20
    time_dilation: float = 0.0
    drain_grace_ns: int = 5_000_000_000
    seed: int | None = None
    log_format: str = "text"
    log_level: str = "info"

    def __post_init__(self) -> None:
        for address in (self.listen, self.operator, self.metrics):
            if address is not None and not address.local and not self.insecure:
                raise SettingsError(
                    f"{address} can be reached from other machines, and nothing is encrypted or "
                    "checked: use a loopback address or unix:PATH, or allow it with --insecure"
                )
        if self.lanes and len(os.fsencode(self.listen.path + SOCKET_SUFFIX)) > MOST_PATH_BYTES:
            raise SettingsError(
                f"{self.listen} leaves no room for the lane's socket beside it: at most "
                f"{MOST_PATH_BYTES - len(SOCKET_SUFFIX)} bytes, or no lanes with --lane off"
            )
        pages = self.device.max_pages_per_request
        if pages * (PAGE_BYTES + 8) + _MESSAGE_OVERHEAD_BYTES > MESSAGE_BYTES:
            most = (MESSAGE_BYTES - _MESSAGE_OVERHEAD_BYTES) // (PAGE_BYTES + 8)
            raise SettingsError(
                f"{pages} pages do not fit a message of {MESSAGE_BYTES} bytes: at most {most}"
            )

    @property
    def lanes(self) -> bool:
        """Whether hosts on this machine may have lanes."""
        return self.lane == "auto" and bool(self.listen.path)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `where` is the path of the field in `Settings`."""

    name: str
    where: str
    kind: Kind
    help: str

    @property
    def flag(self) -> str:
        """As on the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """As in the environment."""
        return "CXLDEVD_" + self.name.upper().replace("-", "_")

    @property
    def default(self) -> Any:
        """The value where nobody sets it."""
        value: Any = _DEFAULTS
        for part in self.where.split("."):
            value = getattr(value, part)
        return value

    @property
    def default_text(self) -> str:
        """The default as one would write it."""
        return (
            "none"
            if self.default is None and self.kind is not kinds.OPTIONAL_ADDRESS
            else self.kind.show(self.default)
        )


_DEFAULTS: Final = Settings()

GROUPS: Final[tuple[tuple[str, tuple[Setting, ...]], ...]] = (
    (
        "Where it serves (HOST:PORT, port 0 = any free one, or unix:PATH)",
        (
            Setting("listen", "listen", kinds.ADDRESS, "Hosts: DeviceService and MemoryService."),
            Setting("operator", "operator", kinds.ADDRESS, "Operators: FaultService and OracleService."),
            Setting(
                "metrics", "metrics", kinds.OPTIONAL_ADDRESS, "Prometheus, HTTP; `off` for none. TCP only."
            ),
            Setting("insecure", "insecure", kinds.SWITCH, "Allow addresses that other machines can reach."),
            Setting(
                "lane",
                "lane",
                kinds.choice("auto", "off"),
                "Hosts on this machine: shared memory beside gRPC, where --listen is a unix socket.",
            ),
            Setting(
                "ready-file",
                "ready_file",
                kinds.PATH,
                "Written once it serves, JSON: pid, address, operator_address, metrics_address, generation.",
            ),
        ),
    ),
    (
        "Media",
        (
            Setting(
                "physical",
                "device.physical_capacity_bytes",
                kinds.BYTES,
                "Media that really exists. Memory of this machine is used as pages are stored.",
            ),
            Setting(
                "zratio",
                "device.zratio_milli",
                kinds.MILLI,
                "Assumed ratio: logical capacity = physical * zratio / 1000 (3000 = 3:1).",
            ),
            Setting(
                "sector", "device.sector_bytes", kinds.BYTES, "Allocation unit: 64B to 4KiB, a power of two."
            ),
            Setting(
                "page-metadata", "device.metadata_bytes", kinds.BYTES, "Media taken by each stored page."
            ),
            Setting("zstd-level", "device.zstd_level", kinds.AT_LEAST_ONE, "Compression level, 1 to 22."),
            Setting(
                "exhaustion-mode",
                "device.exhaustion_mode",
                kinds.EXHAUSTION,
                "A page that does not fit: refuse the write, or acknowledge it and poison the page.",
            ),
            Setting(
                "trim-delay",
                "device.trim_delay_ns",
                kinds.DURATION,
                "How long a trimmed page's media stays in the queue; 0ns: released at once.",
            ),
            Setting(
                "staging",
                "device.staging.bytes",
                kinds.BYTES,
                "Buffer of pages that are acknowledged before they are compressed; 0B: none.",
            ),
            Setting(
                "staging-delay",
                "device.staging.delay_ns",
                kinds.DURATION,
                "How long a page lies in the buffer before its compression begins.",
            ),
            Setting(
                "staging-rate",
                "device.staging.bytes_per_second",
                kinds.BYTES,
                "Uncompressed bytes that leave the buffer in one second at most.",
            ),
            Setting(
                "credit-share",
                "device.credit_share_milli",
                kinds.MILLI,
                "Of the media that can still be taken: what may be promised as write credits.",
            ),
        ),
    ),
    (
        "Watermarks (per mille of physical capacity that remains free)",
        (
            Setting("watermark-high", "device.watermarks.high_milli", kinds.MILLI, "Level high begins here."),
            Setting("watermark-medium", "device.watermarks.medium_milli", kinds.MILLI, "Level medium."),
            Setting("watermark-low", "device.watermarks.low_milli", kinds.MILLI, "Level low."),
            Setting("watermark-critical", "device.watermarks.critical_milli", kinds.MILLI, "Level critical."),
            Setting(
                "watermark-hysteresis",
                "device.watermarks.hysteresis_milli",
                kinds.MILLI,
                "A level is left this far above its watermark.",
            ),
        ),
    ),
    (
        "Device time (reported in device_ns; waited for only with --time-dilation)",
        (
            Setting("latency-base", "device.latency.base_ns", kinds.DURATION, "Each page of a data command."),
            Setting("latency-sector", "device.latency.per_sector_ns", kinds.DURATION, "Each sector moved."),
            Setting(
                "latency-compress",
                "device.latency.compress_ns",
                kinds.DURATION,
                "Each page compressed; 0ns: compressed behind.",
            ),
            Setting(
                "latency-decompress",
                "device.latency.decompress_ns",
                kinds.DURATION,
                "Each page decompressed that the block cache does not hold.",
            ),
            Setting(
                "latency-queue-tail",
                "device.latency.queue_tail_ns",
                kinds.DURATION,
                "What waiting behind other commands adds, at most.",
            ),
            Setting("engines", "device.latency.engines", kinds.AT_LEAST_ONE, "Pages served at one time."),
            Setting(
                "block-cache",
                "device.latency.block_cache_pages",
                kinds.COUNT,
                "Decompressed pages held, pages.",
            ),
            Setting(
                "time-dilation",
                "time_dilation",
                kinds.FACTOR,
                "Answer a data command only after this many times its device time; 0: at once.",
            ),
        ),
    ),
    (
        "Sessions and limits",
        (
            Setting(
                "lease", "device.default_lease_ns", kinds.DURATION, "Lease of a host that asks for none."
            ),
            Setting(
                "max-lease", "device.max_lease_ns", kinds.DURATION, "Longest lease that a host may ask for."
            ),
            Setting("max-regions", "device.max_regions", kinds.AT_LEAST_ONE, "Hosts attached at one time."),
            Setting(
                "max-pages-per-request",
                "device.max_pages_per_request",
                kinds.AT_LEAST_ONE,
                "Pages that one write or read names, at most.",
            ),
            Setting(
                "max-ranges-per-trim",
                "device.max_ranges_per_trim",
                kinds.AT_LEAST_ONE,
                "Ranges that one TRIM names, at most.",
            ),
            Setting(
                "event-log",
                "device.event_log_entries",
                kinds.AT_LEAST_ONE,
                "Events kept for watchers that reconnect.",
            ),
        ),
    ),
    (
        "Service",
        (
            Setting("workers", "workers", kinds.AT_LEAST_ONE, "Threads for writes, reads and TRIMs."),
            Setting(
                "max-watchers",
                "max_watchers",
                kinds.AT_LEAST_ONE,
                "Event streams at one time, on each listener; more are told DEVICE_BUSY.",
            ),
            Setting(
                "max-lanes",
                "max_lanes",
                kinds.AT_LEAST_ONE,
                "Same-host lanes at one time, up to 34MiB of memory each; more hosts stay with gRPC.",
            ),
            Setting(
                "max-queued-calls",
                "max_queued_calls",
                kinds.AT_LEAST_ONE,
                "Calls of a kind (data, FLUSH, Renew, control) taken in at one time; more: DEVICE_BUSY.",
            ),
            Setting(
                "max-in-flight",
                "max_in_flight_bytes",
                kinds.BYTES,
                "Page bytes being written and read at one time; more are told DEVICE_BUSY.",
            ),
            Setting(
                "drain-grace",
                "drain_grace_ns",
                kinds.DURATION,
                "How long calls may go on after SIGTERM. A second signal ends the process at once.",
            ),
            Setting(
                "seed",
                "seed",
                kinds.COUNT,
                "Repeatable ids, for tests only: hosts cannot tell a restart from the run before.",
            ),
            Setting(
                "log-format", "log_format", kinds.choice("text", "json"), "One line per event, on stderr."
            ),
            Setting(
                "log-level",
                "log_level",
                kinds.choice("debug", "info", "warning", "error"),
                "The least that is logged.",
            ),
        ),
    ),
)

TABLE: Final[dict[str, Setting]] = {setting.name: setting for _, group in GROUPS for setting in group}


def build(values: Mapping[str, Any]) -> Settings:
    """Settings from values by the table's names; the rest are defaults.

    Raises:
        ConfigError: the device cannot have them.
        SettingsError: the service cannot have them.
    """
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *folders, leaf = TABLE[name].where.split(".")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
        branch[leaf] = value
    built: Settings = _replaced(_DEFAULTS, tree)
    return built


def _replaced(old: Any, tree: Mapping[str, Any]) -> Any:
    changes = {
        name: _replaced(getattr(old, name), value) if isinstance(value, dict) else value
        for name, value in tree.items()
    }
    return dataclasses.replace(old, **changes)
