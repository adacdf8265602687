"""What the rooms of the policy share: spaces, frames, the nodes, entries; and what befalls a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.policy.answers import BACKEND_OF_TIER, STALLED, Access, Backend, LossCause, LostPage
from cramagent.policy.budget import WritableCount
from cramagent.policy.effects import Tier
from cramagent.policy.folio import NO_ENTRY, AddressSpace, Folio, PageKind
from cramagent.policy.frames import Frames
from cramagent.policy.node import Node, size_in_pages
from cramagent.policy.settings import PAGE_BYTES, Mapping
from cramagent.policy.states import NEXT, IllegalTransition, PageEvent, State, step
from cramagent.policy.vswap import VswapTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cramagent.policy.counters import FaultCounts, HostCounters
    from cramagent.policy.folio import Pte
    from cramagent.policy.settings import PolicySettings


class NoSuchSpace(KeyError):
    """No address space has this number: it was never made, or has exited."""

    def __str__(self) -> str:
        return f"there is no address space {self.args[0]}"


class _Spaces(dict[int, AddressSpace]):
    """Address spaces by number. A plain dict's speed, a clear error."""

    def __missing__(self, number: int) -> AddressSpace:
        raise NoSuchSpace(number)


class Mm:
    """Shared state. `move` is the one place where a PTE changes its state."""

    def __init__(self, settings: PolicySettings, counters: HostCounters, faults: FaultCounts) -> None:
        self.settings = settings
        self.counters = counters
        self.faults = faults
        self.now_ns = 0
        """The newest time that any call brought."""
        self.spaces: dict[int, AddressSpace] = _Spaces()
        self.frames = Frames(settings, counters)
        self.vswap = VswapTable()
        self.writable_count = WritableCount()
        self.nodes = tuple(
            [Node(number, settings, counters, self.writable_count) for number in range(settings.nodes)]
        )
        """One for each device, by number."""
        self.lost_pages: list[LostPage] = []
        """Pages that became LOST and that the runner has not asked for yet."""
        self.demote_event = (
            PageEvent.DEMOTE if settings.mapping is Mapping.FAULT else PageEvent.DEMOTE_RESIDENT
        )
        """What `mapping` makes of a demotion."""
        self.reclaims = 0
        """Batches that reclaim has isolated, and not settled yet."""
        self.pages_in_state = [0] * len(State)
        self.tier_used = dict.fromkeys(Tier, 0)

    # -- page table entries ------------------------------------------------------------------------

    def move(self, pte: Pte, event: PageEvent) -> None:
        """One mapper's page goes where the state table says.

        Raises:
            IllegalTransition: the table has no such row.
        """
        new = step(pte.state, event)
        self.pages_in_state[pte.state] -= 1
        self.pages_in_state[new] += 1
        pte.state = new

    def move_all(self, folios: Iterable[Folio], event: PageEvent) -> None:
        """Every mapper of these folios goes where the state table says.

        Raises:
            IllegalTransition: the table has no such row; mappers before that one have gone.
        """
        row, counts = NEXT[event], self.pages_in_state
        for folio in folios:
            for pte in folio.mappers:
                old = pte.state
                new = row[old]
                if new is None:
                    raise IllegalTransition(old, event)
                counts[old] -= 1
                counts[new] += 1
                pte.state = new

    def stalled(self) -> Access:
        """Counts and answers an access while the device does not answer."""
        self.counters.stalls += 1
        return STALLED

    # -- nodes -------------------------------------------------------------------------------------

    @property
    def pressure(self) -> int:
        """The highest of any node."""
        return max([node.gate.pressure for node in self.nodes])

    def node_lost(self, node: Node) -> int:
        """Its session is over. Answers how many mapped pages became LOST; 0 if it had none."""
        if not node.attached:
            return 0
        lost = sum(self.lose(folio, LossCause.SESSION) for folio in node.placed.values())
        node.detach()
        node.counters.sessions_lost += 1
        node.counters.pages_lost_reset += lost
        self.counters.pages_lost_reset += lost
        self.counters.sessions_lost += 1
        return lost

    def node_resized(self, node: Node, logical_bytes: int) -> int:
        """Another size. Answers how many mapped pages lay past the end and are LOST: taken by force.

        Raises:
            ValueError: the node is not attached, or the size is none.
        """
        if not node.attached:
            raise ValueError("no node is attached")
        end = size_in_pages(logical_bytes) * PAGE_BYTES
        lost = 0
        for dpa in [dpa for dpa in node.placed if dpa >= end]:
            folio = node.placed.pop(dpa)
            if folio.mappers:
                lost += self.lose(folio, LossCause.FORCED_RELEASE)
            else:
                self.vswap.drop((folio,))
                self.counters.reaped += 1
        node.trim.waiting = [dpa for dpa in node.trim.waiting if dpa < end]
        node.resize(logical_bytes)
        self.counters.pages_lost_released += lost
        node.counters.pages_lost_released += lost
        return lost

    def poison_met(self, node: Node, dpas: Iterable[int]) -> None:
        """A load of ours found that these device pages lost their bytes. Any may be named twice."""
        for dpa in dpas:
            if self.is_missed(node, dpa):
                folio = node.placed.pop(dpa)
                lost = self.lose(folio, LossCause.POISON)
                self.counters.pages_lost_poison += lost
                node.counters.pages_lost_poison += lost
                self.give_back(node, (dpa,))

    def is_missed(self, node: Node, dpa: int) -> bool:
        """Whether anyone would miss the bytes there: no one does a zombie's, whose TRIM takes poison away."""
        folio = node.placed.get(dpa)
        return folio is not None and bool(folio.mappers)

    def lose(self, folio: Folio, cause: LossCause) -> int:
        """A device folio's bytes are gone. Answers how many mappers suffer. The caller sees to its DPA."""
        node = folio.node
        for pte in folio.mappers:
            if pte.state is State.RW:
                node.writable.remove(folio)
                self.vswap.add((folio,))
            self.move(pte, PageEvent.BYTES_LOST)
            self.lost_pages.append(LostPage(pte.space.number, pte.vpn, cause, node.number))
        folio.settle(Backend.LOST, 0)
        return len(folio.mappers)

    # -- giving back -------------------------------------------------------------------------------

    def give_back(self, node: Node, dpas: Sequence[int]) -> bool:
        """A node's pages hold nothing of ours any more and must be TRIMmed before they are used again.

        If the TRIM buffer has no room for all (False), zombie entries keep the rest until the reaper
        finds some.
        """
        rest = dpas[node.trim.offer_all(dpas) :]
        for dpa in rest:
            folio = Folio(Backend.NODE, dpa, PageKind.ANON)
            folio.node = node
            node.placed[dpa] = folio
            self.vswap.add((folio,))
            self.make_zombie(folio)
        return not rest

    def make_zombie(self, folio: Folio) -> None:
        """The entry's last user is gone, and the entry stays."""
        assert folio.slot != NO_ENTRY, folio
        assert not folio.mappers, folio
        folio.zombie_since_ns = self.now_ns
        self.vswap.orphan(folio)
        self.counters.zombies_made += 1

    def reap(self, folio: Folio, drops: dict[Tier, list[int]]) -> bool:
        """Free a zombie. Its tier handle goes to `drops`; False: the TRIM buffer has no room."""
        if folio.backend is Backend.NODE:
            if not folio.node.trim.offer(folio.handle):
                return False
            del folio.node.placed[folio.handle]
        else:
            self.drop_handle(folio, drops)
        self.vswap.drop((folio,))
        self.counters.reaped += 1
        return True

    def drop_handle(self, folio: Folio, drops: dict[Tier, list[int]]) -> None:
        """The folio's tier handle, if it has one, is for the caller to drop."""
        tier = folio.backend.tier
        if tier is not None:
            drops.setdefault(tier, []).append(folio.handle)
            self.tier_used[tier] -= 1

    def settle_in_tier(self, folios: Sequence[Folio], tier: Tier, handles: Sequence[int]) -> None:
        """The tier holds the folios' bytes now."""
        backend = BACKEND_OF_TIER[tier]
        for folio, handle in zip(folios, handles, strict=True):
            folio.settle(backend, handle)
        self.tier_used[tier] += len(folios)
