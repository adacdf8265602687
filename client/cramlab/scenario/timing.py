"""Moments of a scenario, for people."""

from __future__ import annotations

from typing import Final

_MINUTE_NS: Final = 60_000_000_000


def shown_ns(at_ns: int) -> str:
    """Since time zero: `2.000 s`, `12 min 5.0 s`."""
    if abs(at_ns) < 10 * _MINUTE_NS:
        return f"{at_ns / 1e9:.3f} s"
    minutes, rest = divmod(at_ns, _MINUTE_NS)
    return f"{minutes} min {rest / 1e9:.1f} s"
