"""The reaper: a periodic, bounded scan of the vswap entries that frees zombies and TRIMs their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.spaces import drop_all

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision, Tier
    from cramagent.policy.mm import Mm


class Reaper:
    """Walks the vswap table, `reap_batch_pages` slots a turn."""

    def __init__(self, mm: Mm) -> None:
        self._mm = mm

    def scan(self, now_ns: int) -> Decision[None]:
        """One turn. Zombies that the TRIM buffer has no room for stay till the next time around."""
        mm = self._mm
        mm.now_ns = now_ns
        if not mm.vswap.zombies:
            # What the kernel's thread would find out by scanning; the scan is spared, nothing else.
            return
        drops: dict[Tier, list[int]] = {}
        for folio in mm.vswap.scan(mm.settings.reap_batch_pages):
            if not folio.mappers:
                mm.reap(folio, drops)
        yield from drop_all(drops)
