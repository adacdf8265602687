"""A host, the fake performer that runs it, and the few moves that the policy's tests are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from cramagent.policy.effects import NodeStatus
from cramagent.policy.host import Access, AccessKind, Host, NodeReading
from cramagent.policy.settings import PAGE_BYTES, PolicySettings
from cramagent.policy.testing import FakePerformer, Token

if TYPE_CHECKING:
    from cramagent.policy.effects import Decision
    from cramagent.policy.states import State

T = TypeVar("T")

NODE_PAGES = 64
ABOVE_HIGH, HIGH, MEDIUM, LOW, CRITICAL = 1, 2, 3, 4, 5
"""Watermark levels, as the wire numbers them."""

__all__ = [
    "ABOVE_HIGH",
    "CRITICAL",
    "HIGH",
    "LOW",
    "MEDIUM",
    "NODE_PAGES",
    "PAGE_BYTES",
    "AccessKind",
    "NodeStatus",
    "Rig",
    "a_reading",
]


def a_reading(watermark: int = ABOVE_HIGH, **changes: Any) -> NodeReading:
    """Telemetry of a device that is well, with the changes asked for."""
    values: dict[str, Any] = {
        "no_more_writes": False,
        "media_free_bytes": 1 << 30,
        "ratio_milli": 3000,
        "zratio_milli": 3000,
        "stored_pages": 0,
        "region_free_bytes": 1 << 30,
        "region_limit_bytes": 1 << 30,
        "logical_bytes": NODE_PAGES * PAGE_BYTES,
    }
    return NodeReading(watermark=watermark, **(values | changes))


class Rig:
    """A host with attached nodes of `NODE_PAGES`, driven by a `FakePerformer`; `a` is its first space.

    One node, or as many as the setting `nodes` says.

    `now` is the time given to every call, in ns; nothing moves it but the test.
    """

    def __init__(
        self,
        *,
        dram_pages: int = 32,
        zswap_pages: int = 1 << 20,
        swapfile_pages: int = 1 << 20,
        capacity: int | None = None,
        **settings: Any,
    ) -> None:
        self.settings = PolicySettings(dram_pages=dram_pages, **settings)
        self.host = Host(self.settings)
        self.performer = FakePerformer(
            self.settings,
            node_pages=NODE_PAGES,
            capacity=capacity,
            zswap_pages=zswap_pages,
            swapfile_pages=swapfile_pages,
        )
        for node in range(self.settings.nodes):
            self.host.node_attached(NODE_PAGES * PAGE_BYTES, node)
        self.counters = self.host.counters
        self.a = self.host.create_space()
        self.now = 0

    def drive(self, decision: Decision[T]) -> T:
        """Run a decision to its end, then audit everything."""
        answer = self.performer.drive(decision)
        self.host.check()
        return answer

    # -- what a program does -----------------------------------------------------------------------

    def touch(self, space: int, vpn: int, *, write: bool) -> Access:
        """One access: the fast path, else the fault handler."""
        access = self.host.access(space, vpn, write=write, now_ns=self.now)
        return access or self.drive(self.host.fault(space, vpn, write=write, now_ns=self.now))

    def put(self, space: int, vpn: int, token: Token) -> Access:
        """Store a whole page."""
        access = self.touch(space, vpn, write=True)
        if access.kind is AccessKind.DRAM:
            self.performer.frames[access.where] = token
        elif access.kind is AccessKind.NODE:
            scratch = self.performer.scratch[0]
            self.performer.frames[scratch] = token
            (access,) = self.drive(self.host.store([(space, vpn)], [scratch], self.now))
        return access

    def get(self, space: int, vpn: int) -> Token | AccessKind:
        """Read a whole page: its token, or why it could not be read."""
        access = self.touch(space, vpn, write=False)
        if access.kind is AccessKind.NODE:
            scratch = self.performer.scratch[0]
            (access,) = self.drive(self.host.load([(space, vpn)], [scratch], self.now))
            token = self.performer.frames[scratch]
        else:
            token = self.performer.frames[access.where]
        if access.kind not in {AccessKind.DRAM, AccessKind.NODE}:
            return access.kind
        assert token is not None
        return token

    # -- what the host does ------------------------------------------------------------------------

    def evict(self, *pages: tuple[int, int]) -> None:
        """Reclaim exactly these DRAM pages of (space, vpn), as if the clock hand had chosen them."""
        self.drive(self._reclaim(*pages))

    def _reclaim(self, *pages: tuple[int, int]) -> Decision[int]:
        folios = [self.host._mm.spaces[space].ptes[vpn].folio for space, vpn in pages]
        for folio in folios:
            folio.in_flight, folio.referenced = True, False
        return self.host._reclaim._shrink_folios(folios)

    def fill(self, count: int, *, evict: bool = True) -> list[tuple[int, int]]:
        """Pages 0..count-1 of `a`, page v holding 100 + v; evicted one after the other unless told not to."""
        pages = [(self.a, vpn) for vpn in range(count)]
        for space, vpn in pages:
            access = self.performer.drive(self.host.fault(space, vpn, write=True, now_ns=self.now))
            self.performer.frames[access.where] = 100 + vpn
            if evict:
                self.performer.drive(self._reclaim((space, vpn)))
        self.host.check()
        return pages

    def turn(self, *, ms: int = 0) -> None:
        """One turn of every daemon, `ms` later."""
        self.now += ms * 1_000_000
        self.drive(self.host.background(self.now))

    def read_telemetry(self, watermark: int = ABOVE_HIGH, *, node: int = 0, **changes: Any) -> None:
        """Give the host a reading of a device."""
        self.host.reading(a_reading(watermark, **changes), self.now, node)

    def state(self, space: int, vpn: int) -> State:
        """The state of a mapper's page."""
        return self.host.state(space, vpn)
