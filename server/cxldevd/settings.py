"""The one table of settings: flags, environment variables and TOML keys all come from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cxldevd import kinds
from cxldevd.configuration import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cxldevd.kinds import Kind

__all__ = ["GROUPS", "TABLE", "Setting", "Settings", "SettingsError", "build"]


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
            Setting("operator", "operator", kinds.ADDRESS, "Operators: faults, regions, the oracle."),
            Setting(
                "metrics",
                "metrics",
                kinds.OPTIONAL_ADDRESS,
                "Prometheus, and a page for people: HTTP; `off` for none. TCP only.",
            ),
            Setting(
                "health",
                "health",
                kinds.OPTIONAL_ADDRESS,
                "gRPC health checks and nothing else, plain and open to all: for probes that speak no TLS.",
            ),
            Setting(
                "insecure",
                "insecure",
                kinds.SWITCH,
                "Let everybody in where other machines can reach an address: no TLS, no identity.",
            ),
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
        "Who may call (files are read again when they change; see docs/identity.md)",
        (
            Setting("tls-cert", "identity.cert", kinds.PATH, "This service's certificate chain, PEM."),
            Setting("tls-key", "identity.key", kinds.PATH, "The private key to it, PEM."),
            Setting(
                "host-ca",
                "identity.hosts.ca",
                kinds.PATH,
                "Mutual TLS: hosts show a certificate of this CA; its SAN is the host's name.",
            ),
            Setting(
                "host-tokens",
                "identity.hosts.tokens",
                kinds.PATH,
                "Instead: hosts show a bearer token. Lines of NAME TOKEN.",
            ),
            Setting("operator-ca", "identity.operators.ca", kinds.PATH, "The same for operators."),
            Setting("operator-tokens", "identity.operators.tokens", kinds.PATH, "The same for operators."),
            Setting(
                "operator-names",
                "identity.operator_names",
                kinds.NAMES,
                "Operators, by the SAN of their certificates, comma-separated; else all of --operator-ca.",
            ),
            Setting("metrics-ca", "identity.scrapers.ca", kinds.PATH, "The same for Prometheus."),
            Setting("metrics-tokens", "identity.scrapers.tokens", kinds.PATH, "The same for Prometheus."),
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
            Setting(
                "state",
                "state",
                kinds.FOLDER,
                "Saved here on SIGTERM and restored at the next start: pages, regions, sessions, generation.",
            ),
            Setting(
                "save-every",
                "save_every_ns",
                kinds.DURATION,
                "Save a device at rest in between, too: it then survives a kill. 0ns: at the end only.",
            ),
            Setting(
                "workers",
                "workers",
                kinds.AT_LEAST_ONE,
                "Large writes and reads at one time; hosts take turns. Two small commands go beside.",
            ),
            Setting(
                "max-watchers",
                "max_watchers",
                kinds.AT_LEAST_ONE,
                "Event streams at one time, on each listener; more are told DEVICE_BUSY.",
            ),
            Setting(
                "max-watchers-per-host", "max_watchers_host", kinds.AT_LEAST_ONE, "The same, of one host."
            ),
            Setting(
                "max-transfers",
                "max_transfers",
                kinds.AT_LEAST_ONE,
                "Open Transfer calls; more: DEVICE_BUSY.",
            ),
            Setting(
                "max-transfers-per-host", "max_transfers_host", kinds.AT_LEAST_ONE, "The same, of one host."
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
                "Page bytes being written, read or waiting at one time; more: DEVICE_BUSY.",
            ),
            Setting(
                "max-in-flight-per-host",
                "max_in_flight_host_bytes",
                kinds.BYTES,
                "The same, of one host; never more than half of all. A lone command is always taken.",
            ),
            Setting(
                "max-message",
                "max_message_bytes",
                kinds.BYTES,
                "Largest request, at most 8MiB; gRPC refuses larger ones.",
            ),
            Setting(
                "max-connections",
                "max_connections",
                kinds.AT_LEAST_ONE,
                "Connections at one time, on each listener; more are closed as they come.",
            ),
            Setting(
                "attach-rate",
                "attach_rate",
                kinds.AT_LEAST_ONE,
                "Attaches a second, of all hosts; more are told DEVICE_BUSY.",
            ),
            Setting("attach-rate-per-host", "attach_rate_host", kinds.AT_LEAST_ONE, "The same, of one host."),
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
            Setting(
                "otlp-endpoint",
                "otlp_endpoint",
                kinds.OTLP,
                "Send traces there: http://HOST:4318. Or set OTEL_EXPORTER_OTLP_ENDPOINT.",
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
