"""What a region holds of each of its pages: columns, one entry a page, 12 bytes a page in all.

| column   | of a COMPRESSED or RAW page     | SAME_FILLED | POISONED | EMPTY |
|----------|---------------------------------|-------------|----------|-------|
| kind     | `PageKind`                      | same        | same     | 0     |
| sectors  | media sectors charged           | as charged  | 0        | 0     |
| size     | bytes of its frame in the arena | 0           | 0        | 0     |
| place    | offset in the arena             | the word    | 1: told  | 0     |

A STAGED page has size and place as it will have them once it is drained, and the sectors of
the page that it replaces, which are charged until then.

`told`: the event of this poisoning is in the log already; 0 until a read meets the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from cxldev.outcomes import COMPRESSED, EMPTY, SAME_FILLED, PageKind
from cxldev.sparse import sparse_zeros

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    _Sectors = NDArray[np.int64] | NDArray[np.uint8]

MOST_SECTORS: Final = 64
"""Sectors of a page where a sector is as small as can be (64 bytes)."""
KINDS: Final = len(PageKind)
_CENSUS: Final = KINDS * (MOST_SECTORS + 1)
_UNCOUNTED: Final = 1024
"""Pages that come and go before they are entered in the census."""
_FEW: Final = 1024
"""Pages of a TRIM up to which they are listed one by one."""
_CHUNK: Final = 1 << 16
"""Pages that a resize looks at together: chunks that hold nothing are not copied."""


def page_kinds(sizes: NDArray[np.int64], sectors: NDArray[np.int64], page_sectors: int) -> NDArray[np.uint8]:
    """Kind of each page, by what it takes: of no bytes, of a whole page's sectors, of fewer."""
    kinds = (sectors >= page_sectors).astype(np.uint8)
    kinds += np.uint8(COMPRESSED)
    kinds[sizes == 0] = SAME_FILLED
    return kinds


class Held(NamedTuple):
    """What the table says of the pages of a command, one entry a page: a copy."""

    kinds: NDArray[np.uint8]
    sectors: NDArray[np.uint8]
    sizes: NDArray[np.uint16]
    places: NDArray[np.uint64]


