"""The books: every change adds up, and one that does not is not booked."""

from __future__ import annotations

import pytest

from cxldev.errors import CapacityIdentityBroken
from cxldev.ledger import Account, Ledger, ratio_milli
from cxldev.telemetry import Counters


def opened(physical: int = 10_000) -> tuple[Ledger, Account, Counters]:
    """Empty books with one region."""
    counters = Counters()
    ledger = Ledger(physical, sector_bytes=64, metadata_bytes=16, counters=counters)
    return ledger, ledger.open_account(0, physical), counters


def test_a_page_from_write_to_release() -> None:
    """Stored, queued, released: the media moves only at the ends."""
    ledger, account, _ = opened()
    ledger.store(account, 1, 3)
    assert (ledger.sectors_bytes, ledger.metadata_bytes, ledger.free_bytes) == (192, 16, 9_792)
    ledger.queue(account, 1, 3)
    assert (ledger.used_bytes, ledger.stored_pages, ledger.queued_pages) == (208, 0, 1)
    assert ledger.release(account, 1, 3) == 208
    assert (ledger.used_bytes, ledger.free_bytes, account.used_bytes) == (0, 10_000, 0)


def test_every_change_is_checked_and_the_peak_kept() -> None:
    """The count is what `capacity_identity_checks` tells."""
    ledger, account, counters = opened()
    ledger.store(account, 2, 10)
    ledger.store(account, -2, -10)
    assert counters.capacity_identity_checks == 2
    assert counters.peak_media_used_bytes == 672


@pytest.mark.parametrize(
    ("pages", "sectors"),
    [(1, 157), (-1, 0), (0, -1)],
    ids=["more than there is", "a page that is not stored", "a sector that is not held"],
)
def test_an_impossible_change_is_not_booked(pages: int, sectors: int) -> None:
    """It raises, and everything stays as it was."""
    ledger, account, _ = opened()
    before = ledger.describe(), repr(account)
    with pytest.raises(CapacityIdentityBroken):
        ledger.store(account, pages, sectors)
    assert (ledger.describe(), repr(account)) == before
    ledger.check(account)


def test_a_slip_elsewhere_is_found() -> None:
    """The parts are booked apart: touching one shows in the sums."""
    ledger, account, _ = opened()
    ledger.store(account, 1, 1)
    account.used_bytes += 64
    with pytest.raises(CapacityIdentityBroken, match="regions do not add up"):
        ledger.check()


def test_closing_an_account_releases_stored_and_queued() -> None:
    """Both at once, whatever was waiting."""
    ledger, account, _ = opened()
    other = ledger.open_account(0, 10_000)
    ledger.store(account, 2, 4)
    ledger.store(other, 1, 1)
    ledger.queue(account, 1, 2)
    assert ledger.close_account(account) == 2 * 16 + 4 * 64
    assert ledger.used_bytes == other.used_bytes == 80


def test_guarantees_that_are_not_met_count_against_others() -> None:
    """What a region has taken already is no longer owed to it."""
    ledger, account, _ = opened()
    other = ledger.open_account(1_000, 10_000)
    assert ledger.unmet_of_others(account) == 1_000
    ledger.store(other, 1, 10)
    assert ledger.unmet_of_others(account) == 1_000 - 656
    assert ledger.unmet_of_others(other) == 0


def test_the_ratio() -> None:
    """Logical by media bytes, per mille; 0 while nothing is stored; bounded."""
    assert ratio_milli(0, 0) == 0
    assert ratio_milli(2, 4096) == 2000
    assert ratio_milli(1, 0) == 2**32 - 1
