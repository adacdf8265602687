"""Kinds of setting: how each is read from text, and written back exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cramwire.traces import parse_endpoint
from cramwire.units import parse_bytes, parse_duration
from cxldev.config import ExhaustionMode
from cxldevd.addresses import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: `parse` raises ValueError with a reason that a person can use."""

    metavar: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str


_BYTE_UNITS: Final = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_TIME_UNITS: Final = (
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
)


def _exact(value: int, units: tuple[tuple[str, int], ...], smallest: str) -> str:
    for name, size in units:
        if value and value % size == 0:
            return f"{value // size}{name}"
    return f"{value}{smallest}"


def _whole(lowest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if value < lowest:
            raise ValueError(f"{value} is too small: at least {lowest}")
        return value

    return parse


def _dilation(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not 0 <= value <= 1e9:
        raise ValueError(f"{text!r} is not between 0 and 1e9")
    return value


_SWITCHES: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError(f"{text!r} is neither true nor false")
    return _SWITCHES[text.lower()]


def choice(*names: str) -> Kind:
    """One of several words."""

    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"{text!r} is not one of {', '.join(names)}")
        return text.lower()

    return Kind("|".join(names), parse)


def _optional_address(text: str) -> Any:
    if text.lower() == "off":
        return None
    address = parse_address(text)
    if address.path:
        raise ValueError(f"{text!r}: metrics are served on TCP only, or `off`")
    return address


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError(f"{text!r} has an empty name: write ops,alice")
    return names


BYTES: Final = Kind("BYTES", parse_bytes, lambda value: _exact(value, _BYTE_UNITS, "B"))
DURATION: Final = Kind("TIME", parse_duration, lambda value: _exact(value, _TIME_UNITS, "ns"))
COUNT: Final = Kind("N", _whole(0))
AT_LEAST_ONE: Final = Kind("N", _whole(1))
MILLI: Final = Kind("PER-MILLE", _whole(0))
FACTOR: Final = Kind("FACTOR", _dilation, lambda value: f"{value:g}")
SWITCH: Final = Kind("", _switch, lambda value: "on" if value else "off")
ADDRESS: Final = Kind("ADDRESS", parse_address)
OPTIONAL_ADDRESS: Final = Kind(
    "ADDRESS", _optional_address, lambda value: "off" if value is None else str(value)
)
OTLP: Final = Kind("URL", parse_endpoint)
PATH: Final = Kind("FILE", Path)
FOLDER: Final = Kind("DIR", Path)
NAMES: Final = Kind("NAME,...", _names, lambda value: ",".join(value) or "none")
_MODES: Final = choice(*(str(mode.value) for mode in ExhaustionMode))
EXHAUSTION: Final = Kind(
    _MODES.metavar, lambda text: ExhaustionMode(_MODES.parse(text)), lambda mode: str(mode.value)
)
