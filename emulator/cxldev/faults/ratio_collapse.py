"""Ratio collapse: pages compress worse than they would."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RatioCollapseFault:
    """Pages written from now on take no less media than this ratio gives (1000: nothing is saved)."""

    ratio_milli: int
