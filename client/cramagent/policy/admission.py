"""Admission: how many pages demotion may offer to the node before the device has to say no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy.settings import PAGE_BYTES, Admission

if TYPE_CHECKING:
    from cramagent.policy.answers import NodeReading
    from cramagent.policy.settings import PolicySettings

WORST_PAGE_BYTES: Final = PAGE_BYTES + 16
"""Media that a page takes at most: stored raw, with the device's default metadata."""

QUIET_NS: Final = 1_000_000_000
"""No reading is under way for longer: what comes so long after the last change was taken after it."""


class Admittance:
    """`optimistic`: all. `upper-bound`: never more than the last capacity reading surely has room for.

    Every device page allocated since the reading counts as incompressible, and so does every page
    that the reading does not know of yet (reading and allocation race: a reading taken before the
    last writes landed says too much is free). Those are the pages held and not stored; and as many
    more as may have been trimmed since it was taken, up to what was allocated: taken after the
    reading before came, so both are counted from there. Readings between which nothing happened are
    one, as several may have waited for the host together, until nothing happened for `QUIET_NS`.
    What was trimmed since is not credited. Before the first reading nothing is admitted. Pages made
    writable are not counted: the budget is their dial.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self._bounded = settings.admission is Admission.UPPER_BOUND
        self._room = 0
        self._since = self._before = (0, 0)
        """Pages (allocated, trimmed) since the last reading; and between the two before that, if any."""
        self._before_ns = 0

    def reset(self) -> None:
        """A new node: no reading yet, and nothing on it."""
        self._room = 0
        self._since = self._before = (0, 0)

    def reading(self, reading: NodeReading, held_pages: int, now_ns: int) -> None:
        """`held_pages`: device pages that the host believes hold data now."""
        if self._since != (0, 0):
            self._before, self._since, self._before_ns = self._since, (0, 0), now_ns
        elif now_ns - self._before_ns >= QUIET_NS:
            self._before = (0, 0)
        free = min(reading.media_free_bytes, reading.region_free_bytes)
        allocated, trimmed = self._before
        missing = max(0, held_pages - reading.stored_pages)
        unseen = max(missing, min(allocated, held_pages - reading.stored_pages + trimmed))
        self._room = free // reading.worst_page_bytes - unseen

    @property
    def room_pages(self) -> int:
        """Pages that the last reading has room for, if none of them compresses; perhaps below 0."""
        return self._room

    def allowance(self, pages: int) -> int:
        """Of so many pages, how many may be offered."""
        return min(pages, max(0, self._room)) if self._bounded else pages

    def allocated(self, pages: int) -> None:
        """So many pages were written, or may have been."""
        self._room -= pages
        allocated, trimmed = self._since
        self._since = (allocated + pages, trimmed)

    def trimmed(self, pages: int) -> None:
        """So many pages were given back."""
        allocated, trimmed = self._since
        self._since = (allocated, trimmed + pages)
