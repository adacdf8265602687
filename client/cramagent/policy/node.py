"""A private memory node, one for each device: allocation control, and the allocator of its device pages.

A node gives pages only to the demotion path that holds it, as a private node's memory needs
__GFP_PRIVATE; no other allocation can land there, and none falls back to it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cramagent.policy.admission import WORST_PAGE_BYTES, Admittance
from cramagent.policy.budget import Writable
from cramagent.policy.counters import NodeCounters
from cramagent.policy.credits import Credits
from cramagent.policy.folio import PageKind
from cramagent.policy.pressure import Gate
from cramagent.policy.settings import PAGE_BYTES
from cramagent.policy.trim import TrimBuffer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cramagent.policy.answers import NodeReading
    from cramagent.policy.budget import WritableCount
    from cramagent.policy.counters import HostCounters
    from cramagent.policy.folio import Folio
    from cramagent.policy.settings import PolicySettings


class Gfp(Enum):
    """What an allocation asks for."""

    PRIVATE = "__GFP_PRIVATE"
    USER = "GFP_HIGHUSER_MOVABLE"
    KERNEL = "GFP_KERNEL"


@dataclass(frozen=True, slots=True)
class Request:
    """One allocation: the flags it comes with, and whose page it is for."""

    gfp: Gfp
    kind: PageKind


DEMOTION: Final = Request(Gfp.PRIVATE, PageKind.ANON)
"""The only request that a node serves."""


class Ineligible(Exception):
    """This allocation may not land on a private node. Nothing was allocated."""

    def __init__(self, request: Request, why: str) -> None:
        super().__init__(f"{request.gfp.value} for {request.kind.value} memory: {why}")
        self.request = request


def size_in_pages(logical_bytes: int) -> int:
    """Pages in a region.

    Raises:
        ValueError: not a positive multiple of 4096.
    """
    if logical_bytes <= 0 or logical_bytes % PAGE_BYTES:
        raise ValueError(f"a region is a positive multiple of {PAGE_BYTES} bytes, not {logical_bytes}")
    return logical_bytes // PAGE_BYTES


class Node:
    """The device pages of one region, each in exactly one place; and what the host knows of their device.

    Placed (holds a folio), free (recycled or never used), waiting for TRIM (`TrimBuffer`), in the
    balloon, or in the hands of a decision under way. DPAs are in bytes.
    """

    def __init__(
        self, number: int, settings: PolicySettings, counters: HostCounters, writable: WritableCount
    ) -> None:
        self.number: Final = number
        self.counters: Final = NodeCounters()
        self._counters = counters
        self._session = 0
        self._empty(0)
        self.attached = False
        self.reachable = False
        self.trim = TrimBuffer(settings)
        room_bytes = settings.demote_batch_pages * WORST_PAGE_BYTES
        self.gate = Gate(settings, counters, self.counters, room_bytes)
        self.admittance = Admittance(settings)
        self.credits = Credits(settings, counters)
        self.writable = Writable(settings, self.gate, self.credits, writable)
        self.balloon_target = 0
        """Device pages that the balloon should hold."""
        self.readings = 0
        """How many readings came, for who waits for a new one."""

    def _empty(self, pages: int) -> None:
        self._session += 1
        self.size = pages
        self._allowed = pages
        """Pages from here on are asked back by the device, and not allocated."""
        self._withheld: list[int] = []
        """Recycled pages among those."""
        self._never_used = 0
        """Index of the first page that no one ever had: those after it are free as well."""
        self._recycled: list[int] = []
        self.ballooned: list[int] = []
        self.in_hand: set[int] = set()
        """Allocated, and under way to the device."""
        self.placed: OrderedDict[int, Folio] = OrderedDict()
        """Folio by DPA, coldest first: in the order of demotion, but for second chances."""

    # -- sessions ----------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether demotion and mkwrite may use it."""
        return self.reachable and not self.gate.closed

    def attach(self, logical_bytes: int) -> None:
        """An empty region."""
        self._empty(size_in_pages(logical_bytes))
        self.attached = self.reachable = True
        self.gate.reset()
        self.admittance.reset()

    def detach(self) -> None:
        """The region and everything in it is gone."""
        self._empty(0)
        self.attached = self.reachable = False
        self.trim.clear()
        self.gate.reset()
        self.admittance.reset()
        self.credits.reset()
        self.balloon_target = 0

    def reading(self, reading: NodeReading, now_ns: int) -> None:
        """Telemetry: pressure and admission follow."""
        self.readings += 1
        self.gate.reading(reading)
        self.admittance.reading(reading, len(self.placed) + len(self.trim), now_ns)

    def resize(self, logical_bytes: int) -> None:
        """Another size. What the device took by force has left `placed` and the TRIM buffer already.

        Pages under way to the device may lie past the end: `let_go` and `is_cut` say so when they come back.

        Raises:
            ValueError: not a positive multiple of 4096.
        """
        pages = size_in_pages(logical_bytes)
        end = pages * PAGE_BYTES
        self.withhold_from(None)
        self.size = self._allowed = pages
        self._never_used = min(self._never_used, pages)
        self._recycled = [dpa for dpa in self._recycled if dpa < end]
        self.ballooned = [dpa for dpa in self.ballooned if dpa < end]

    def withhold_from(self, pages: int | None) -> None:
        """Allocate nothing from this page of the region on; None: all of it again."""
        allowed = self.size if pages is None else min(pages, self.size)
        if allowed == self._allowed:
            return
        self._allowed = allowed
        free, self._recycled, self._withheld = self._recycled + self._withheld, [], []
        self.recycle(free)

    @property
    def asked_back(self) -> bool:
        """Whether the device wants the end of the region back."""
        return self._allowed < self.size

    @property
    def allowed_bytes(self) -> int:
        """Where that begins, or the region's end."""
        return self._allowed * PAGE_BYTES

    def is_cut(self, dpas: Sequence[int]) -> bool:
        """Whether one of these pages lies past the region's end by now."""
        return max(dpas) >= self.size * PAGE_BYTES

    # -- allocation --------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """Pages that `allocate` can give."""
        return len(self._recycled) + max(0, self._allowed - self._never_used)

    def check(self, request: Request) -> None:
        """Allocation control.

        Raises:
            Ineligible: not the demotion path's request; counted by reason.
        """
        if request.gfp is not Gfp.PRIVATE:
            self._counters.ineligible_gfp += 1
            raise Ineligible(request, "only __GFP_PRIVATE may allocate from a private node")
        if request.kind is PageKind.FILE:
            self._counters.ineligible_file += 1
            raise Ineligible(request, "file pages are written to without page-table control")
        if request.kind is PageKind.KERNEL:
            self._counters.ineligible_kernel += 1
            raise Ineligible(request, "only user, swap-eligible pages may depend on a device")

    def allocate(self, request: Request, pages: int) -> list[int]:
        """Device pages that read as zeros: so many, or as many as are free.

        Raises:
            Ineligible: see `check`.
        """
        if request is not DEMOTION:
            self.check(request)
        keep = max(0, len(self._recycled) - pages)
        taken = self._recycled[keep:]
        del self._recycled[keep:]
        taken.reverse()
        first = self._never_used
        self._never_used = max(first, min(self._allowed, first + pages - len(taken)))
        taken.extend(range(first * PAGE_BYTES, self._never_used * PAGE_BYTES, PAGE_BYTES))
        return taken

    def hold(self, dpas: Iterable[int]) -> int:
        """These allocated pages are under way to the device. The session's number, for `let_go`."""
        self.in_hand.update(dpas)
        return self._session

    def let_go(self, session: int, dpas: Iterable[int]) -> bool:
        """They are so no longer. False: the session that they were of is over, and they with it."""
        if session != self._session:
            return False
        self.in_hand.difference_update(dpas)
        return True

    def recycle(self, dpas: Iterable[int]) -> None:
        """These pages are empty and free: never written, or trimmed."""
        if not self.asked_back:
            self._recycled.extend(dpas)
            return
        for dpa in dpas:
            (self._recycled if dpa < self.allowed_bytes else self._withheld).append(dpa)

    # -- the balloon -------------------------------------------------------------------------------

    def inflate(self, pages: int) -> int:
        """Take up to so many free pages away from the allocator. Answers how many."""
        taken = self.allocate(DEMOTION, pages)
        self.ballooned.extend(taken)
        return len(taken)

    def deflate(self, pages: int) -> int:
        """Give up to so many pages back to the allocator. Answers how many."""
        keep = max(0, len(self.ballooned) - pages)
        given = self.ballooned[keep:]
        del self.ballooned[keep:]
        self.recycle(given)
        return len(given)

    def free_dpas(self) -> Iterable[int]:
        """All free pages, withheld ones too, for the audit."""
        yield from self._recycled
        yield from self._withheld
        yield from range(self._never_used * PAGE_BYTES, self.size * PAGE_BYTES, PAGE_BYTES)
