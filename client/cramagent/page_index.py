"""The pages that the access pattern draws from: a list that grows and shrinks in constant time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PageIndex:
    """(space, vpn) pairs, each once, at positions 0..len-1. A position stays unless pages go away."""

    def __init__(self) -> None:
        self._pages: list[tuple[int, int]] = []
        self._where: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, position: int) -> tuple[int, int]:
        return self._pages[position]

    def at(self, positions: Iterable[int]) -> list[tuple[int, int]]:
        """The pages at these positions."""
        pages = self._pages
        return [pages[position] for position in positions]

    def __contains__(self, page: tuple[int, int]) -> bool:
        return page in self._where

    def add(self, pages: Iterable[tuple[int, int]]) -> None:
        """Add pages; nothing for those that are there."""
        where = self._where
        for page in pages:
            if page not in where:
                where[page] = len(self._pages)
                self._pages.append(page)

    def remove(self, page: tuple[int, int]) -> None:
        """Take a page out; the last one takes its position. Nothing if it is not there."""
        position = self._where.pop(page, None)
        if position is None:
            return
        last = self._pages.pop()
        if last != page:
            self._pages[position] = last
            self._where[last] = position