class PageTable:
    """The pages of one region. Page numbers are positions; memory is taken as pages are used."""

    __slots__ = ("_census", "_come", "_gone", "_uncounted", "kind", "place", "sectors", "size")

    def __init__(self, pages: int) -> None:
        self.kind = sparse_zeros(pages, np.uint8)
        self.sectors = sparse_zeros(pages, np.uint8)
        self.size = sparse_zeros(pages, np.uint16)
        self.place = sparse_zeros(pages, np.uint64)
        self._census = np.zeros((KINDS, MOST_SECTORS + 1), np.int64)
        self._come: list[tuple[NDArray[np.uint8], _Sectors]] = []
        self._gone: list[tuple[NDArray[np.uint8], _Sectors]] = []
        """Kinds and sectors of pages that the census does not count yet, and of those it still counts."""
        self._uncounted = 0

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def census(self) -> NDArray[np.int64]:
        """Stored pages by kind and sectors: kept, so that nobody needs to scan."""
        if not (self._come or self._gone):
            return self._census
        self._census += _counted(self._come)
        self._census -= _counted(self._gone)
        self._come.clear()
        self._gone.clear()
        self._uncounted = 0
        return self._census

    def held(self, pages: NDArray[np.int64]) -> Held:
        """What is entered for these pages."""
        return Held(self.kind[pages], self.sectors[pages], self.size[pages], self.place[pages])

    def set(
        self,
        pages: NDArray[np.int64],
        *,
        kinds: NDArray[np.uint8],
        sectors: NDArray[np.int64],
        sizes: NDArray[np.int64],
        places: NDArray[np.uint64],
        held: Held | None = None,
    ) -> None:
        """Write these entries, and keep the arrays. The arena's places of the old ones are the caller's.

        `held`: what `held` told of the pages since they were changed last, if somebody asked.
        """
        self._gone.append((self.kind[pages], self.sectors[pages]) if held is None else held[:2])
        self._come.append((kinds, sectors))
        self._count_later(2 * len(pages))
        self.kind[pages] = kinds
        self.sectors[pages] = sectors
        self.size[pages] = sizes
        self.place[pages] = places

    def set_single(self, page: int, *, kind: int, sectors: int, size: int, place: int) -> None:
        """As `set`, for one page that is not empty afterwards."""
        old_kind = self.kind.item(page)
        if old_kind:
            self._census[old_kind, self.sectors.item(page)] -= 1
        self._census[kind, sectors] += 1
        self.kind[page] = kind
        self.sectors[page] = sectors
        self.size[page] = size
        self.place[page] = place

    def clear(self, pages: NDArray[np.int64], kind: int = EMPTY) -> None:
        """Make these pages empty, or poisoned."""
        self._gone.append((self.kind[pages], self.sectors[pages]))
        self._count_later(len(pages))
        self.kind[pages] = kind
        self.sectors[pages] = 0
        self.size[pages] = 0
        self.place[pages] = 0
        if kind:
            self._census[kind, 0] += len(pages)

    def drained(self, pages: NDArray[np.int64], kinds: NDArray[np.uint8], sectors: NDArray[np.int64]) -> None:
        """These staged pages lie on the media; their bytes stay where they are."""
        self._gone.append((self.kind[pages], self.sectors[pages]))
        self._come.append((kinds, sectors))
        self._count_later(2 * len(pages))
        self.kind[pages] = kinds
        self.sectors[pages] = sectors

    def tell_poisoned(self, pages: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these pages are poisoned and were not told of yet. They are, from now on."""
        new: NDArray[np.bool_] = (self.kind[pages] == PageKind.POISONED) & (self.place[pages] == 0)
        self.place[pages[new]] = 1
        return new

    def resized(self, pages: int) -> PageTable:
        """The same pages in a table of another length. What is cut off must be empty."""
        other = PageTable(pages)
        for start in range(0, min(pages, len(self)), _CHUNK):
            end = min(start + _CHUNK, pages, len(self))
            if not self.kind[start:end].any():
                continue
            for column in ("kind", "sectors", "size", "place"):
                getattr(other, column)[start:end] = getattr(self, column)[start:end]
        other._census = self.census
        return other

    def stored_in(self, start: int, end: int) -> NDArray[np.int64]:
        """Numbers of the pages in start..end-1 that are not empty."""
        return np.flatnonzero(self.kind[start:end]) + start

    def stored_among(self, ranges: list[tuple[int, int]]) -> NDArray[np.int64]:
        """The same for several ranges in ascending order."""
        if sum(end - start for start, end in ranges) > _FEW:
            return np.concatenate([self.stored_in(start, end) for start, end in ranges])
        # Many short ranges: numpy's fixed cost once, not for each.
        pages = np.array([page for start, end in ranges for page in range(start, end)], np.int64)
        stored: NDArray[np.int64] = pages[self.kind[pages] != EMPTY]
        return stored

    def in_arena(self, start: int, end: int) -> NDArray[np.int64]:
        """Numbers of the pages in start..end-1 whose bytes the arena holds."""
        return np.flatnonzero(self.size[start:end]) + start

    @property
    def stored_pages(self) -> int:
        """Pages that are not empty."""
        return int(self.census.sum())

    def pages_of(self, kind: PageKind) -> int:
        """Stored pages of one kind."""
        return int(self.census[kind].sum())

    def _count_later(self, pages: int) -> None:
        """So many pages more are to be entered in the census: it is numpy's fixed costs for each command."""
        self._uncounted += pages
        if self._uncounted > _UNCOUNTED:
            _ = self.census


def sum_census(tables: Iterable[PageTable]) -> NDArray[np.int64]:
    """The census of several tables together: stored pages by kind and sectors."""
    total = np.zeros((KINDS, MOST_SECTORS + 1), np.int64)
    for table in tables:
        total += table.census
    return total


def _counted(changes: list[tuple[NDArray[np.uint8], _Sectors]]) -> NDArray[np.int64] | int:
    """A census of these pages. Empty ones are not counted."""
    if not changes:
        return 0
    keys = np.concatenate([kinds for kinds, _ in changes]).astype(np.int64) * (MOST_SECTORS + 1)
    keys += np.concatenate([sectors for _, sectors in changes])
    found = np.bincount(keys, minlength=_CENSUS).reshape(KINDS, MOST_SECTORS + 1)
    found[EMPTY] = 0
    return found
