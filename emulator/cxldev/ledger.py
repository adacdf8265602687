"""Where every byte of media is booked. The one place that moves media, and that asserts the identity.

    used + free = physical
    used = sectors + metadata + staged + reserved
    metadata = (stored pages - poisoned pages + queued pages) * metadata_bytes
    sectors + metadata + staged = what the regions' accounts say, taken together

`staged` is what lies in the staging buffer. The rest of the buffer is free, but for staging only: what
else may be taken is the *room*, free less the empty part of the buffer. It is never below 0.

The parts are booked apart from each other, so that a slip in one shows in the sums. Every change goes
through `Ledger._apply`; one that would break a rule raises `CapacityIdentityBroken` and books nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cxldev.config import PAGE_BYTES
from cxldev.errors import CapacityIdentityBroken

if TYPE_CHECKING:
    from cxldev.telemetry import Counters


@dataclass(slots=True, eq=False)
class Account:
    """The media of one region. Moved by the ledger only."""

    guaranteed_bytes: int
    limit_bytes: int
    stored_pages: int = 0
    """Not empty; poisoned ones too."""
    poisoned_pages: int = 0
    """Of these: they take no media."""
    stored_sectors: int = 0
    queued_pages: int = 0
    """Trimmed, media not released yet. Pages that were poisoned have none, and do not wait."""
    queued_sectors: int = 0
    staged_pages: int = 0
    """Of the stored ones: in the staging buffer."""
    used_bytes: int = 0
    """Sectors and metadata, of stored and of queued pages, and what is staged."""
    promised_pages: int = 0
    """Write credits: for each, a stored page may grow by 4096 bytes (see `credits`)."""

    @property
    def unmet_guarantee_bytes(self) -> int:
        """Media that is guaranteed to the region and that it has not taken yet.

        The staging buffer is nobody's: what lies there will need guaranteed media when it leaves.
        """
        return max(0, self.guaranteed_bytes - self.used_bytes + self.staged_pages * PAGE_BYTES)

    @property
    def promised_bytes(self) -> int:
        """Media that the region's own new pages leave to those that it has."""
        return self.promised_pages * PAGE_BYTES

    @property
    def unmet_bytes(self) -> int:
        """Media that others leave to the region: by its guarantee, or by its credits."""
        return max(
            0,
            self.guaranteed_bytes - self.used_bytes + self.staged_pages * PAGE_BYTES,
            self.promised_pages * PAGE_BYTES,
        )


class _Change(NamedTuple):
    """One entry in the books: by how much each part grows."""

    pages: int
    sectors: int
    poisoned: int
    queued_pages: int
    queued_sectors: int
    staged: int
    reserved_bytes: int


