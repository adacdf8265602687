"""Where reads go, for sources whose reads cannot be seen: drawn, seeded, and stated in the report.

`parse_pattern` reads `zipf`, `zipf:0.8`, `scan`, `hotset`, `hotset:0.1:0.9`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Positions: TypeAlias = "NDArray[np.int64]"

_SCATTER: Final = 0x9E3779B1
"""Odd, so that multiplying by it permutes any power of two: neighbours in rank lie apart in memory."""


class PatternError(ValueError):
    """Not a pattern; the message says what is."""


class Pattern(Protocol):
    """Draws positions in a list of pages that grows and shrinks."""

    def draw(self, count: int, pages: int) -> list[int]:
        """`count` positions of 0..pages-1. The same seed and calls give the same positions."""
        ...

    def __str__(self) -> str:
        """As `parse_pattern` reads it."""
        ...


class Zipf:
    """The page of rank r is read in proportion to 1 / r^s."""

    def __init__(self, exponent: float, seed: int) -> None:
        self._exponent = exponent
        self._random = np.random.Generator(np.random.PCG64(seed))

    def __str__(self) -> str:
        return f"zipf:{self._exponent:g}"

    def draw(self, count: int, pages: int) -> list[int]:
        """Ranks by the inverse of the (continuous) distribution, scattered over the pages."""
        uniform = self._random.random(count)
        if self._exponent == 1.0:
            ranks = np.exp(uniform * np.log(pages + 1))
        else:
            power = 1.0 - self._exponent
            ranks = (uniform * ((pages + 1) ** power - 1.0) + 1.0) ** (1.0 / power)
        positions: list[int] = _scatter(ranks.astype(np.int64) - 1, pages).tolist()
        return positions


class Scan:
    """One page after the other, round and round."""

    def __init__(self) -> None:
        self._next = 0

    def __str__(self) -> str:
        return "scan"

    def draw(self, count: int, pages: int) -> list[int]:
        """The next `count` pages."""
        drawn = [(self._next + step) % pages for step in range(count)]
        self._next = (self._next + count) % pages
        return drawn


class HotSet:
    """A share `hits` of the reads go to a share `pages` of the pages."""

    def __init__(self, share: float, hits: float, seed: int) -> None:
        self._share = share
        self._hits = hits
        self._random = np.random.Generator(np.random.PCG64(seed))

    def __str__(self) -> str:
        return f"hotset:{self._share:g}:{self._hits:g}"

    def draw(self, count: int, pages: int) -> list[int]:
        """Hot or cold first, then any page of that set."""
        hot = max(1, int(pages * self._share))
        is_hot = self._random.random(count) < self._hits
        anywhere = self._random.random(count)
        ranks = np.where(is_hot | (hot == pages), anywhere * hot, hot + anywhere * (pages - hot))
        positions: list[int] = _scatter(ranks.astype(np.int64), pages).tolist()
        return positions


def _scatter(ranks: _Positions, pages: int) -> _Positions:
    """Which page each rank is: fixed while the number of pages stays below the same power of two."""
    mask = (1 << max(1, (pages - 1).bit_length())) - 1
    positions = np.clip(ranks, 0, pages - 1) * _SCATTER & mask
    # What falls behind the last page walks on along the permutation's cycle: no two ranks ever meet.
    while (outside := positions >= pages).any():
        positions[outside] = positions[outside] * _SCATTER & mask
    return positions


def parse_pattern(text: str, seed: int) -> Pattern:
    """The pattern that `text` names.

    Raises:
        PatternError: it names none.
    """
    name, *numbers = text.split(":")
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = [-1.0]
    match name, values:
        case "scan", []:
            return Scan()
        case "zipf", []:
            return Zipf(1.0, seed)
        case "zipf", [exponent] if 0 < exponent <= 4:
            return Zipf(exponent, seed)
        case "hotset", []:
            return HotSet(0.1, 0.9, seed)
        case "hotset", [share, hits] if 0 < share <= 1 and 0 <= hits <= 1:
            return HotSet(share, hits, seed)
    raise PatternError(
        f"{text!r} is not a pattern: write zipf, zipf:1.2 (an exponent above 0), scan, hotset, "
        "or hotset:0.1:0.9 (a tenth of the pages gets nine tenths of the reads)"
    )
