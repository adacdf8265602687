"""When a device has no free media left, if what its readings show goes on. As its own page works it out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Points = Sequence[tuple[float, float]]
    """When (s, of any clock), and how many bytes were free then; oldest first."""

_LEAST_KNOWN = 3
"""Nothing is said by less than a third of a window."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to come."""

    left_s: float
    """Seconds until nothing is free; infinite: it does not fill."""
    by: str
    """By what was seen of which time."""


def forecast(points: Points, physical: float) -> Forecast | None:
    """By the last five minutes, while the last one agrees; of a short life, by a minute and ten seconds.

    Args:
        points: readings of one power-on.
        physical: the device's media, bytes. Less than a hundredth of it an hour is no filling.

    Returns:
        None: too little is known.
    """
    long, minute = slope(points, 300), slope(points, 60)
    falls, lately, by = (
        (minute, slope(points, 10), "minute") if long is None else (long, minute, "five minutes")
    )
    if falls is None or lately is None:
        return None
    free = points[-1][1]
    filling = falls * 3600 < -physical / 100 and lately < 0 and free < physical
    return Forecast(free / -falls if filling else math.inf, f"by the last {by}")


def slope(points: Points, window_s: float) -> float | None:
    """Bytes a second over the last `window_s`, by least squares; None: less than a third of it is known."""
    if not points:
        return None
    newest = points[-1][0]
    known = [(when - newest, free) for when, free in points if when > newest - window_s]
    if -known[0][0] < window_s / _LEAST_KNOWN:
        return None
    mean_when = sum(when for when, _ in known) / len(known)
    mean_free = sum(free for _, free in known) / len(known)
    over = sum((when - mean_when) * (free - mean_free) for when, free in known)
    return over / sum((when - mean_when) ** 2 for when, _ in known)
