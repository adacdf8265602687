"""Poison: the bytes of stored pages are lost, and a later read finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from cxldev.checks import page_numbers
from cxldev.config import PAGE_BYTES
from cxldev.errors import InvalidField, TooMany
from cxldev.outcomes import PageKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.page_table import PageTable

_LARGEST_U64: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class PoisonFault:
    """Poison these pages of a host, or, if none is named, pages drawn at random. Done at once, not held.

    Only stored pages can be poisoned. Pages are drawn from those that are not poisoned yet.
    """

    kind: ClassVar[str] = "poison"

    host: str
    dpas: tuple[int, ...] = ()
    random_pages: int = 0
    seed: int = 0

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField or TooMany if this cannot be injected into any device of this kind."""
        if bool(self.dpas) == bool(self.random_pages):
            raise InvalidField("poison takes either dpas or random_pages, and exactly one of them")
        if self.random_pages < 0 or not 0 <= self.seed <= _LARGEST_U64:
            raise InvalidField(f"poison random_pages {self.random_pages}, seed {self.seed}: not below 0")
        if self.dpas and not (min(self.dpas) >= 0 and max(self.dpas) <= _LARGEST_U64):
            raise InvalidField("poison dpas are unsigned 64-bit addresses")
        if max(len(self.dpas), self.random_pages) > config.max_pages_per_request:
            raise TooMany(
                f"poison of {max(len(self.dpas), self.random_pages)} pages: at most "
                f"{config.max_pages_per_request} in one request"
            )

    def choose(self, table: PageTable, config: DeviceConfig) -> NDArray[np.int64]:
        """Page numbers, ascending where they are drawn.

        Raises:
            InvalidField: a named page holds nothing, or fewer pages than asked for can be poisoned.
            NotAligned, OutOfRange, Overlapping: as of any request.
        """
        if self.dpas:
            pages = page_numbers(np.array(self.dpas, np.uint64), len(table), config.max_pages_per_request)
            empty = pages[table.kind[pages] == PageKind.EMPTY]
            if empty.size:
                raise InvalidField(
                    f"page {int(empty[0]) * PAGE_BYTES:#x} of {self.host} holds no data: only stored pages "
                    "can be poisoned"
                )
            return pages
        sound = np.flatnonzero((table.kind != PageKind.EMPTY) & (table.kind != PageKind.POISONED))
        if len(sound) < self.random_pages:
            raise InvalidField(
                f"{self.host} stores {len(sound)} pages that are not poisoned: {self.random_pages} were "
                "asked for"
            )
        drawn = np.random.default_rng(self.seed).choice(sound, self.random_pages, replace=False)
        return np.sort(drawn)
