"""The mathematics of the bench: samples of several rounds become one row."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one row. Both values in the row's unit."""

    value: float
    raw: float | None = None
    """The same work by plain zstandard in the same round; None where there is no such work."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    name: str
    unit: str
    median: float
    min: float
    max: float
    raw: float | None
    """Median over the rounds."""
    ratio: float | None
    """Median of value / raw of each round: noise that lasts a whole round cancels out."""

    @property
    def pages_per_second(self) -> float | None:
        """The median as pages, where the unit is MB/s."""
        return self.median * 1e6 / PAGE_BYTES if self.unit == "MB/s" else None

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the JSON: figures of four digits, which is more than the noise leaves."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": _figure(self.median),
            "min": _figure(self.min),
            "max": _figure(self.max),
            "raw": _figure(self.raw),
            "ratio": _figure(self.ratio),
            "pages_per_s": _figure(self.pages_per_second),
        }


def summarise(name: str, unit: str, samples: Sequence[Sample]) -> Row:
    """One row from the samples of all rounds.

    Raises:
        ValueError: there is no sample, or a raw value is not above 0.
    """
    if not samples:
        raise ValueError(f"{name}: no round was measured")
    values = [sample.value for sample in samples]
    pairs = [(sample.value, sample.raw) for sample in samples if sample.raw is not None]
    if any(raw <= 0 for _, raw in pairs):
        raise ValueError(f"{name}: plain zstandard cannot have done 0 {unit}")
    return Row(
        name,
        unit,
        median(values),
        min(values),
        max(values),
        median(raw for _, raw in pairs) if pairs else None,
        median(value / raw for value, raw in pairs) if pairs else None,
    )


def megabytes_per_second(pages: int, seconds: float) -> float:
    """MB/s (10^6 bytes) of `pages` pages in `seconds`."""
    return pages * PAGE_BYTES / 1e6 / seconds


def _figure(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
