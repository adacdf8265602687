"""Helpers of the device's tests: pages of known kinds, a device with its clock, a full snapshot."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from cxldev.codec import PageCodec
from cxldev.config import PAGE_BYTES, DeviceConfig
from cxldev.device import Device, ReadOutcome, SessionRef, TrimOutcome, WriteOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from cxldev.faults import Fault

MIB = 1 << 20
COLUMNS = ("kind", "sectors", "size", "place")
"""Of a page table."""


def zero_page() -> bytes:
    """4096 zeros."""
    return bytes(PAGE_BYTES)


def same_page(word: bytes) -> bytes:
    """A page of one repeated byte or word."""
    return word * (PAGE_BYTES // len(word))


def random_page(seed: int, random_bytes: int = PAGE_BYTES) -> bytes:
    """A page that compresses to about `random_bytes`: that many random ones, then zeros."""
    head = np.random.default_rng(seed).bytes(random_bytes)
    return head + bytes(PAGE_BYTES - random_bytes)


def random_pages(count: int, seed: int = 0) -> bytes:
    """Pages of mixed sizes behind one another: from a few bytes to incompressible."""
    sizes = np.random.default_rng(seed).integers(1, PAGE_BYTES + 1, count).tolist()
    return b"".join(random_page(seed * 100_003 + index, size) for index, size in enumerate(sizes))


def at(*pages: int) -> NDArray[np.uint64]:
    """Addresses of these pages."""
    return np.array(pages, np.uint64) * np.uint64(PAGE_BYTES)


def addresses(values: Iterable[int]) -> NDArray[np.uint64]:
    """These addresses, as they are."""
    return np.array(list(values), np.uint64)


def small_config(**changes: object) -> DeviceConfig:
    """A device of 1 MiB of media and 3 MiB of DPA."""
    settings: dict[str, object] = {"physical_capacity_bytes": MIB, **changes}
    return DeviceConfig(**settings)  # type: ignore[arg-type]  # named by the caller


class Bench:
    """A device, a clock that stands still unless moved, and a codec."""

    def __init__(self, config: DeviceConfig | None = None) -> None:
        self.now_ns = 1_000
        self.device = Device(config or small_config(), generation="g1", now_ns=self.now_ns)
        self.codec = PageCodec(1)
        self._ids = itertools.count(1)

    def attach(
        self,
        host: str = "alpha",
        pages: int = 64,
        *,
        guarantee: int = 0,
        limit: int | None = None,
        lease_ns: int | None = None,
        take_over: bool = False,
    ) -> SessionRef:
        """Attach a host with a region of so many pages."""
        attachment = self.device.attach(
            session=f"s{next(self._ids)}",
            host=host,
            logical_bytes=pages * PAGE_BYTES,
            guaranteed_media_bytes=guarantee,
            limit_media_bytes=limit,
            lease_ns=lease_ns,
            take_over=take_over,
            now_ns=self.now_ns,
        )
        return SessionRef(attachment.session, attachment.generation)

    def write(self, ref: SessionRef, first_page: int, data: bytes) -> WriteOutcome:
        """Write pages behind one another."""
        count = len(data) // PAGE_BYTES
        dpas = at(*range(first_page, first_page + count))
        return self.device.write(ref, dpas, data, self.now_ns, codec=self.codec)

    def read(self, ref: SessionRef, first_page: int, count: int = 1) -> bytes:
        """Read pages behind one another."""
        return bytes(self.read_outcome(ref, first_page, count).data)

    def read_outcome(self, ref: SessionRef, first_page: int, count: int = 1) -> ReadOutcome:
        """The same, with the times."""
        dpas = at(*range(first_page, first_page + count))
        return self.device.read(ref, dpas, self.now_ns, codec=self.codec)

    def trim(self, ref: SessionRef, first_page: int, count: int = 1) -> TrimOutcome:
        """TRIM one range."""
        lengths = addresses([count * PAGE_BYTES])
        return self.device.trim(ref, at(first_page), lengths, self.now_ns)

    def flush_due(self, ref: SessionRef) -> int | None:
        """When a FLUSH that begins now would be done."""
        ticket = self.device.begin_flush(ref, self.now_ns)
        return self.device.flush_due(ticket, self.now_ns)

    def inject(self, fault: Fault) -> str:
        """Inject a fault; its id."""
        number = next(self._ids)
        return self.device.inject(fault, self.now_ns, next_generation=f"g{number}").fault_id

    def used(self) -> int:
        """Media in use, bytes."""
        return self.device.telemetry(None, self.now_ns).media_used_bytes

    def free(self) -> int:
        """Media free, bytes."""
        return self.device.telemetry(None, self.now_ns).media_free_bytes

    def event_kinds(self) -> list[object]:
        """What the log of this generation says, oldest first."""
        return [event.kind for event in self.device.events.after(0)[1]]


def snapshot(device: Device, now_ns: int) -> tuple[object, ...]:
    """All that the device holds, to be compared before and after a call that must change nothing."""
    power = device._power
    tables = tuple(
        (region.session, region.trims.waiting, *(getattr(region.table, name).tobytes() for name in COLUMNS))
        for region in power.regions
    )
    idle = tuple((places.tobytes(), sizes.tobytes()) for places, sizes in power.arena.idle_places())
    return (
        device.generation,
        device.status(now_ns),
        tables,
        power.arena.top,
        power.arena.live_bytes,
        idle,
        power.latency._tags.tobytes(),
    )
