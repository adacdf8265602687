"""The audit: every invariant of the shared state, checked whole. For tests and for a paranoid runner."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cramagent.policy.answers import Backend
from cramagent.policy.effects import Tier
from cramagent.policy.folio import NO_ENTRY
from cramagent.policy.settings import PAGE_BYTES
from cramagent.policy.states import MEANING, State

if TYPE_CHECKING:
    from cramagent.policy.folio import Folio
    from cramagent.policy.mm import Mm
    from cramagent.policy.node import Node

_STATES_OF = {
    Backend.DRAM: {State.DRAM},
    Backend.NODE: {State.ENTRY, State.RO, State.RW},
    Backend.ZSWAP: {State.SWAPPED},
    Backend.SWAPFILE: {State.SWAPPED},
    Backend.LOST: {State.LOST},
}


def audit(mm: Mm) -> None:
    """Check everything.

    Raises:
        AssertionError: what is wrong.
    """
    folios = _audit_page_tables(mm)
    _audit_entries(mm, folios)
    _audit_frames(mm, folios)
    for node in mm.nodes:
        _audit_node(node, folios)
    _audit_tiers(mm)
    _audit_shares(mm)


def _audit_page_tables(mm: Mm) -> set[Folio]:
    """Page tables and reverse maps agree; every mapper's state fits its folio. Answers the mapped folios."""
    states: Counter[State] = Counter()
    mapped: Counter[Folio] = Counter()
    for number, space in mm.spaces.items():
        assert space.number == number, f"space {space.number} is listed as {number}"
        assert not (space.killed and space.ptes), f"killed space {number} has pages"
        for vpn, pte in space.ptes.items():
            assert pte.space is space, f"{pte} is in the table of space {number}"
            assert pte.vpn == vpn, f"{pte} is listed as vpn {vpn}"
            folio = pte.folio
            assert folio.mappers.count(pte) == 1, f"{pte} is not once in the rmap of {folio}"
            assert pte.state in _STATES_OF[folio.backend], f"{pte} does not fit {folio}"
            assert folio.kind is space.kind, f"{folio} is {folio.kind.value}, {pte} is {space.kind.value}"
            states[pte.state] += 1
            mapped[folio] += 1
    for folio, mappers in mapped.items():
        assert len(folio.mappers) == mappers, f"{folio} has mappers that no page table has"
        held = mm.reclaims and folio.backend is Backend.DRAM
        assert held or not folio.in_flight, f"{folio} is in flight between decisions"
        writable = [pte for pte in folio.mappers if pte.state is State.RW]
        assert not writable or mappers == 1, f"{folio} is writable and shared"
        budgeted = folio.backend is Backend.NODE and folio in folio.node.writable
        assert bool(writable) == budgeted, f"{folio}: the budget and the PTE differ"
        needs_entry = MEANING[folio.mappers[0].state].entry
        assert needs_entry == (folio.slot != NO_ENTRY), f"{folio}: an entry too many or too few"
    for state in State:
        if state is not State.NONE:
            counted = mm.pages_in_state[state]
            assert counted == states[state], f"{state.name}: {counted} counted, {states[state]} mapped"
    of_nodes = sum(len(node.writable) for node in mm.nodes)
    assert of_nodes == mm.writable_count.pages, "writable_cnt is not what the nodes hold"
    assert of_nodes == states[State.RW], "writable_cnt is not the number of RW pages"
    _audit_budget(mm)
    return set(mapped)


def _audit_budget(mm: Mm) -> None:
    """No more is writable than the budget; or each device keeps media for all that is held of its credits.

    Every credit granted is spent, dropped or left.
    """
    counters, unspent = mm.counters, 0
    for node in mm.nodes:
        held = node.credits
        unspent += held.unspent
        assert held.unspent >= 0, "more credits are spent than there were"
        if held.in_use:
            assert len(node.writable) + held.unspent <= held.promised, "more is held than was promised"
        else:
            assert mm.writable_count.pages <= mm.settings.budget_pages, "the writable budget is exceeded"
    used = counters.credits_spent + counters.credits_dropped + unspent
    assert counters.credits_granted == used, (
        f"{counters.credits_granted} credits granted, {used} accounted for"
    )


