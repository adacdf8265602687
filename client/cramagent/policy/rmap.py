"""Moves of a folio and of all its mappers: the reverse map at work. Page-table work only, no I/O.

Every move takes the folio from one place to another, steps each mapper's state by its own row of
the state table, and gives the old place back. A decision calls one when the bytes are already there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy.answers import Backend, FreeAnswer
from cramagent.policy.folio import Folio, Pte
from cramagent.policy.states import PageEvent, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramagent.policy.effects import Tier
    from cramagent.policy.folio import AddressSpace
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node

# An enum's members are looked up by its metaclass at every use: too slow for a loop.
_NODE: Final = Backend.NODE


def map_new(mm: Mm, space: AddressSpace, vpn: int, frame: int) -> Folio:
    """First touch: a zeroed frame under a page that was NONE."""
    folio = Folio(Backend.DRAM, frame, space.kind)
    pte = Pte(space, vpn, State.NONE, folio)
    mm.move(pte, PageEvent.FIRST_TOUCH)
    folio.mappers = (pte,)
    space.ptes[vpn] = pte
    mm.frames.place(folio, frame)
    return folio


def map_also(mm: Mm, folio: Folio, space: AddressSpace, vpn: int, state: State) -> None:
    """One more mapper, in the state of the one that it copies (fork, share)."""
    pte = Pte(space, vpn, state, folio)
    folio.mappers += (pte,)
    space.ptes[vpn] = pte
    mm.pages_in_state[state] += 1


def demoted(mm: Mm, node: Node, folios: Sequence[Folio], dpas: Sequence[int]) -> None:
    """DRAM -> node: its device took the bytes. Every mapper holds the new entry.

    They were cold a moment ago: until they are accessed, writeback need not give them a second chance.
    """
    mm.move_all(folios, mm.demote_event)
    mm.frames.release_many([folio.handle for folio in folios])
    placed = node.placed
    for folio, dpa in zip(folios, dpas, strict=True):
        folio.backend = _NODE
        folio.node = node
        folio.handle = dpa
        folio.ahead = False
        placed[dpa] = folio
    mm.vswap.add(folios)


def swapped_out(mm: Mm, folios: Sequence[Folio], tier: Tier, handles: Sequence[int]) -> None:
    """DRAM -> tier."""
    mm.move_all(folios, PageEvent.SWAP_OUT)
    mm.frames.release_many([folio.handle for folio in folios])
    mm.settle_in_tier(folios, tier, handles)
    mm.vswap.add(folios)


def swapped_in(mm: Mm, folios: Sequence[Folio], tier: Tier, frames: Sequence[int]) -> None:
    """Tier -> DRAM, for all mappers: they share the frame as they would through the swap cache.

    The caller drops the tier's handles.
    """
    mm.move_all(folios, PageEvent.SWAP_IN)
    mm.tier_used[tier] -= len(folios)
    mm.vswap.drop(folios)
    mm.frames.settle(folios, frames)


def promoted(mm: Mm, node: Node, folios: Sequence[Folio], frames: Sequence[int]) -> None:
    """One node -> DRAM, for all mappers. The entries are reaped and the device pages given back."""
    mm.vswap.drop(folios)
    _to_dram(mm, node, folios, frames)


def rescued(mm: Mm, folio: Folio, frame: int) -> None:
    """Node -> DRAM, of a writable page, which has no entry. writable_cnt--."""
    folio.node.writable.remove(folio)
    _to_dram(mm, folio.node, (folio,), (frame,))


def _to_dram(mm: Mm, node: Node, folios: Sequence[Folio], frames: Sequence[int]) -> None:
    mm.move_all(folios, PageEvent.PROMOTE)
    placed = node.placed
    dpas = [folio.handle for folio in folios]
    for dpa in dpas:
        del placed[dpa]
    mm.frames.settle(folios, frames)
    mm.give_back(node, dpas)


def copied(mm: Mm, pte: Pte, frame: int, event: PageEvent) -> Folio:
    """The writer leaves a folio that it shared copy-on-write, for a DRAM folio of its own.

    `event` is COPY_ON_WRITE (the old one is in DRAM) or PROMOTE (it is on the node, and stays there).
    """
    mm.move(pte, event)
    _leave(pte)
    folio = pte.folio = Folio(Backend.DRAM, frame, pte.space.kind)
    folio.mappers = (pte,)
    mm.frames.place(folio, frame)
    return folio


def made_writable(mm: Mm, pte: Pte) -> None:
    """mkwrite: the device page is mapped writable in place, the entry is reaped. writable_cnt++."""
    folio = pte.folio
    assert len(folio.mappers) == 1, folio
    mm.move(pte, PageEvent.MKWRITE)
    mm.vswap.drop((folio,))
    folio.ahead = False
    folio.node.writable.add(folio, mm.now_ns)


def reprotected(mm: Mm, folio: Folio, event: PageEvent) -> None:
    """A writable page is R/O again, with a new entry. writable_cnt--. REPROTECT or FORK_PROTECT."""
    (pte,) = folio.mappers
    mm.move(pte, event)
    folio.node.writable.remove(folio)
    mm.vswap.add((folio,))


def written_back(mm: Mm, node: Node, folios: Sequence[Folio], tier: Tier, handles: Sequence[int]) -> None:
    """One node -> tier: R/O mappings are zapped, entries' backends change, device pages are given back."""
    mapped = mm.pages_in_state[State.RO]
    mm.move_all(folios, PageEvent.WRITEBACK)
    mm.counters.writeback_zaps += mapped - mm.pages_in_state[State.RO]
    dpas = [folio.handle for folio in folios]
    for dpa in dpas:
        del node.placed[dpa]
    mm.settle_in_tier(folios, tier, handles)
    mm.give_back(node, dpas)


