"""Sizes and times as people write them, for both sides' command lines and settings files."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", re.IGNORECASE | re.ASCII)
_TIME: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ns|us|ms|s|min|m|h)\s*", re.IGNORECASE | re.ASCII)

_BINARY: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
}

_LARGEST: Final = 2**64 - 1
"""What fields of the wire can hold."""
_MOST_DIGITS: Final = 40
"""Of a number: far more than any good one has. Python refuses to parse thousands of them."""


def parse_bytes(text: str) -> int:
    """`64MiB`, `64M`, `67108864` -> bytes. K, M, G and T are powers of 1024, with or without the i.

    Exact to the byte, whatever the size.

    Raises:
        ValueError: not a size, or one of 2^64 bytes and more.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size: write 4096, 64KiB, 512M, 1.5GiB")
    number, unit = match.groups(default="")
    size = _exact(text, number, _BINARY[unit[:1].lower()])
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    return int(size)


def parse_duration(text: str) -> int:
    """`250ns`, `1.5us`, `20ms`, `3s`, `5min`, `1h` -> ns. The unit cannot be left out.

    Parts of a ns are rounded.

    Raises:
        ValueError: not a time, or one of 2^64 ns and more.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time: write 250ns, 1.5us, 20ms, 3s, 5min, 1h")
    number, unit = match.groups()
    return round(_exact(text, number, _NS[unit.lower()]))


def _exact(text: str, number: str, unit: int) -> Fraction:
    """So many units. Raises ValueError for more than the wire can hold; a float would round or overflow."""
    if len(number) <= _MOST_DIGITS:
        value = Fraction(number) * unit
        if value <= _LARGEST:
            return value
    raise ValueError(f"{text[:_MOST_DIGITS]!r} is too large: at most {_LARGEST}, in bytes or in ns")


def format_bytes(size: float) -> str:
    """Bytes for people: `1.4 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_duration(ns: float) -> str:
    """Ns for people: `850 ns`, `12.5 us`, `3.0 s`."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.1f} {unit}"
    return f"{ns:.0f} ns"
