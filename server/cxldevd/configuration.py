"""All that `cxldevd` can be told, as values, and which of them contradict each other."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cramwire.lane import SOCKET_SUFFIX
from cramwire.transport import MESSAGE_BYTES
from cxldev.config import PAGE_BYTES, DeviceConfig
from cxldevd.addresses import MOST_PATH_BYTES, Address
from cxldevd.identity.credentials import Identity

if TYPE_CHECKING:
    from pathlib import Path

_MESSAGE_OVERHEAD_BYTES: Final = 4096
"""What a message holds beside pages and addresses: session, generation, tags; rounded up a lot."""


_WORKERS: Final = min(4, 1 + len(os.sched_getaffinity(0)))
"""One more than there are cores. Measured on two: with two, cores are idle a fifth of the time, while one of
them waits for the device or the interpreter; with four, a page beside them waits long. Above four the
interpreter's lock is the limit."""
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
    health: Address | None = None
    identity: Identity = field(default_factory=Identity)
    insecure: bool = False
    lane: str = "auto"
    max_lanes: int = 64
    ready_file: Path | None = None
    state: Path | None = None
    save_every_ns: int = 0
    workers: int = _WORKERS
    max_watchers: int = 256
    max_watchers_host: int = 64
    max_transfers: int = 256
    max_transfers_host: int = 8
    max_queued_calls: int = 4096
    max_in_flight_bytes: int = 256 << 20
    max_in_flight_host_bytes: int = 32 << 20
    max_message_bytes: int = MESSAGE_BYTES
    max_connections: int = 4096
    attach_rate: int = 1000
    attach_rate_host: int = 100
    time_dilation: float = 0.0
    drain_grace_ns: int = 5_000_000_000
    seed: int | None = None
    log_format: str = "text"
    log_level: str = "info"
    otlp_endpoint: str | None = None

    def __post_init__(self) -> None:
        wrong = self.identity.contradiction(self.listen, self.operator, self.metrics, insecure=self.insecure)
        if wrong:
            raise SettingsError(wrong)
        if self.lanes and len(os.fsencode(self.listen.path + SOCKET_SUFFIX)) > MOST_PATH_BYTES:
            raise SettingsError(
                f"{self.listen} leaves no room for the lane's socket beside it: at most "
                f"{MOST_PATH_BYTES - len(SOCKET_SUFFIX)} bytes, or no lanes with --lane off"
            )
        if self.save_every_ns and self.state is None:
            raise SettingsError("--save-every saves to the folder of --state: give that, too")
        if self.state is not None and self.seed is not None:
            raise SettingsError(
                "--seed repeats the ids of sessions that --state keeps: give one or the other"
            )
        if self.max_message_bytes > MESSAGE_BYTES:
            raise SettingsError(f"hosts send no message above {MESSAGE_BYTES} bytes: at most that")
        pages, limit = self.device.max_pages_per_request, self.max_message_bytes
        if pages * (PAGE_BYTES + 8) + _MESSAGE_OVERHEAD_BYTES > limit:
            most = max(0, limit - _MESSAGE_OVERHEAD_BYTES) // (PAGE_BYTES + 8)
            raise SettingsError(f"{pages} pages do not fit a message of {limit} bytes: at most {most}")

    @property
    def watchers_host(self) -> int:
        """Event streams of one host: what was set, and room for three others like it."""
        return min(self.max_watchers_host, max(2, self.max_watchers // 4))

    @property
    def transfers_host(self) -> int:
        """Open Transfer calls of one host: what was set, and room for three others like it."""
        return min(self.max_transfers_host, max(1, self.max_transfers // 4))

    @property
    def in_flight_host_bytes(self) -> int:
        """Page bytes in flight of one host: what was set, and room for another one like it."""
        return min(self.max_in_flight_host_bytes, self.max_in_flight_bytes // 2)

    @property
    def lanes(self) -> bool:
        """Whether hosts on this machine may have lanes."""
        return self.lane == "auto" and bool(self.listen.path)
