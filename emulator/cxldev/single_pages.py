"""One page read or written, as page faults do: the same as `read_path` and `write_path`, in plain numbers.

numpy's fixed costs are those of hundreds of pages, and two turns at the device cost more than zstd. These
take only what needs no decision: no fault is armed, nothing is staged, the page is not poisoned, and it
fits. All else is left to the general paths, which are the ones that define the rules: None says so, and that
nothing has changed.

As calls of the device they tick its clock, and may raise what every call of a session may raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cxldev.config import PAGE_BYTES
from cxldev.outcomes import POISONED
from cxldev.write_single import store_single

if TYPE_CHECKING:
    from cxldev.codec import PackedPage
    from cxldev.device import Device
    from cxldev.outcomes import SessionRef, WriteOutcome


class HeldPage(NamedTuple):
    """One page as the device holds it, copied out: nothing stays open."""

    kind: int
    """Value of `PageKind`."""
    word: int
    """What fills a same-filled page."""
    frame: bytes
    """Empty where the arena holds none."""
    device_ns: int
    """What the device would have taken."""


def read_single(
    device: Device, ref: SessionRef, dpa: int, now_ns: int, *, in_flight_pages: int
) -> HeldPage | None:
    """Look one page up; it is counted as read. Where its frame is damaged: `read_again`."""
    power = device.power
    power.tick(now_ns)
    region = power.regions.find(ref)
    page, beside = divmod(dpa, PAGE_BYTES)
    if beside or page >= region.pages or power.faults.armed or region.staged:
        return None
    table = region.table
    kind = table.kind.item(page)
    if kind == POISONED:
        return None
    place, size = table.place.item(page), table.size.item(page)
    frame = bytes(power.arena.memory[place : place + size]) if size else b""
    counters = power.counters
    counters.read_requests += 1
    counters.read_pages += 1
    device_ns = power.latency.of_single_read(
        region.number, page, kind, table.sectors.item(page), in_flight_pages
    )
    return HeldPage(kind, place, frame, device_ns)


def read_again(device: Device) -> None:
    """What `read_single` gave was damaged: the general path reads the page, counts it, and poisons it."""
    device.counters.read_requests -= 1
    device.counters.read_pages -= 1


def write_single(
    device: Device, ref: SessionRef, dpa: int, packed: PackedPage, now_ns: int, *, in_flight_pages: int
) -> WriteOutcome | None:
    """Store one page."""
    power = device.power
    power.tick(now_ns)
    region = power.regions.find(ref)
    page, beside = divmod(dpa, PAGE_BYTES)
    if beside:
        return None
    return store_single(power, region, page, packed, in_flight_pages)
