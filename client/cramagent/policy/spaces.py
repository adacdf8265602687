"""Address spaces come, fork, share, free and exit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy import rmap
from cramagent.policy.effects import Tier, TierDrop
from cramagent.policy.folio import AddressSpace, PageKind
from cramagent.policy.states import PageEvent, State, step

if TYPE_CHECKING:
    from cramagent.policy.answers import FreeAnswer
    from cramagent.policy.effects import Decision
    from cramagent.policy.mm import Mm


def drop_all(drops: dict[Tier, list[int]]) -> Decision[None]:
    """Give the handles back to their tiers."""
    for tier, handles in drops.items():
        yield TierDrop(tier, tuple(handles))


class Spaces:
    """See `Host`, which these methods are the body of."""

    def __init__(self, mm: Mm) -> None:
        self._mm = mm
        self._next = 1

    def create(self, kind: PageKind) -> int:
        """An empty space."""
        number = self._next
        self._next += 1
        self._mm.spaces[number] = AddressSpace(number, kind)
        return number

    def fork(self, parent: int) -> int:
        """A child that maps what the parent maps. A killed parent has nothing to copy and no children.

        Raises:
            ValueError: the parent was killed.
        """
        mm = self._mm
        source = mm.spaces[parent]
        if source.killed:
            raise ValueError(f"address space {parent} was killed")
        child = self.create(source.kind)
        target = mm.spaces[child]
        for vpn, pte in source.ptes.items():
            if pte.state is State.RW:
                rmap.reprotected(mm, pte.folio, PageEvent.FORK_PROTECT)
                mm.counters.fork_protects += 1
            rmap.map_also(mm, pte.folio, target, vpn, pte.state)
        return child

    def share(self, space: int, vpn: int, other_space: int, other_vpn: int) -> None:
        """A second mapper that sees the same stores."""
        mm = self._mm
        source, target = mm.spaces[space], mm.spaces[other_space]
        pte = source.ptes.get(vpn)
        if pte is None:
            raise ValueError(f"page {vpn} of space {space} is not mapped: nothing to share")
        folio = pte.folio
        if folio.copy_on_write:
            raise ValueError(f"page {vpn} of space {space} is shared copy-on-write, not MAP_SHARED")
        if other_vpn in target.ptes:
            raise ValueError(f"page {other_vpn} of space {other_space} is mapped already")
        if target.killed or target.kind is not source.kind:
            raise ValueError(f"space {other_space} cannot map {source.kind.value} pages of space {space}")
        if pte.state is State.RW:
            rmap.reprotected(mm, folio, PageEvent.REPROTECT)
            mm.counters.reprotects_shared += 1
        folio.shared = True
        rmap.map_also(mm, folio, target, other_vpn, pte.state)

    def free(self, space: int, vpn: int, *, noticed: bool) -> Decision[FreeAnswer]:
        """One page. All is done before the first effect, so an early end loses nothing but a handle.

        Raises:
            IllegalTransition: the page is NONE.
        """
        pte = self._mm.spaces[space].ptes.get(vpn)
        if pte is None:
            step(State.NONE, PageEvent.FREE)
            raise AssertionError("the state table lets a page that is NONE be freed")
        drops: dict[Tier, list[int]] = {}
        answer = rmap.unmapped(self._mm, pte, drops, noticed=noticed)
        yield from drop_all(drops)
        return answer

    def exit(self, space: int, *, noticed: bool) -> Decision[None]:
        """Every page, and the space."""
        gone = self._mm.spaces[space]
        drops = self._unmap_all(gone, noticed=noticed)
        del self._mm.spaces[space]
        yield from drop_all(drops)

    def kill(self, space: AddressSpace) -> Decision[None]:
        """A bus error killed it: its pages are freed, its number stays until it exits."""
        space.killed = True
        yield from drop_all(self._unmap_all(space, noticed=True))

    def _unmap_all(self, space: AddressSpace, *, noticed: bool) -> dict[Tier, list[int]]:
        drops: dict[Tier, list[int]] = {}
        for pte in tuple(space.ptes.values()):
            rmap.unmapped(self._mm, pte, drops, noticed=noticed)
        return drops