def _audit_entries(mm: Mm, mapped: set[Folio]) -> None:
    """Every entry stands for a folio that knows it; zombies are counted."""
    births: list[int] = []
    for slot, folio in mm.vswap:
        assert folio.slot == slot, f"entry {slot} and {folio} differ"
        if folio.mappers:
            assert folio in mapped, f"entry {slot} is used by {folio}, which nobody maps"
        else:
            births.append(folio.zombie_since_ns)
            assert folio.backend is not Backend.DRAM, f"zombie {slot} is in DRAM"
    assert len(births) == mm.vswap.zombies, f"{len(births)} zombies, {mm.vswap.zombies} counted"
    oldest = mm.vswap.oldest_zombie
    assert oldest is None or oldest.zombie_since_ns == min(births), f"{oldest} is not the oldest zombie"


def _audit_frames(mm: Mm, mapped: set[Folio]) -> None:
    """Every frame is free or holds the one folio that says so."""
    frames = mm.frames
    held = {frame: folio for frame, folio in enumerate(frames.table) if folio is not None}
    for frame, folio in held.items():
        assert folio.backend is Backend.DRAM, f"frame {frame} holds {folio}"
        assert folio.handle == frame, f"frame {frame} holds {folio}"
        assert folio in mapped, f"frame {frame} holds {folio}, which nobody maps"
    in_dram = sum(folio.backend is Backend.DRAM for folio in mapped)
    assert in_dram == len(held), f"{in_dram} folios in DRAM, {len(held)} frames held"
    assert frames.free + len(held) == frames.count, "frames have leaked"


def _audit_node(node: Node, mapped: set[Folio]) -> None:
    """Every device page is in exactly one place: placed, free, waiting for TRIM, ballooned, or in hand."""
    assert node.attached or not node.reachable, "a node that is not attached is reachable"
    for dpa, folio in node.placed.items():
        assert folio.backend is Backend.NODE, f"device page {dpa:#x} holds {folio}"
        assert folio.node is node, f"device page {dpa:#x} of node {node.number} holds {folio}"
        assert folio.handle == dpa, f"device page {dpa:#x} holds {folio}"
        assert folio in mapped or folio.slot != NO_ENTRY, f"{folio} has neither mapper nor entry"
    on_node = sum(folio.backend is Backend.NODE and folio.node is node for folio in mapped)
    with_mappers = sum(bool(folio.mappers) for folio in node.placed.values())
    assert on_node == with_mappers, (
        f"{on_node} mapped folios on the node, {with_mappers} device pages hold one"
    )
    places = [*node.placed, *node.free_dpas(), *node.trim.waiting, *node.ballooned, *node.in_hand]
    everything = range(0, node.size * PAGE_BYTES, PAGE_BYTES)
    assert len(places) == len(everything), f"{len(places)} device pages accounted for, of {len(everything)}"
    assert set(places) == set(everything), "a device page is in two places, or none"
    assert len(node.trim) <= node.trim.capacity, "the TRIM buffer overflows"
    assert node.attached or node.balloon_target == 0, "a balloon without a node"


def _audit_tiers(mm: Mm) -> None:
    """Swap used is what entries say, and no handle is held twice."""
    handles: Counter[tuple[Tier, int]] = Counter()
    for _, folio in mm.vswap:
        tier = folio.backend.tier
        if tier is not None:
            handles[tier, folio.handle] += 1
    assert not handles or max(handles.values()) == 1, "two entries hold one tier handle"
    for tier in Tier:
        used = sum(1 for held, _ in handles if held is tier)
        assert used == mm.tier_used[tier], f"{tier.value}: {used} pages, {mm.tier_used[tier]} counted"


def _audit_shares(mm: Mm) -> None:
    """What the nodes count is what the host counts."""
    host = mm.counters
    for share, whole in (
        ("demotions", host.demotions),
        ("demotions_refused", host.demote_refused_no_more_writes + host.demote_refused_region_limit),
        ("no_more_writes", host.no_more_writes),
        ("writebacks", host.writebacks),
        ("writebacks_release", host.writebacks_release),
        ("writebacks_balloon", host.writebacks_balloon),
        ("writeback_no_room", host.writeback_no_room),
        ("trimmed_pages", host.trimmed_pages),
        ("closes", host.node_closes),
        ("opens", host.node_opens),
        ("sessions_lost", host.sessions_lost),
        ("pages_lost_reset", host.pages_lost_reset),
        ("pages_lost_released", host.pages_lost_released),
        ("pages_lost_poison", host.pages_lost_poison),
    ):
        counted = sum(getattr(node.counters, share) for node in mm.nodes)
        assert counted == whole, f"{share}: {whole} counted, {counted} on the nodes"
