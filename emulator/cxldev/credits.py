"""Write credits: media that the device promises to a region's writable pages.

A host that maps pages writable stores to them without asking. What such a page compresses to may grow to
4096 bytes with any store, and a store cannot be refused without a bus error. A credit is the promise of
4096 bytes of media to one such page. It lasts from the grant until the host says that it holds fewer.

The host asks with three numbers: how many of its pages are writable, how many credits it holds unspent,
how many more it wants. The device grants from what this region could take:

    open    = room - what others are guaranteed or promised - what lies in the staging buffer
    share   = the larger of the region's unmet guarantee and credit_share * open / attached regions
    most    = min(open, share, what its limit leaves) / 4096, and nothing while no more writes holds
    granted = most - writable - unspent, between 0 and what is wanted

What is promised is kept open: other regions' writes leave it alone as they do a guarantee, and so do this
region's own new pages; pages that are stored already may grow into it. What a host says it holds is never
taken back and never believed beyond what was promised, so no host can reserve by claiming.

Requests are numbered: one that arrives behind a later one says nothing new, and is granted nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxldev.config import PAGE_BYTES
from cxldev.errors import InvalidField

if TYPE_CHECKING:
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """What a host says and wants. Pages."""

    number: int
    """1, 2, 3, ... within the session."""
    writable_pages: int
    unspent: int
    wanted: int


def grant_credits(power: PowerOn, region: Region, request: CreditRequest) -> int:
    """How many credits the region gets more. What it does not hold any more is free for others.

    Raises:
        InvalidField: no number, or more pages than the region has.
    """
    claimed = request.writable_pages + request.unspent
    if request.number < 1:
        raise InvalidField("requests for credits are numbered 1, 2, 3, ...")
    if claimed > region.pages:
        raise InvalidField(f"{claimed} writable pages and credits in a region of {region.pages} pages")
    if request.number <= region.credit_request:
        return 0
    region.credit_request = request.number
    account = region.account
    held, wanted = min(claimed, account.promised_pages), min(request.wanted, region.pages)
    granted = max(0, min(wanted, _most(power, region) - held))
    power.ledger.promise(account, held + granted)
    power.counters.credits_granted += granted
    power.counters.credits_denied += wanted - granted
    return granted


def _most(power: PowerOn, region: Region) -> int:
    """How many the region may hold together."""
    if power.no_more_writes.active:
        return 0
    account, room = region.account, power.room(region)
    open_bytes = room.open_bytes - power.ledger.staged_bytes
    share = open_bytes * power.config.credit_share_milli // 1000 // len(power.regions)
    most = min(open_bytes, max(account.unmet_guarantee_bytes, share), room.limit_bytes)
    return max(0, most) // PAGE_BYTES
