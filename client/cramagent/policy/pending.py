"""The pages of one batch of faults that need bytes before they are mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cramagent.policy.effects import Tier
    from cramagent.policy.folio import Folio, Pte


class Pending:
    """Gathered by one pass of the fault handler. `position` is the page's place in the batch.

    A folio off DRAM that is pending is marked in flight, so that a second access to it in the same
    batch sees it; one in DRAM is in `sources` instead, as reclaim uses its mark.
    """

    __slots__ = ("ahead", "copies", "fresh", "held", "promotions", "sources", "swap_ins", "swapped")

    def __init__(self) -> None:
        self.fresh: dict[tuple[int, int], int] = {}
        """Position of each page (space, vpn) never used."""
        self.copies: list[tuple[int, Pte]] = []
        """Copy on write, from DRAM."""
        self.sources: set[Folio] = set()
        """What they copy."""
        self.promotions: list[tuple[int, Pte]] = []
        """Copied to DRAM from the device; their folios are in `held`."""
        self.swap_ins: dict[Tier, list[Folio]] = {}
        """All that is loaded from each tier."""
        self.swapped: list[tuple[int, Folio]] = []
        """Those of them that were asked for."""
        self.ahead: dict[Folio, None] = {}
        """Those that were not."""
        self.held: list[Folio] = []
        """Those that are marked in flight."""

    def __bool__(self) -> bool:
        return bool(self.promotions or self.fresh or self.swap_ins or self.copies)

    def copy(self, position: int, pte: Pte) -> None:
        """Copy a DRAM page for this writer."""
        self.copies.append((position, pte))
        self.sources.add(pte.folio)

    def swap_in(self, folio: Folio) -> None:
        """Load a page from its tier."""
        tier = folio.backend.tier
        assert tier is not None, folio
        folio.in_flight = True
        self.held.append(folio)
        self.swap_ins.setdefault(tier, []).append(folio)

    def swap_in_ahead(self, folio: Folio) -> None:
        """Load a page that nobody has asked for yet."""
        self.swap_in(folio)
        self.ahead[folio] = None

    def claim(self, folio: Folio) -> bool:
        """Now it is asked for. False: it is pending, and not read ahead."""
        if folio not in self.ahead:
            return False
        del self.ahead[folio]
        return True

    def let_go(self) -> None:
        """Take the marks off again."""
        for folio in self.held:
            folio.in_flight = False