class Ledger:
    """The books of one generation. Bytes, pages, sectors."""

    def __init__(
        self,
        physical_bytes: int,
        sector_bytes: int,
        metadata_bytes: int,
        counters: Counters,
        staging_bytes: int = 0,
    ) -> None:
        self.physical_bytes = physical_bytes
        self.staging_bytes = staging_bytes
        """Size of the staging buffer."""
        self.sector_bytes = sector_bytes
        self.metadata_per_page = metadata_bytes
        self.free_bytes = physical_bytes
        self.sectors_bytes = 0
        self.metadata_bytes = 0
        self.staged_bytes = 0
        self.reserved_bytes = 0
        self.stored_pages = 0
        self.poisoned_pages = 0
        self.stored_sectors = 0
        self.queued_pages = 0
        self.accounts: list[Account] = []
        self.changes = 0
        """How often anything was booked: it only grows."""
        self._counters = counters

    # -- what is asked --------------------------------------------------------------------------

    @property
    def used_bytes(self) -> int:
        """All media that is not free."""
        return self.sectors_bytes + self.metadata_bytes + self.staged_bytes + self.reserved_bytes

    @property
    def room_bytes(self) -> int:
        """Free media that is not set aside for staging."""
        return self.free_bytes - self.staging_bytes + self.staged_bytes

    @property
    def guaranteed_bytes(self) -> int:
        """All guarantees together."""
        return sum(account.guaranteed_bytes for account in self.accounts)

    @property
    def unmet_bytes(self) -> int:
        """Media that regions are guaranteed or promised, and have not taken yet."""
        return sum(account.unmet_bytes for account in self.accounts)

    def unmet_of_others(self, account: Account) -> int:
        """Media that other regions are guaranteed or promised, and have not taken yet."""
        return sum(other.unmet_bytes for other in self.accounts if other is not account)

    def room_in_limit(self, account: Account) -> int:
        """What the region may still take. All of the media is no limit: what is missing then is media."""
        if account.limit_bytes >= self.physical_bytes:
            return _UNLIMITED
        return account.limit_bytes - account.used_bytes

    def media_of(self, pages: int, sectors: int) -> int:
        """What so many pages with so many sectors take, metadata included. Poisoned pages do not count."""
        return sectors * self.sector_bytes + pages * self.metadata_per_page

    # -- what is booked -------------------------------------------------------------------------

    def open_account(self, guaranteed_bytes: int, limit_bytes: int) -> Account:
        """An empty account of a new region."""
        account = Account(guaranteed_bytes, limit_bytes)
        self.accounts.append(account)
        return account

    def close_account(self, account: Account) -> int:
        """Release all that a region holds, queued or not, and forget it. Returns the bytes released."""
        released = account.used_bytes
        self._apply(
            account,
            pages=-account.stored_pages,
            poisoned=-account.poisoned_pages,
            sectors=-account.stored_sectors,
            queued_pages=-account.queued_pages,
            queued_sectors=-account.queued_sectors,
            staged=-account.staged_pages,
        )
        self.accounts.remove(account)
        return released

    def store(
        self, account: Account, pages: int, sectors: int, poisoned: int = 0, *, staged: int = 0
    ) -> None:
        """Stored pages and their sectors changed by this much; media that is released comes back at once.

        Args:
            account: whose.
            pages: pages that are not empty any more.
            sectors: sectors that they take more.
            poisoned: pages that are poisoned since, less those that were healed by bytes or by TRIM.
            staged: pages that lie in the staging buffer since, less those that left it.
        """
        self._apply(account, pages=pages, sectors=sectors, poisoned=poisoned, staged=staged)

    def queue(self, account: Account, pages: int, sectors: int) -> None:
        """Stored pages, none of them poisoned, were trimmed: their media stays in use until `release`."""
        self._apply(account, pages=-pages, sectors=-sectors, queued_pages=pages, queued_sectors=sectors)

    def release(self, account: Account, pages: int, sectors: int) -> int:
        """Queued pages give their media back. Returns the bytes released."""
        self._apply(account, queued_pages=-pages, queued_sectors=-sectors)
        return self.media_of(pages, sectors)

    def reserve(self, change_bytes: int) -> None:
        """Faults take this much of the free media, or give it back."""
        self._apply(None, reserved_bytes=change_bytes)

    def promise(self, account: Account, pages: int) -> None:
        """The region holds this many write credits from now on."""
        self.changes += pages != account.promised_pages
        account.promised_pages = pages

    def _apply(
        self,
        account: Account | None,
        *,
        pages: int = 0,
        sectors: int = 0,
        poisoned: int = 0,
        queued_pages: int = 0,
        queued_sectors: int = 0,
        staged: int = 0,
        reserved_bytes: int = 0,
    ) -> None:
        """Book one change whole, or raise and book nothing. All arguments are differences."""
        self.changes += 1
        change = _Change(pages, sectors, poisoned, queued_pages, queued_sectors, staged, reserved_bytes)
        self._book(account, change)
        try:
            self.check(account)
        except CapacityIdentityBroken:
            self._book(account, _Change(*(-part for part in change)))
            raise
        self._counters.peak_media_used_bytes = max(
            self._counters.peak_media_used_bytes, self.physical_bytes - self.free_bytes
        )

    def _book(self, account: Account | None, change: _Change) -> None:
        """Add what changes to each part, whatever comes out."""
        pages, sectors, poisoned, queued_pages, queued_sectors, staged, reserved_bytes = change
        sector_change = (sectors + queued_sectors) * self.sector_bytes
        metadata_change = (pages - poisoned + queued_pages) * self.metadata_per_page
        self.stored_pages += pages
        self.poisoned_pages += poisoned
        self.stored_sectors += sectors
        self.queued_pages += queued_pages
        self.sectors_bytes += sector_change
        self.metadata_bytes += metadata_change
        staged_change = staged * PAGE_BYTES
        self.staged_bytes += staged_change
        self.reserved_bytes += reserved_bytes
        self.free_bytes -= sector_change + metadata_change + staged_change + reserved_bytes
        if account is not None:
            account.stored_pages += pages
            account.poisoned_pages += poisoned
            account.stored_sectors += sectors
            account.queued_pages += queued_pages
            account.queued_sectors += queued_sectors
            account.staged_pages += staged
            account.used_bytes += sector_change + metadata_change + staged_change

    def check(self, account: Account | None = None) -> None:
        """Assert the identity, and one account in detail. Raises CapacityIdentityBroken."""
        self._counters.capacity_identity_checks += 1
        used = self.used_bytes
        parts = (
            self.free_bytes,
            self.sectors_bytes,
            self.metadata_bytes,
            self.staged_bytes,
            self.reserved_bytes,
            self.room_bytes,
            self.staging_bytes - self.staged_bytes,
            self.stored_pages - self.poisoned_pages,
            self.poisoned_pages,
            self.stored_sectors,
            self.queued_pages,
        )
        if min(parts) < 0:
            raise CapacityIdentityBroken(f"a part of the media is negative: {self.describe()}")
        if used + self.free_bytes != self.physical_bytes:
            raise CapacityIdentityBroken(f"used + free is not the physical capacity: {self.describe()}")
        with_media = self.stored_pages - self.poisoned_pages + self.queued_pages
        if self.metadata_bytes != with_media * self.metadata_per_page:
            raise CapacityIdentityBroken(f"metadata does not match the pages: {self.describe()}")
        booked = self.sectors_bytes + self.metadata_bytes + self.staged_bytes
        if sum([one.used_bytes for one in self.accounts]) != booked:
            raise CapacityIdentityBroken(f"the regions do not add up to what is used: {self.describe()}")
        if account is not None and (
            min(
                account.stored_pages - account.poisoned_pages,
                account.poisoned_pages,
                account.stored_sectors,
                account.queued_pages,
                account.queued_sectors,
                account.staged_pages,
                account.stored_pages - account.poisoned_pages - account.staged_pages,
            )
            < 0
            or account.used_bytes - account.staged_pages * PAGE_BYTES
            != self.media_of(
                account.stored_pages - account.poisoned_pages + account.queued_pages,
                account.stored_sectors + account.queued_sectors,
            )
        ):
            raise CapacityIdentityBroken(f"a region's account does not add up: {account}")

    def describe(self) -> str:
        """All parts, for a message."""
        return (
            f"physical {self.physical_bytes}, free {self.free_bytes}, sectors {self.sectors_bytes}, "
            f"metadata {self.metadata_bytes}, staged {self.staged_bytes}, reserved {self.reserved_bytes}, "
            f"stored pages {self.stored_pages}, of which poisoned {self.poisoned_pages}, "
            f"queued pages {self.queued_pages}, regions {[one.used_bytes for one in self.accounts]}"
        )


def ratio_milli(pages: int, media_bytes: int) -> int:
    """Observed ratio, per mille: logical bytes by media bytes. 0 while nothing is stored.

    `pages` are those that hold bytes on the media: poisoned ones are left out, they would make a device
    that loses pages look like one that compresses well; staged ones, too: nobody knows their size yet.

    Pages that take no media at all (same-filled, and no metadata charged) have no finite ratio: the
    result is the largest that a 32-bit field can tell.
    """
    if not pages:
        return 0
    if not media_bytes:
        return _LARGEST_RATIO
    return min(1000 * pages * 4096 // media_bytes, _LARGEST_RATIO)


_UNLIMITED = 2**62
"""Bytes; more than any device has."""
_LARGEST_RATIO = 2**32 - 1
