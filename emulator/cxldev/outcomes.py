"""What goes into the device and what comes out of it: the values that its calls exchange."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxldev.arena import Arena
    from cxldev.codec import Buffer, StoredPages
    from cxldev.faults.hold import Hold
    from cxldev.faults.loss import Loss
    from cxldev.regions import Region
    from cxldev.telemetry import Telemetry


class PageKind(IntEnum):
    """What the media holds of one page. Values are those of the page table's column.

    | kind        | written by a host | sectors            | bytes in the arena | a read gives      |
    |-------------|-------------------|--------------------|--------------------|-------------------|
    | EMPTY       | no, or trimmed    | 0, no metadata     | none               | zeros             |
    | COMPRESSED  | yes               | fewer than a page  | yes                | the page          |
    | RAW         | yes               | a whole page's     | yes                | the page          |
    | SAME_FILLED | yes               | 0 (see below)      | none               | the word repeated |
    | POISONED    | yes               | 0                  | none               | an error          |
    | STAGED      | yes               | those of the page  | yes, unless it is  | the page          |
    |             |                   | that it replaces   | same-filled        |                   |

    Only a ratio-collapse fault makes a same-filled page take sectors. A staged page takes 4096 bytes of the
    staging buffer beside its sectors (see `staging`).
    """

    EMPTY = 0
    COMPRESSED = 1
    RAW = 2
    SAME_FILLED = 3
    POISONED = 4
    STAGED = 5


# The same as plain ints: numpy takes microseconds to find out that an IntEnum is a number.
EMPTY: Final = 0
COMPRESSED: Final = 1
RAW: Final = 2
SAME_FILLED: Final = 3
POISONED: Final = 4
STAGED: Final = 5


class SessionRef(NamedTuple):
    """What a host shows with every call: its session, and the power-on that gave it out."""

    session: str
    generation: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """A session that is held by a lease, as attach and renew tell it."""

    session: str
    generation: str
    lease_ns: int
    telemetry: Telemetry
    """With the region of the session."""


# -- tickets: between the two phases of a call the lock is free --------------------------------
# Tickets are not frozen, and outcomes of pages are named tuples: to make a frozen dataclass takes 2 us
# more, and every single page several of them. Nobody changes them.


@dataclass(slots=True, eq=False)
class WriteTicket:
    """A write that was found valid, and whose pages are being compressed. It holds nothing."""

    ref: SessionRef
    pages: NDArray[np.int64]
    """Page numbers within the region, in the order of the request."""
    region_pages: int
    """Pages of the region when they were found to be within it."""
    loss: Loss | None = None
    """What a fault does to the answer."""

    @property
    def count(self) -> int:
        """Pages of the request."""
        return len(self.pages)


@dataclass(slots=True, eq=False)
class ReadTicket:
    """A read whose pages are being expanded. Until it is ended, its places are not used anew."""

    ref: SessionRef
    region: Region
    pages: NDArray[np.int64]
    """Page numbers within the region, in the order of the request."""
    sectors: NDArray[np.int64]
    """Sectors that each page took when the read began."""
    stored: StoredPages
    arena: Arena
    number: int
    """Of the read at its arena."""
    loss: Loss | None = None
    """What a fault does to the answer."""

    @property
    def count(self) -> int:
        """Pages of the request."""
        return len(self.pages)


@dataclass(frozen=True, slots=True)
class FlushTicket:
    """A flush that waits for the TRIMs queued and the writes staged before it."""

    ref: SessionRef
    through_trim: int
    """Number of the last TRIM of them within its region."""
    released_before_bytes: int
    """Media that TRIMs of the region had released when the flush began."""
    through_staged: int
    """Number of the last write before it that was staged."""
    staged_due_ns: int
    """When that one is to be drained."""
    holds: tuple[Hold, ...] = ()
    """Faults that it hangs in."""
    loss: Loss | None = None
    """What a fault does to the answer."""


# -- outcomes ---------------------------------------------------------------------------------


class WriteOutcome(NamedTuple):
    """A write that was taken as a whole."""

    accepted_pages: int
    device_ns: int
    """What the device would have taken, by its latency model."""
    wall_ns: int
    """What the caller has to wait for in truth: only a latency fault asks for it."""


class ReadOutcome(NamedTuple):
    """The pages, in the order of the request."""

    data: Buffer
    """4096 bytes for each page, as `PageCodec.expand` gave them."""
    device_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class TrimOutcome:
    """A TRIM that was taken."""

    trimmed_pages: int
    """Pages of the ranges that held data."""
    device_ns: int
    wall_ns: int
    due_ns: int | None = None
    """When the last media of its region comes back by itself; None: it is back, or stuck."""


@dataclass(frozen=True, slots=True)
class FlushOutcome:
    """A flush that is done."""

    released_media_bytes: int
    """Media of the region that TRIMs released since the flush began."""
    device_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class CreditGrant:
    """An answered request for write credits."""

    granted: int
    telemetry: Telemetry
    """With the region of the session."""


@dataclass(frozen=True, slots=True)
class Injected:
    """What an injected fault did at once."""

    fault_id: str
    """Empty where nothing stays armed."""
    dpas: tuple[int, ...]
    """Pages that it poisoned."""


@dataclass(frozen=True, slots=True)
class PageDescription:
    """What the media holds of one page: for the operator only."""

    dpa: int
    kind: PageKind
    compressed_bytes: int
    """Of a compressed page; 4096 of a raw one; else 0."""
    sectors: int
