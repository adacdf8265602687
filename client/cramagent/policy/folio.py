"""What page tables point at: folios, and the page table entries that map them.

A folio is what its mappers share: where the bytes are, and the reverse map. A PTE is one mapper's
view of it, with its own state. A page table holds no PTE for a page that is NONE.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from cramagent.policy.answers import Backend, Place

if TYPE_CHECKING:
    from cramagent.policy.node import Node
    from cramagent.policy.states import State

NO_ENTRY: Final = -1
"""In place of a slot number: the folio has no vswap entry."""


class PageKind(Enum):
    """Whose memory a page is. Write control: only user, swap-eligible pages may go to the node."""

    ANON = "anon"
    """User memory, swap-eligible."""
    FILE = "file"
    """Page cache: buffered I/O would bypass page-table control."""
    KERNEL = "kernel"
    """The kernel's own: a failed device would take the system with it."""


class Folio:
    """One page of bytes and everything that maps it.

    Invariant (`audit` holds it): all mappers of a DRAM folio are DRAM, of one in a tier SWAPPED, of
    a lost one LOST; on the node each is ENTRY or RO, or there is one mapper alone and it is RW.
    """

    __slots__ = (
        "ahead",
        "backend",
        "handle",
        "in_flight",
        "kind",
        "mappers",
        "node",
        "referenced",
        "shared",
        "slot",
        "stored_ns",
        "zombie_since_ns",
    )

    node: Node
    """Whose device page it is. Set when `backend` becomes NODE, and not taken away: ask for it only then."""

    def __init__(self, backend: Backend, handle: int, kind: PageKind) -> None:
        self.mappers: tuple[Pte, ...] = ()
        """The reverse map; nearly always one. Empty only while the entry is a zombie."""
        self.slot = NO_ENTRY
        """The vswap entry's slot: cached behind R/O mappings; NO_ENTRY for DRAM and writable pages."""
        self.zombie_since_ns = 0
        """When the entry's last user went away, ns; means something only for a zombie."""
        self.kind: Final = kind
        self.shared = False
        """Mapped MAP_SHARED: stores are seen by all mappers. Else several mappers are copy-on-write."""
        self.referenced = True
        """The accessed bit: set by every access, cleared by the clock hands (second chance)."""
        self.ahead = False
        """Read ahead to where it is now, and not used there yet."""
        self.in_flight = False
        """A decision under way holds this folio: reclaim, nested in that decision or not, passes it over."""
        self.stored_ns = 0
        """When the last store went through a writable mapping, ns."""
        self.backend = backend
        self.handle = handle
        """Frame number, DPA in bytes, or a tier's handle."""

    def settle(self, backend: Backend, handle: int) -> None:
        """The bytes are now there."""
        self.backend = backend
        self.handle = handle
        self.ahead = False

    @property
    def copy_on_write(self) -> bool:
        """Whether a store must copy: several mappers, after a fork."""
        return len(self.mappers) > 1 and not self.shared

    @property
    def idle(self) -> bool:
        """Of an isolated folio: nobody has used it, or given it up, since."""
        return not self.referenced and bool(self.mappers)

    def place(self) -> Place:
        """Where the bytes are, as the host tells it."""
        return Place(self.backend, self.handle, self.node.number if self.backend is Backend.NODE else 0)

    def __repr__(self) -> str:
        node = f" {self.node.number}" if self.backend is Backend.NODE else ""
        return f"Folio({self.backend.value}{node} {self.handle}, {len(self.mappers)} mappers)"


class Pte:
    """One mapper's page table entry. `state` moves only through `Mm.move`, which asks `states.step`."""

    __slots__ = ("folio", "space", "state", "vpn")

    def __init__(self, space: AddressSpace, vpn: int, state: State, folio: Folio) -> None:
        self.space: Final = space
        self.vpn: Final = vpn
        self.state = state
        self.folio = folio

    def __repr__(self) -> str:
        return f"Pte(space {self.space.number}, vpn {self.vpn}, {self.state.name})"


class AddressSpace:
    """One process: its number, the kind of its pages, its page table."""

    __slots__ = ("killed", "kind", "number", "ptes")

    def __init__(self, number: int, kind: PageKind) -> None:
        self.number: Final = number
        self.kind: Final = kind
        self.ptes: dict[int, Pte] = {}
        self.killed = False
        """A bus error killed it. It has no pages and gets none until it exits."""
