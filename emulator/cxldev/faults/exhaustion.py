"""Exhaustion: media is held back from the hosts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExhaustionFault:
    """Hold back this much media: exactly one of the two. What is not free now is taken as it becomes free."""

    bytes: int | None = None
    """1..physical capacity."""
    share_milli: int | None = None
    """Of the physical capacity, 1..1000 per mille."""