def unmapped(mm: Mm, pte: Pte, drops: dict[Tier, list[int]], *, noticed: bool) -> FreeAnswer:
    """One mapper gives the page up; the last one gives up the folio. Tier handles to drop go to `drops`.

    Unnoticed, an entry stays behind as a zombie. DRAM and writable pages have none: always noticed.
    """
    was = pte.state
    mm.move(pte, PageEvent.FREE)
    folio = pte.folio
    del pte.space.ptes[pte.vpn]
    _leave(pte)
    answer = FreeAnswer.DONE if folio.mappers else _last_unmapped(mm, folio, was, drops, noticed=noticed)
    counters = mm.counters
    if answer is FreeAnswer.DONE:
        counters.frees_done += 1
    elif answer is FreeAnswer.DEFERRED:
        counters.frees_deferred += 1
    else:
        counters.frees_buffer_full += 1
    return answer


def _leave(pte: Pte) -> None:
    """One mapper less."""
    folio = pte.folio
    folio.mappers = tuple([other for other in folio.mappers if other is not pte])


def _last_unmapped(
    mm: Mm, folio: Folio, was: State, drops: dict[Tier, list[int]], *, noticed: bool
) -> FreeAnswer:
    if was is State.DRAM:
        mm.frames.release(folio.handle)
        return FreeAnswer.DONE
    if was is State.RW:
        node = folio.node
        node.writable.remove(folio)
        del node.placed[folio.handle]
        return FreeAnswer.DEFERRED if mm.give_back(node, (folio.handle,)) else FreeAnswer.BUFFER_FULL
    if not noticed:
        mm.make_zombie(folio)
        return FreeAnswer.DEFERRED
    if folio.backend is not Backend.NODE:
        mm.drop_handle(folio, drops)
        mm.vswap.drop((folio,))
        return FreeAnswer.DONE
    if folio.node.trim.offer(folio.handle):
        del folio.node.placed[folio.handle]
        mm.vswap.drop((folio,))
        return FreeAnswer.DEFERRED
    mm.make_zombie(folio)
    return FreeAnswer.BUFFER_FULL
