"""The host: the one door to the policy, and the only module of it that the runner needs.

The runner is single-threaded: it makes every call from one loop, and drives each `Decision` to its
end, performing one effect after the other, before it makes the next call. While it performs an
effect it calls nothing here. `drive` in `cramagent.policy.testing` shows the loop. One decision may
wait: `kswapd`, for the answer to a `NodeWrite`, while other calls are made; the frames' bytes are
those of the moment when it asked.

A decision may end early: if performing an effect raises, throw the exception into the decision (or
close it). What it held is then put back, frames into the pool and device pages whose write may have
happened into the TRIM buffer, and `check()` passes. No byte is lost by that except a tier's handles
that were under way.

There is one node for each device, by number from 0 on (`PolicySettings.nodes`); calls about a node take its
number. A decision's effects may name several nodes; no call and no effect of one says anything of another.

`NodeStatus.GONE` as an outcome is `node_lost()` said by the device itself: the decision does it
there and then, and goes on with what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.policy.ager import Ager
from cramagent.policy.answers import (
    ON_NODE,
    Access,
    AccessKind,
    Backend,
    FreeAnswer,
    LossCause,
    LostPage,
    NodeReading,
    Place,
)
from cramagent.policy.audit import audit
from cramagent.policy.counters import FaultCounts, HostCounters
from cramagent.policy.cpu import Cpu
from cramagent.policy.daemons import NodeDaemons
from cramagent.policy.fault import FaultHandler
from cramagent.policy.folio import PageKind
from cramagent.policy.mm import Mm
from cramagent.policy.poison import look_into
from cramagent.policy.reaper import Reaper
from cramagent.policy.reclaim import Reclaim
from cramagent.policy.snapshot import HostSnapshot, take_snapshot
from cramagent.policy.spaces import Spaces
from cramagent.policy.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cramagent.policy.credits import CreditRequest
    from cramagent.policy.effects import Decision
    from cramagent.policy.settings import PolicySettings

__all__ = [
    "ON_NODE",
    "Access",
    "AccessKind",
    "Backend",
    "FaultCounts",
    "FreeAnswer",
    "Host",
    "HostCounters",
    "HostSnapshot",
    "LossCause",
    "LostPage",
    "NodeReading",
    "PageKind",
    "Place",
]

# An enum's members are looked up by its metaclass at every use: too slow for the fast path.
_DRAM: Final = State.DRAM
_RO: Final = State.RO
_RW: Final = State.RW


class Host:
    """Address spaces, DRAM, nodes and the tiers behind them. See the module for how to drive it.

    Spaces are numbers; `vpn` is a virtual page number; `now_ns` is any monotonic clock in ns. A
    space that nobody made, or that has exited, raises `NoSuchSpace`; other illegal calls raise
    `IllegalTransition` or `ValueError`. They change nothing.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self.counters = HostCounters()
        self.faults = FaultCounts()
        self._mm = mm = Mm(settings, self.counters, self.faults)
        self._spaces = Spaces(mm)
        self._reclaim = Reclaim(mm)
        self._fault = FaultHandler(mm, self._reclaim)
        self._cpu = Cpu(mm, self._fault, self._reclaim, self._spaces)
        self._reaper = Reaper(mm)
        self._ager = Ager(mm)
        self._daemons = tuple([NodeDaemons(mm, node) for node in mm.nodes])

    # -- address spaces ----------------------------------------------------------------------------

    def create_space(self, kind: PageKind = PageKind.ANON) -> int:
        """An empty address space. Only ANON pages are swap-eligible; others never leave DRAM."""
        return self._spaces.create(kind)

    def fork(self, space: int) -> int:
        """A child with the parent's pages: pure page-table work, no byte moves.

        DRAM frames become shared copy-on-write, vswap entries get one more user, and a writable
        device page is made R/O in both.
        """
        return self._spaces.fork(space)

    def share(self, space: int, vpn: int, other_space: int, other_vpn: int) -> None:
        """Map one page in a second place as MAP_SHARED: both see each other's stores.

        Raises:
            ValueError: the other place is mapped, the page is shared copy-on-write, or the two
                spaces differ in kind.
        """
        self._spaces.share(space, vpn, other_space, other_vpn)

    def exit_space(self, space: int, *, noticed: bool) -> Decision[None]:
        """Free every page of a space, and the space. See `free` for `noticed`."""
        return self._spaces.exit(space, noticed=noticed)

    def empty_device_pages(self, node_number: int = 0) -> list[int]:
        """DPAs of a node's pages that hold nothing, as far as the host knows; in order."""
        node = self._mm.nodes[node_number]
        return sorted([*node.free_dpas(), *node.ballooned])

    def killed(self, space: int) -> bool:
        """Whether a bus error has killed this space: it has no pages; accesses are bus errors; exit it."""
        return self._mm.spaces[space].killed

    def free(self, space: int, vpn: int, *, noticed: bool) -> Decision[FreeAnswer]:
        """Give one page up.

        Unnoticed (a user of an entry that goes without the host being told), the last user leaves a
        zombie for the reaper. Pages without an entry (DRAM, writable) are always noticed.
        """
        return self._spaces.free(space, vpn, noticed=noticed)

    # -- accesses ----------------------------------------------------------------------------------

    def access(self, space: int, vpn: int, *, write: bool, now_ns: int) -> Access | None:
        """The fast path: what the page tables say. None: the access must `fault`.

        An answer is good until the next decision, which may reclaim the frame: use a DRAM frame at
        once. NODE answers may be gathered for one `load` or `store`, which follow pages that moved.
        """
        mm = self._mm
        mm.now_ns = now_ns
        pte = mm.spaces[space].ptes.get(vpn)
        if pte is None:
            return None
        folio = pte.folio
        state = pte.state
        if state is _DRAM:
            if write and len(folio.mappers) > 1 and not folio.shared:
                return None
        elif state is _RO:
            if write:
                return None
            if not folio.node.reachable:
                return mm.stalled()
        elif state is _RW:
            if not folio.node.reachable:
                return mm.stalled()
            if write:
                folio.node.writable.stored(folio, now_ns)
        else:
            return None
        folio.referenced = True
        if folio.ahead:
            self._fault.ahead.used(folio)
        return mm.frames.answers[folio.handle] if state is _DRAM else ON_NODE

    def fault(self, space: int, vpn: int, *, write: bool, now_ns: int) -> Decision[Access]:
        """The fault handler: zero fill, R/O mapping, mkwrite, promotion, swap-in, copy on write, bus error.

        Afterwards `access` answers the same until something else happens, except for the failures.
        """
        return self._fault.handle(space, vpn, write=write, now_ns=now_ns)

    def fault_in(
        self, pages: Sequence[tuple[int, int]], *, write: bool, now_ns: int
    ) -> Decision[list[Access]]:
        """A batch of accesses of one kind, mapped already or not: what `access`, else `fault`, answer.

        What must come from one device is one `NodeLoad` for all. Pages are (space, vpn). Where frames
        run out the answers end early: use these, and ask for the rest in another call; the first page
        is always answered. The answers are good until the next decision, as those of `access`.
        """
        return self._fault.fault_in(pages, write=write, now_ns=now_ns)

    def load(
        self, pages: Sequence[tuple[int, int]], frames: Sequence[int], now_ns: int
    ) -> Decision[list[Access]]:
        """CPU loads of whole pages into the runner's scratch frames: `frames[i]` is for `pages[i]`.

        All that lie on one device are one `NodeLoad`. A page that moved since it was accessed is
        faulted in again; if it is in DRAM now, it is copied to its scratch frame. Answers DRAM and
        NODE mean that the scratch frame holds the bytes; STALLED, BUS_ERROR (poison found on the way
        too) and OUT_OF_MEMORY that it does not.
        """
        return self._cpu.load(pages, frames, now_ns)

    def store(
        self, pages: Sequence[tuple[int, int]], frames: Sequence[int], now_ns: int
    ) -> Decision[list[Access]]:
        """CPU stores of whole pages, bytes in the runner's scratch frames.

        All that are mapped writable on one device are one `NodeWrite`; a page that moved since is
        faulted again, and if it is in DRAM now, its frame is overwritten. Where the device cannot
        take a page: `kill` answers BUS_ERROR for it and what was not stored yet of its space, `rescue`
        answers DRAM with the bytes applied there. Later pages go on. STALLED: the store may have
        reached the device or not; store the same bytes again before the page is read.
        """
        return self._cpu.store(pages, frames, now_ns)

    def peek(self, space: int, vpn: int) -> Place:
        """Where a page's bytes are now. Touches nothing."""
        pte = self._mm.spaces[space].ptes.get(vpn)
        return Place(Backend.NONE) if pte is None else pte.folio.place()

    def state(self, space: int, vpn: int) -> State:
        """The state of one mapper's page. Touches nothing."""
        pte = self._mm.spaces[space].ptes.get(vpn)
        return State.NONE if pte is None else pte.state

    def mapped(self, space: int) -> Iterable[int]:
        """The vpns that are not NONE, as they are now."""
        return tuple(self._mm.spaces[space].ptes)

    # -- a node, by number -------------------------------------------------------------------------

    def node_attached(self, logical_bytes: int, node: int = 0) -> None:
        """A session began: an empty region of so many bytes of DPA, open until a reading says otherwise.

        Raises:
            ValueError: it is attached already, or the size is not a positive multiple of 4096.
        """
        if self._mm.nodes[node].attached:
            raise ValueError("a node is attached already")
        self._mm.nodes[node].attach(logical_bytes)

    def node_lost(self, node: int = 0) -> int:
        """The session is over: every page on the device is LOST. Answers how many; again: 0."""
        return self._mm.node_lost(self._mm.nodes[node])

    def node_unreachable(self, node: int = 0) -> None:
        """The link is down: the node is closed, accesses to its pages stall."""
        self._mm.nodes[node].reachable = False

    def node_reachable(self, node: int = 0) -> None:
        """The link is up again, and the session still holds."""
        self._mm.nodes[node].reachable = self._mm.nodes[node].attached

    def reading(self, reading: NodeReading, now_ns: int, node: int = 0) -> None:
        """Telemetry, or an event that carries it. Of a node that is not attached it says nothing."""
        self._mm.now_ns = now_ns
        self._daemons[node].reading(reading, now_ns)

    def credit_request(self, now_ns: int, node: int = 0) -> CreditRequest | None:
        """With `budget = tokens`: what to ask the device, if anything. Answered by one of the next two."""
        asks = self._mm.nodes[node]
        return asks.credits.request(len(asks.writable), now_ns, node_open=asks.is_open)

    def credits_granted(self, number: int, pages: int, node: int = 0) -> None:
        """The device granted so many credits to the request of this number."""
        self._mm.nodes[node].credits.granted(number, pages)

    def credits_unanswered(self, number: int, node: int = 0) -> None:
        """It did not answer the request of this number."""
        self._mm.nodes[node].credits.unanswered(number)

    def poison_told(self, dpas: Iterable[int], node: int = 0) -> Decision[None]:
        """An event named these device pages (DPAs in bytes): it may be old, so they are looked into."""
        return look_into(self._mm, self._mm.nodes[node], dpas)

    def poison_met(self, dpas: Iterable[int], node: int = 0) -> None:
        """A load that the runner made itself found these device pages poisoned: their mappers lost them."""
        self._mm.poison_met(self._mm.nodes[node], dpas)

    def take_lost(self) -> list[LostPage]:
        """Every mapper's page that became LOST since this was asked last, in the order in which it did."""
        lost, self._mm.lost_pages = self._mm.lost_pages, []
        return lost

    def resized(self, logical_bytes: int, node: int = 0) -> int:
        """The region's DPA space has another size now. What lies past a nearer end was taken by force.

        Answers how many mapped pages are LOST by that.

        Raises:
            ValueError: it is not attached, or the size is not a positive multiple of 4096.
        """
        return self._mm.node_resized(self._mm.nodes[node], logical_bytes)

    def release_ready(self, node: int = 0) -> int | None:
        """The size that the device asked for, in bytes, once nothing is left past it; told once a reading."""
        return self._daemons[node].release.ready()

    def is_open(self, node: int = 0) -> bool:
        """Whether this node takes new demotions: attached, reachable, and not closed by pressure."""
        return self._mm.nodes[node].is_open

    # -- daemons -----------------------------------------------------------------------------------

    def kswapd(self, now_ns: int) -> Decision[None]:
        """Below the low watermark of free DRAM: demote or swap out cold pages until the high one.

        Pages that are used while it waits for the device stay in DRAM. Until it has ended, another
        call decides nothing.
        """
        return self._reclaim.kswapd(now_ns)

    def reaper(self, now_ns: int) -> Decision[None]:
        """Look at the next batch of vswap entries and free the zombies among them."""
        return self._reaper.scan(now_ns)

    def ager(self, now_ns: int) -> Decision[None]:
        """Make writable mappings R/O again that are aged, or that pressure takes from the budget."""
        return self._ager.scan(now_ns)

    def writeback(self, now_ns: int) -> Decision[None]:
        """While pressure keeps a node closed: move its coldest pages to the next tier, a batch a call."""
        for each in self._daemons:
            yield from each.shrinker.writeback(now_ns)

    def trimmer(self, now_ns: int, *, force: bool = False) -> Decision[None]:
        """TRIM freed device pages when it is due; `force`: all of them, now."""
        for each in self._daemons:
            yield from each.trimmer.trim(now_ns, force=force)

    def balloon(self, now_ns: int) -> Decision[None]:
        """One step of each balloon towards its target."""
        for each in self._daemons:
            yield from each.balloon.step(now_ns)

    def background(self, now_ns: int) -> Decision[None]:
        """One turn of every daemon, in this order: `upkeep`, then kswapd, which uses what that freed."""
        yield from self.upkeep(now_ns)
        yield from self._reclaim.kswapd(now_ns)

    def upkeep(self, now_ns: int) -> Decision[None]:
        """One turn of every daemon but kswapd, in this order.

        ager (so that writeback finds no writable pages), release (what the device asks back), writeback,
        reaper, balloon (they free device pages), trimmer (makes them usable).
        """
        yield from self._ager.scan(now_ns)
        for each in self._daemons:
            yield from each.release.step(now_ns)
        yield from self.writeback(now_ns)
        yield from self._reaper.scan(now_ns)
        yield from self.balloon(now_ns)
        yield from self.trimmer(now_ns)

    def writeback_all(self, now_ns: int) -> Decision[int]:
        """Empty the nodes: every page that a tier has room for, TRIM included. Answers how many moved."""
        self._ager.reprotect_all(now_ns)
        moved = 0
        for each in self._daemons:
            moved += yield from each.empty(now_ns)
        return moved

    # -- looking in --------------------------------------------------------------------------------

    @property
    def free_frames(self) -> int:
        """DRAM frames that nobody holds."""
        return self._mm.frames.free

    def snapshot(self) -> HostSnapshot:
        """The gauges now: counters, and no look at any page."""
        return take_snapshot(self._mm)

    def check(self) -> None:
        """Audit everything: page tables, rmap, frames, device pages, entries, budget.

        Raises:
            AssertionError: what is wrong.
        """
        audit(self._mm)
