"""Regions and the sessions that hold them. Sessions that ended leave a tombstone that says how."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cxldev.config import PAGE_BYTES
from cxldev.errors import (
    AlreadyAttached,
    InvalidField,
    LeaseExpired,
    SessionEnded,
    StaleGeneration,
    UnknownHost,
    UnknownSession,
)
from cxldev.events import DetachCause
from cxldev.page_table import PageTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxldev.ledger import Account
    from cxldev.outcomes import SessionRef
    from cxldev.trim_queue import TrimQueue

_TOMBSTONES: Final = 4096
"""Ended sessions that are remembered; older ones are unknown sessions."""
_TOLD_HOSTS: Final = 8
"""Hosts that a message names: messages go into trailing metadata, which gRPC bounds."""


@dataclass(frozen=True, slots=True)
class AskedBack:
    """What the device wants of a region (see `capacity`)."""

    logical_bytes: int
    """The size that it is to shrink to."""
    forced_at_ns: int | None
    """When the device takes the rest by force; None: it waits for the host."""


@dataclass(slots=True, eq=False)
class Region:
    """One host's share of the device, and its session."""

    number: int
    """1, 2, 3, ... over the life of the generation: never given out twice."""
    session: str
    host: str
    logical_bytes: int
    lease_ns: int
    expires_ns: int
    account: Account
    trims: TrimQueue
    table: PageTable = field(init=False)
    attached: bool = True
    staged: dict[int, int] = field(default_factory=dict)
    """Its pages in the staging buffer: the number of the write that each lies in."""
    last_staged: int = 0
    """Number of its newest write that was staged."""
    last_staged_due_ns: int = 0
    credit_request: int = 0
    """Number of its newest request for credits."""
    asked_back: AskedBack | None = None

    def __post_init__(self) -> None:
        self.table = PageTable(self.pages)

    @property
    def pages(self) -> int:
        """Pages of its DPA space."""
        return self.logical_bytes // PAGE_BYTES


class RegionTable:
    """Regions by session and by host, of one generation."""

    def __init__(self, generation: str) -> None:
        self._generation = generation
        self._by_session: dict[str, Region] = {}
        self._ended: OrderedDict[str, DetachCause] = OrderedDict()
        self._next_number = 1

    def __iter__(self) -> Iterator[Region]:
        """In the order in which they were attached."""
        return iter(tuple(self._by_session.values()))

    def __len__(self) -> int:
        return len(self._by_session)

    @property
    def logical_bytes(self) -> int:
        """DPA space of all regions together."""
        return sum(region.logical_bytes for region in self._by_session.values())

    def find(self, ref: SessionRef) -> Region:
        """The region of a session.

        Raises:
            InvalidField: session or generation is empty.
            StaleGeneration: the session is of another power-on.
            LeaseExpired, SessionEnded: the session was one of this power-on.
            UnknownSession: it never was, or so long ago that nobody remembers.
        """
        if not ref.session or not ref.generation:
            raise InvalidField("session and generation must both be given, as attach told them")
        if ref.generation != self._generation:
            raise StaleGeneration(
                f"the device lost its power since: generation is {self._generation}, not "
                f"{ref.generation[:80]!r}; all bytes are gone, attach again"
            )
        region = self._by_session.get(ref.session)
        if region is not None:
            return region
        cause = self._ended.get(ref.session)
        if cause is DetachCause.LEASE_EXPIRED:
            raise LeaseExpired("the lease ran out and the region was trimmed; attach again")
        if cause is not None:
            how = (
                "taken over by a later attach of its host" if cause is DetachCause.TAKEN_OVER else "detached"
            )
            raise SessionEnded(f"the session was {how}; attach again")
        raise UnknownSession(f"no session {ref.session[:80]!r} was given out by this generation")

    def of_host(self, host: str) -> Region | None:
        """The region of a host, if it has one."""
        return next((region for region in self._by_session.values() if region.host == host), None)

    def must_have(self, host: str) -> Region:
        """The region of a host. Raises UnknownHost."""
        region = self.of_host(host)
        if region is None:
            hosts = sorted(one.host for one in self._by_session.values())
            told = ", ".join(hosts[:_TOLD_HOSTS]) or "none"
            if len(hosts) > _TOLD_HOSTS:
                told += f" and {len(hosts) - _TOLD_HOSTS} more"
            raise UnknownHost(f"no region of host {host[:80]!r} exists; attached: {told}")
        return region

    def check_new(self, session: str, host: str, *, take_over: bool) -> Region | None:
        """Whether host and session may be added: returns the region that is to be taken over, if any.

        Raises:
            InvalidField: the session is empty, in use, or was.
            AlreadyAttached: the host holds a region and does not take over.
        """
        if not session or session in self._by_session or session in self._ended:
            raise InvalidField(f"session {session[:80]!r} is empty or was given out already")
        held = self.of_host(host)
        if held is not None and not take_over:
            raise AlreadyAttached(f"host {host} is attached; detach it, or take over")
        return held

    def add(
        self,
        *,
        session: str,
        host: str,
        logical_bytes: int,
        lease_ns: int,
        now_ns: int,
        account: Account,
        trims: TrimQueue,
        number: int | None = None,
    ) -> Region:
        """A new region, empty. All was checked. `number`: the one that a restored region had."""
        region = Region(
            number=self._next_number if number is None else number,
            session=session,
            host=host,
            logical_bytes=logical_bytes,
            lease_ns=lease_ns,
            expires_ns=now_ns + lease_ns,
            account=account,
            trims=trims,
        )
        self._next_number = max(self._next_number, region.number) + 1
        self._by_session[session] = region
        return region

    def remove(self, region: Region, cause: DetachCause) -> None:
        """End a session; its ref is told why from now on."""
        del self._by_session[region.session]
        region.attached = False
        self._ended[region.session] = cause
        if len(self._ended) > _TOMBSTONES:
            self._ended.popitem(last=False)

    @property
    def memory(self) -> dict[str, Any]:
        """What is remembered beside the regions that are attached: for `restore`."""
        return {
            "next_number": self._next_number,
            "ended": [[session, cause.value] for session, cause in self._ended.items()],
        }

    def restore(self, memory: dict[str, Any]) -> None:
        """After the regions were added."""
        self._next_number = memory["next_number"]
        self._ended = OrderedDict((session, DetachCause(cause)) for session, cause in memory["ended"])

    def abandon(self) -> None:
        """Power was lost: no region is attached any more, and no open ticket may change one."""
        for region in self._by_session.values():
            region.attached = False
