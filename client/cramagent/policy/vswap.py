"""The vswap table: virtual swap slots, indirect, so that a backend changes without touching PTEs.

An entry names the folio whose bytes it stands for; who uses it is the folio's reverse map. An entry
whose last user is gone is a zombie: its device page (or tier handle, or nothing) waits for the reaper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.policy.folio import Folio


class VswapEntry:
    """One virtual swap slot."""

    __slots__ = ("folio", "slot", "zombie_since_ns")

    def __init__(self, slot: int, folio: Folio) -> None:
        self.slot = slot
        self.folio = folio
        self.zombie_since_ns = 0
        """When the last user went away, ns; means something only for a zombie."""

    @property
    def users(self) -> int:
        """How many PTEs hold this entry, or cache it behind an R/O mapping."""
        return len(self.folio.mappers)


class VswapTable:
    """All entries by slot. Freed slots are used again; `scan` walks the slots with a hand."""

    def __init__(self) -> None:
        self._slots: list[VswapEntry | None] = []
        self._free: list[int] = []
        self._hand = 0
        self.zombies = 0
        """Entries without users: kept by whoever makes and frees them (`Mm`)."""

    def __len__(self) -> int:
        return len(self._slots) - len(self._free)

    def __iter__(self) -> Iterator[VswapEntry]:
        return (entry for entry in self._slots if entry is not None)

    def add(self, folio: Folio) -> VswapEntry:
        """A new entry for a folio that has none."""
        assert folio.entry is None, folio
        if self._free:
            slot = self._free.pop()
            entry = self._slots[slot] = VswapEntry(slot, folio)
        else:
            entry = VswapEntry(len(self._slots), folio)
            self._slots.append(entry)
        folio.entry = entry
        return entry

    def drop(self, folio: Folio) -> None:
        """The folio's entry is reaped."""
        entry = folio.entry
        assert entry is not None, folio
        self._slots[entry.slot] = None
        self._free.append(entry.slot)
        folio.entry = None

    def scan(self, count: int) -> list[VswapEntry]:
        """The entries in the next `count` slots after the hand, which moves on; at most one turn."""
        size = len(self._slots)
        if not size:
            return []
        start = self._hand % size
        end = start + min(count, size)
        seen = self._slots[start:end]
        if end > size:
            seen += self._slots[: end - size]
        self._hand = end % size
        return [entry for entry in seen if entry is not None]
