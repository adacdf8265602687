"""What the requests of a host must look like. Checked once, at the edge; the inner parts trust it.

Order of the checks of a data request: count, length of the data, alignment, range, each page once.
Addresses come as unsigned 64-bit and are compared as such or as Python ints: nothing wraps around.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from cxldev.config import PAGE_BYTES
from cxldev.errors import (
    DataLength,
    EmptyRequest,
    InvalidField,
    NotAligned,
    OutOfRange,
    Overlapping,
    TooMany,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,63}")
_SHORTEST_LEASE_NS: Final = 1_000_000
_PAGE_SHIFT: Final = np.uint64(12)
_PAGE_MASK: Final = np.uint64(PAGE_BYTES - 1)
_FEW: Final = 16
"""Up to this many, plain Python is faster than numpy's fixed costs."""


def check_host(host: str) -> None:
    """A host's name. Raises InvalidField."""
    if not _HOST.fullmatch(host):
        raise InvalidField(
            f"host {host[:80]!r} is not a name: 1 to 63 characters of a-z, A-Z, 0-9, '.', '-', '_'"
        )


def check_lease(lease_ns: int, max_lease_ns: int) -> None:
    """A lease that a host asks for. Raises InvalidField."""
    if not _SHORTEST_LEASE_NS <= lease_ns <= max_lease_ns:
        raise InvalidField(f"lease of {lease_ns} ns: it is {_SHORTEST_LEASE_NS}..{max_lease_ns} ns")


def check_logical_bytes(logical_bytes: int) -> None:
    """Size of a region. Raises InvalidField (not above 0), NotAligned."""
    if logical_bytes <= 0:
        raise InvalidField(f"logical_bytes is {logical_bytes}: a region has at least one page")
    if logical_bytes % PAGE_BYTES:
        raise NotAligned(f"logical_bytes {logical_bytes} is not a multiple of {PAGE_BYTES}")


def check_capacity_bytes(length_bytes: int) -> None:
    """What is added to a region or asked back of it. Raises InvalidField (not above 0), NotAligned."""
    if length_bytes <= 0:
        raise InvalidField(f"length_bytes is {length_bytes}: at least one page is added or released")
    if length_bytes % PAGE_BYTES:
        raise NotAligned(f"length_bytes {length_bytes} is not a multiple of {PAGE_BYTES}")


def check_media_bounds(guaranteed_bytes: int, limit_bytes: int | None, physical_bytes: int) -> None:
    """A region's guarantee and limit. Raises InvalidField.

    A guarantee that is larger than the device is for the caller to refuse, as guarantees that do not
    fit together are.
    """
    if guaranteed_bytes < 0:
        raise InvalidField(f"guaranteed_media_bytes cannot be negative: {guaranteed_bytes}")
    if limit_bytes is None:
        return
    if not 0 <= limit_bytes <= physical_bytes:
        raise InvalidField(
            f"limit_media_bytes {limit_bytes} is not 0..{physical_bytes}, the device's physical capacity"
        )
    if guaranteed_bytes > limit_bytes:
        raise InvalidField(
            f"guaranteed_media_bytes {guaranteed_bytes} is above limit_media_bytes {limit_bytes}"
        )


def page_numbers(
    dpas: NDArray[np.uint64], region_pages: int, max_pages: int, data_bytes: int | None = None
) -> NDArray[np.int64]:
    """Addresses of a request -> page numbers, a copy. `data_bytes`: length of the data that came along.

    Raises:
        EmptyRequest, TooMany, DataLength, NotAligned, OutOfRange, Overlapping.
    """
    count = len(dpas)
    if not count:
        raise EmptyRequest("the request names no page")
    if count > max_pages:
        raise TooMany(f"{count} pages in one request: at most {max_pages}")
    if data_bytes is not None and data_bytes != count * PAGE_BYTES:
        raise DataLength(f"{data_bytes} bytes of data for {count} pages: {count * PAGE_BYTES} are needed")
    if count <= _FEW:
        return np.array(_few_page_numbers(dpas.tolist(), region_pages), np.int64)
    # One look at all of them; which one is wrong is found out only where one is.
    if np.bitwise_or.reduce(dpas) & _PAGE_MASK:
        raise _not_aligned(int(dpas[np.flatnonzero(dpas & _PAGE_MASK)[0]]))
    numbers = dpas >> _PAGE_SHIFT
    ranked = np.sort(numbers)
    if ranked.item(-1) >= region_pages:
        beyond = np.flatnonzero(numbers >= np.uint64(region_pages))
        raise _out_of_range(int(dpas[beyond[0]]), region_pages)
    same = ranked[1:] == ranked[:-1]
    if same.any():
        raise _overlapping(int(ranked[same.argmax()]) * PAGE_BYTES)
    return numbers.astype(np.int64)


def _few_page_numbers(dpas: list[int], region_pages: int) -> list[int]:
    for dpa in dpas:
        if dpa % PAGE_BYTES:
            raise _not_aligned(dpa)
    numbers = [dpa // PAGE_BYTES for dpa in dpas]
    for number in numbers:
        if number >= region_pages:
            raise _out_of_range(number * PAGE_BYTES, region_pages)
    if len(set(numbers)) != len(numbers):
        raise _overlapping(next(dpa for dpa in dpas if dpas.count(dpa) > 1))
    return numbers


def page_ranges(
    starts: NDArray[np.uint64], lengths: NDArray[np.uint64], region_pages: int, max_ranges: int
) -> list[tuple[int, int]]:
    """Ranges of a TRIM in bytes -> (first page, page behind the last), in ascending order.

    Raises:
        EmptyRequest, TooMany, NotAligned, OutOfRange, Overlapping.
    """
    count = len(starts)
    if count != len(lengths):
        raise InvalidField(f"{count} starts and {len(lengths)} lengths are not ranges")
    if not count:
        raise EmptyRequest("the request names no range")
    if count > max_ranges:
        raise TooMany(f"{count} ranges in one TRIM: at most {max_ranges}")
    # Few enough for Python's integers, which do not wrap around.
    ranges = list(zip(starts.tolist(), lengths.tolist(), strict=True))
    for start, length in ranges:
        if not length:
            raise EmptyRequest(f"the range at {start:#x} is 0 bytes long")
        if start % PAGE_BYTES:
            raise _not_aligned(start)
        if length % PAGE_BYTES:
            raise NotAligned(
                f"length {length:#x} of the range at {start:#x} is not a multiple of {PAGE_BYTES}"
            )
    for start, length in ranges:
        if start + length > region_pages * PAGE_BYTES:
            raise OutOfRange(
                f"range {start:#x}..{start + length:#x} leaves the region, which ends at "
                f"{region_pages * PAGE_BYTES:#x}"
            )
    pages = sorted((start // PAGE_BYTES, (start + length) // PAGE_BYTES) for start, length in ranges)
    for (_, end), (start, _) in pairwise(pages):
        if start < end:
            raise _overlapping(start * PAGE_BYTES)
    return pages


def _not_aligned(dpa: int) -> NotAligned:
    return NotAligned(f"address {dpa:#x} is not a multiple of {PAGE_BYTES}")


def _out_of_range(dpa: int, region_pages: int) -> OutOfRange:
    return OutOfRange(f"address {dpa:#x} is outside the region, which ends at {region_pages * PAGE_BYTES:#x}")


def _overlapping(dpa: int) -> Overlapping:
    return Overlapping(f"page {dpa:#x} is named twice in one request")
