"""The vswap table: virtual swap slots, indirect, so that a backend changes without touching PTEs.

An entry is a slot that names the folio whose bytes it stands for (`Folio.slot` is the way back); who
uses it is the folio's reverse map. An entry whose last user is gone is a zombie: its device page (or
tier handle, or nothing) waits for the reaper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.folio import NO_ENTRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cramagent.policy.folio import Folio


class VswapTable:
    """All entries by slot. Freed slots are used again; `scan` walks the slots with a hand."""

    def __init__(self) -> None:
        self._slots: list[Folio | None] = []
        self._free: list[int] = []
        self._hand = 0
        self._zombies: dict[Folio, None] = {}
        """Whose entries have no users, in the order in which they became so."""

    def __len__(self) -> int:
        return len(self._slots) - len(self._free)

    @property
    def zombies(self) -> int:
        """Entries without users."""
        return len(self._zombies)

    @property
    def oldest_zombie(self) -> Folio | None:
        """The one that waits longest for the reaper: known, so that nobody needs to scan."""
        return next(iter(self._zombies), None)

    def orphan(self, folio: Folio) -> None:
        """The last user of its entry is gone, and the entry stays until it is dropped."""
        self._zombies[folio] = None

    def __iter__(self) -> Iterator[tuple[int, Folio]]:
        """(slot, folio) of every entry."""
        return ((slot, folio) for slot, folio in enumerate(self._slots) if folio is not None)

    def add(self, folios: Iterable[Folio]) -> None:
        """A new entry for each of these folios, which have none."""
        slots, free = self._slots, self._free
        for folio in folios:
            assert folio.slot == NO_ENTRY, folio
            if free:
                slot = free.pop()
                slots[slot] = folio
            else:
                slot = len(slots)
                slots.append(folio)
            folio.slot = slot

    def drop(self, folios: Iterable[Folio]) -> None:
        """The folios' entries are reaped."""
        slots, free, zombies = self._slots, self._free, self._zombies
        for folio in folios:
            slot = folio.slot
            assert slot != NO_ENTRY, folio
            if zombies:
                zombies.pop(folio, None)
            slots[slot] = None
            free.append(slot)
            folio.slot = NO_ENTRY

    def scan(self, count: int) -> list[Folio]:
        """Whose entries are in the next `count` slots after the hand, which moves on; at most one turn."""
        size = len(self._slots)
        if not size:
            return []
        start = self._hand % size
        end = start + min(count, size)
        seen = self._slots[start:end]
        if end > size:
            seen += self._slots[: end - size]
        self._hand = end % size
        return [folio for folio in seen if folio is not None]
