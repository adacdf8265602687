"""The mathematics of the bench: samples of several rounds become one row, which is held against its goal."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row's ratio should reach; or, where the row has no ratio, its median."""

    limit: float
    at_least: bool

    def met_by(self, reached: float) -> bool:
        """Whether this is good enough."""
        return reached >= self.limit if self.at_least else reached <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


def at_least(limit: float) -> Goal:
    """More is better."""
    return Goal(limit, at_least=True)


def at_most(limit: float) -> Goal:
    """Less is better."""
    return Goal(limit, at_least=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a row is about: known before anything is measured."""

    name: str
    unit: str
    against: str = ""
    """What `raw` is, in words; empty where there is none."""
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one figure. All values in the figure's unit."""

    value: float
    raw: float | None = None
    """What it is compared with, measured in the same round; None where there is no such thing."""
    allowed: float = 0.0
    """Part of the value that the ratio leaves out (of a call: the time that zstd takes)."""

    @property
    def ratio(self) -> float | None:
        """(value - allowed) / raw."""
        return None if self.raw is None else (self.value - self.allowed) / self.raw


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result."""

    figure: Figure
    median: float | None = None
    """None: not measured; `reason` says why."""
    min: float | None = None
    max: float | None = None
    raw: float | None = None
    """Median over the rounds."""
    allowed: float | None = None
    """Median over the rounds."""
    ratio: float | None = None
    """Median of the rounds' ratios: noise that lasts a whole round cancels out."""
    reason: str = ""
    """Why it was not measured, or which row this one is taken from."""

    @property
    def name(self) -> str:
        """Of the figure."""
        return self.figure.name

    @property
    def unit(self) -> str:
        """Of median, min, max and raw."""
        return self.figure.unit

    @property
    def pages_per_second(self) -> float | None:
        """The median as pages, where the unit is MB/s."""
        if self.median is None or self.unit != "MB/s":
            return None
        return self.median * 1e6 / PAGE_BYTES

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal. What was not measured reached nothing."""
        if self.figure.goal is None:
            return None
        reached = self.median if self.ratio is None else self.ratio
        return reached is not None and self.figure.goal.met_by(reached)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the JSON: figures of four digits, which is more than the noise leaves."""
        goal = self.figure.goal
        return {
            "name": self.name,
            "unit": self.unit,
            "median": _figure(self.median),
            "min": _figure(self.min),
            "max": _figure(self.max),
            "raw": _figure(self.raw),
            "ratio": _figure(self.ratio),
            "goal": None if goal is None else str(goal),
            "met": self.met,
            "against": self.figure.against,
            "allowed": _figure(self.allowed),
            "pages_per_s": _figure(self.pages_per_second),
            "reason": self.reason,
        }


def summarise(figure: Figure, samples: Sequence[Sample]) -> Row:
    """One row from the samples of all rounds.

    Raises:
        ValueError: there is no sample, or a raw value is not above 0.
    """
    if not samples:
        raise ValueError(f"{figure.name}: no round was measured")
    raws = [sample.raw for sample in samples if sample.raw is not None]
    if any(raw <= 0 for raw in raws):
        raise ValueError(f"{figure.name}: what it is compared with cannot have been 0 {figure.unit}")
    ratios = [sample.ratio for sample in samples if sample.ratio is not None]
    values = [sample.value for sample in samples]
    allowed = median(sample.allowed for sample in samples)
    return Row(
        figure,
        median(values),
        min(values),
        max(values),
        median(raws) if raws else None,
        allowed or None,
        median(ratios) if ratios else None,
    )


def not_available(figure: Figure, reason: str) -> Row:
    """The row of a figure that could not be measured here."""
    return Row(figure, reason=reason)


def best(figure: Figure, rows: Sequence[Row]) -> Row:
    """The row with the highest ratio, under another name. Not the best round: the best row.

    Raises:
        ValueError: there is nothing to choose from.
    """
    measured = [row for row in rows if row.ratio is not None]
    if not measured:
        if not rows:
            raise ValueError(f"{figure.name}: nothing to choose from")
        return not_available(figure, rows[0].reason)
    row = max(measured, key=lambda row: row.ratio or 0.0)
    return Row(figure, row.median, row.min, row.max, row.raw, row.allowed, row.ratio, f"is {row.name}")


def megabytes_per_second(pages: int, seconds: float) -> float:
    """MB/s (10^6 bytes) of `pages` pages in `seconds`."""
    return pages * PAGE_BYTES / 1e6 / seconds


def _figure(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
