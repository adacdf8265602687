"""Reset: power is lost and comes back; nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResetFault:
    """A new generation begins, at once. Armed faults stay armed."""
