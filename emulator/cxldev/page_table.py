"""What a region holds of each of its pages: columns, one entry a page, 16 bytes a page in all.

| column   | of a COMPRESSED or RAW page     | SAME_FILLED | POISONED | EMPTY |
|----------|---------------------------------|-------------|----------|-------|
| kind     | `PageKind`                      | same        | same     | 0     |
| sectors  | media sectors charged           | as charged  | 0        | 0     |
| size     | bytes in the arena              | 0           | 0        | 0     |
| checksum | of the page, not compressed     | 0           | 0        | 0     |
| place    | offset in the arena             | the word    | 1: told  | 0     |

A STAGED page has size, checksum and place as it will have them once it is drained, and the sectors of
the page that it replaces, which are charged until then.

`told`: the event of this poisoning is in the log already; 0 until a read meets the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from cxldev.outcomes import COMPRESSED, EMPTY, SAME_FILLED, PageKind
from cxldev.sparse import sparse_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SECTORS: Final = 64
"""Sectors of a page where a sector is as small as can be (64 bytes)."""
KINDS: Final = len(PageKind)
_CENSUS: Final = KINDS * (MOST_SECTORS + 1)
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


class PageTable:
    """The pages of one region. Page numbers are positions; memory is taken as pages are used."""

    __slots__ = ("census", "checksum", "kind", "place", "sectors", "size")

    def __init__(self, pages: int) -> None:
        self.kind = sparse_zeros(pages, np.uint8)
        self.sectors = sparse_zeros(pages, np.uint8)
        self.size = sparse_zeros(pages, np.uint16)
        self.checksum = sparse_zeros(pages, np.uint32)
        self.place = sparse_zeros(pages, np.uint64)
        self.census = np.zeros((KINDS, MOST_SECTORS + 1), np.int64)
        """Stored pages by kind and sectors; kept up to date so that nobody needs to scan."""

    def __len__(self) -> int:
        return len(self.kind)

    def set(
        self,
        pages: NDArray[np.int64],
        *,
        kinds: NDArray[np.uint8],
        sectors: NDArray[np.int64],
        sizes: NDArray[np.int64],
        checksums: NDArray[np.uint32],
        places: NDArray[np.uint64],
    ) -> None:
        """Write these entries. The arena's places of the old ones are the caller's business."""
        self._count(self.kind[pages], self.sectors[pages], -1)
        self._count(kinds, sectors, 1)
        self.kind[pages] = kinds
        self.sectors[pages] = sectors
        self.size[pages] = sizes
        self.checksum[pages] = checksums
        self.place[pages] = places

    def set_single(self, page: int, *, kind: int, sectors: int, size: int, checksum: int, place: int) -> None:
        """As `set`, for one page that is not empty afterwards."""
        old_kind = self.kind.item(page)
        if old_kind:
            self.census[old_kind, self.sectors.item(page)] -= 1
        self.census[kind, sectors] += 1
        self.kind[page] = kind
        self.sectors[page] = sectors
        self.size[page] = size
        self.checksum[page] = checksum
        self.place[page] = place

    def clear(self, pages: NDArray[np.int64], kind: int = EMPTY) -> None:
        """Make these pages empty, or poisoned."""
        self._count(self.kind[pages], self.sectors[pages], -1)
        self.kind[pages] = kind
        self.sectors[pages] = 0
        self.size[pages] = 0
        self.checksum[pages] = 0
        self.place[pages] = 0
        if kind:
            self.census[kind, 0] += len(pages)

    def drained(self, pages: NDArray[np.int64], kinds: NDArray[np.uint8], sectors: NDArray[np.int64]) -> None:
        """These staged pages lie on the media; their bytes stay where they are."""
        self._count(self.kind[pages], self.sectors[pages], -1)
        self._count(kinds, sectors, 1)
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
            for column in ("kind", "sectors", "size", "checksum", "place"):
                getattr(other, column)[start:end] = getattr(self, column)[start:end]
        other.census = self.census
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

    def _count(
        self, kinds: NDArray[np.uint8], sectors: NDArray[np.int64] | NDArray[np.uint8], sign: int
    ) -> None:
        if len(kinds) == 1:
            if kinds[0]:
                self.census[kinds[0], sectors[0]] += sign
            return
        keys = kinds.astype(np.int64) * (MOST_SECTORS + 1) + sectors
        found = np.bincount(keys, minlength=_CENSUS).reshape(KINDS, MOST_SECTORS + 1)
        found[EMPTY] = 0
        if sign > 0:
            self.census += found
        else:
            self.census -= found
