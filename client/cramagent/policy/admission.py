"""Admission: how many pages demotion may offer to the node before the device has to say no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy.settings import PAGE_BYTES, Admission

if TYPE_CHECKING:
    from cramagent.policy.answers import NodeReading
    from cramagent.policy.settings import PolicySettings

WORST_PAGE_BYTES: Final = PAGE_BYTES + 16
"""Media that a page takes at most: stored raw, with the device's default metadata."""


class Admittance:
    """`optimistic`: all. `upper-bound`: never more than the last capacity reading surely has room for.

    Every device page allocated since the reading counts as incompressible, and so does every page
    that the reading does not know of yet (reading and allocation race: a reading taken before the
    last writes landed says too much is free). What was trimmed since is not credited. Before the
    first reading nothing is admitted. Pages made writable are not counted: the budget is their dial.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self._bounded = settings.admission is Admission.UPPER_BOUND
        self._room = 0

    def reset(self) -> None:
        """A new node: no reading yet."""
        self._room = 0

    def reading(self, reading: NodeReading, held_pages: int) -> None:
        """`held_pages`: device pages that the host believes hold data now."""
        free = min(reading.media_free_bytes, reading.region_free_bytes)
        unseen = max(0, held_pages - reading.stored_pages)
        self._room = free // WORST_PAGE_BYTES - unseen

    def allowance(self, pages: int) -> int:
        """Of so many pages, how many may be offered."""
        return min(pages, max(0, self._room)) if self._bounded else pages

    def allocated(self, pages: int) -> None:
        """So many pages were written, or may have been."""
        self._room -= pages
