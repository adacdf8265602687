"""What the faults have in common that hit pages once: pages by address, or drawn at random."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from cxldev.checks import page_numbers
from cxldev.config import PAGE_BYTES
from cxldev.errors import InvalidField, TooMany

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.page_table import PageTable

_LARGEST_U64: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class PageChoice(ABC):
    """These pages of a host, or, if none is named, pages drawn at random among those that can be hit."""

    kind: ClassVar[str]
    """Its field in `cramwire.v1.Fault`."""
    wanted: ClassVar[str]
    """What a page that can be hit is or has, for messages."""

    host: str
    dpas: tuple[int, ...] = ()
    random_pages: int = 0
    seed: int = 0

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField or TooMany if this cannot be injected into any device of this kind."""
        if bool(self.dpas) == bool(self.random_pages):
            raise InvalidField(f"{self.kind} takes either dpas or random_pages, and exactly one of them")
        if self.random_pages < 0 or not 0 <= self.seed <= _LARGEST_U64:
            raise InvalidField(f"{self.kind} random_pages {self.random_pages}, seed {self.seed}: not below 0")
        if self.dpas and not (min(self.dpas) >= 0 and max(self.dpas) <= _LARGEST_U64):
            raise InvalidField(f"{self.kind} dpas are unsigned 64-bit addresses")
        if max(len(self.dpas), self.random_pages) > config.max_pages_per_request:
            raise TooMany(
                f"{self.kind} of {max(len(self.dpas), self.random_pages)} pages: at most "
                f"{config.max_pages_per_request} in one request"
            )

    @abstractmethod
    def eligible(self, kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which pages can be hit, by what the media holds of them."""

    def drawable(self, kinds: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of these are drawn at random."""
        return self.eligible(kinds)

    def choose(self, table: PageTable, config: DeviceConfig) -> NDArray[np.int64]:
        """Page numbers, ascending where they are drawn.

        Raises:
            InvalidField: a named page cannot be hit, or fewer than asked for can be.
            NotAligned, OutOfRange, Overlapping: as of any request.
        """
        if self.dpas:
            pages = page_numbers(np.array(self.dpas, np.uint64), len(table), config.max_pages_per_request)
            unfit = pages[~self.eligible(table.kind[pages])]
            if unfit.size:
                raise InvalidField(
                    f"{self.kind} of page {int(unfit[0]) * PAGE_BYTES:#x} of {self.host}: only a page that "
                    f"{self.wanted} can be hit"
                )
            return pages
        fit = np.flatnonzero(self.drawable(table.kind))
        if len(fit) < self.random_pages:
            raise InvalidField(
                f"{self.kind} of {self.random_pages} pages of {self.host}: {len(fit)} can be drawn"
            )
        return np.sort(np.random.default_rng(self.seed).choice(fit, self.random_pages, replace=False))
