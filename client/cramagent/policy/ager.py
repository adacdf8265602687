"""The ager: writable mappings become R/O again when they are aged, or when pressure cuts the budget.

Aged: nothing was stored for `writable_age_ns`. Cut: while the node is closed the ceiling is
`budget * (1000 - pressure) / 1000` (`Writable.ceiling`), and the longest without a store go first.
A node that is closed cuts its own; the others keep theirs.
Page-table work only; one turn looks at a bounded number of folios.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy import rmap
from cramagent.policy.states import PageEvent

if TYPE_CHECKING:
    from cramagent.policy.budget import Writable
    from cramagent.policy.effects import Decision
    from cramagent.policy.mm import Mm

FOLIOS_PER_TURN: Final = 1024


class Ager:
    """Scans `Writable` from the folio that has gone longest without a store."""

    def __init__(self, mm: Mm) -> None:
        self._mm = mm

    def scan(self, now_ns: int) -> Decision[None]:
        """One turn."""
        self._mm.now_ns = now_ns
        for node in self._mm.nodes:
            self._scan(node.writable, now_ns)
        yield from ()

    def _scan(self, writable: Writable, now_ns: int) -> None:
        mm = self._mm
        for _ in range(min(FOLIOS_PER_TURN, len(writable))):
            folio = next(iter(writable))
            if len(writable) > writable.ceiling:
                mm.counters.reprotects_pressure += 1
            elif now_ns - folio.stored_ns >= mm.settings.writable_age_ns:
                mm.counters.reprotects_aged += 1
            else:
                break
            rmap.reprotected(mm, folio, PageEvent.REPROTECT)

    def reprotect_all(self, now_ns: int) -> None:
        """Every writable mapping, at once: the nodes are to be emptied. Counted as pressure."""
        mm = self._mm
        mm.now_ns = now_ns
        for folio in [folio for node in mm.nodes for folio in node.writable]:
            rmap.reprotected(mm, folio, PageEvent.REPROTECT)
            mm.counters.reprotects_pressure += 1
