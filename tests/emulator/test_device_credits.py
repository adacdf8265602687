"""Write credits: what the device promises to writable pages, and who leaves it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cxldev.config import PAGE_BYTES
from cxldev.credits import CreditRequest
from cxldev.errors import InvalidField, NoMoreWrites
from cxldev.faults import ExhaustionFault
from emulator_helpers import MIB, Bench, random_page, small_config, zero_page

if TYPE_CHECKING:
    from cxldev.device import CreditGrant, SessionRef

RAW = PAGE_BYTES + 16
OPEN = MIB // PAGE_BYTES
"""Pages that an empty device has room for."""


def ask(
    bench: Bench, ref: SessionRef, number: int, wanted: int, *, writable: int = 0, unspent: int = 0
) -> CreditGrant:
    """What a request is answered."""
    return bench.device.grant_credits(ref, CreditRequest(number, writable, unspent, wanted), bench.now_ns)


def raw_pages(count: int) -> bytes:
    """Pages that do not compress."""
    return b"".join(random_page(seed) for seed in range(count))


def test_a_grant_is_what_is_wanted_if_there_is_room() -> None:
    """The host's region tells what it was promised; no media is used by it."""
    bench = Bench()
    ref = bench.attach()
    grant = ask(bench, ref, 1, 10)
    assert grant.granted == 10
    assert grant.telemetry.region is not None
    assert (grant.telemetry.region.credit_pages, bench.used()) == (10, 0)


def test_one_host_gets_its_share_of_what_is_open() -> None:
    """Half of the media by default, divided by the hosts that are attached."""
    bench = Bench()
    ref = bench.attach(pages=300)
    assert ask(bench, ref, 1, 300).granted == OPEN // 2
    other = bench.attach("beta", 200)
    assert ask(bench, other, 1, 200).granted == OPEN // 2 // 2 // 2


def test_a_guarantee_is_promised_whole() -> None:
    """Whatever the share."""
    bench = Bench(small_config(credit_share_milli=0))
    ref = bench.attach(guarantee=20 * PAGE_BYTES)
    assert ask(bench, ref, 1, 64).granted == 20
    assert ask(bench, bench.attach("beta"), 1, 64).granted == 0


def test_a_limit_is_never_promised_beyond() -> None:
    """Less what the region has."""
    bench = Bench()
    ref = bench.attach(limit=10 * PAGE_BYTES)
    bench.write(ref, 0, random_page(1))
    assert ask(bench, ref, 1, 64).granted == 8


def test_new_pages_leave_the_promise_alone() -> None:
    """Of this region and of others; a page that is stored already grows into it."""
    bench = Bench(small_config(metadata_bytes=0))
    ref, other = bench.attach(pages=300), bench.attach("beta", 300)
    bench.write(ref, 0, zero_page() * 8)
    assert ask(bench, ref, 1, 8).granted == 8
    bench.write(other, 0, raw_pages(OPEN - 8))
    for host, page in ((ref, 8), (other, OPEN - 8)):
        with pytest.raises(NoMoreWrites, match="guaranteed"):
            bench.write(host, page, raw_pages(1))
        with pytest.raises(NoMoreWrites):
            bench.write(host, page, raw_pages(2))
    assert not bench.device.telemetry(ref, bench.now_ns).no_more_writes
    bench.write(ref, 0, raw_pages(1))
    bench.write(ref, 1, raw_pages(7))
    assert bench.free() == 0


def test_what_is_not_held_any_more_is_open_again() -> None:
    """The host says how much it still holds, with the next request."""
    bench = Bench()
    ref = bench.attach(pages=300)
    assert ask(bench, ref, 1, 300).granted == OPEN // 2
    grant = ask(bench, ref, 2, 0, writable=3, unspent=2)
    assert grant.telemetry.region is not None
    assert (grant.granted, grant.telemetry.region.credit_pages) == (0, 5)


def test_a_host_is_not_believed_beyond_what_it_was_promised() -> None:
    """Claims reserve nothing; what is held is never taken back."""
    bench = Bench()
    ref = bench.attach()
    grant = ask(bench, ref, 1, 0, writable=40, unspent=20)
    assert grant.telemetry.region is not None
    assert grant.telemetry.region.credit_pages == 0
    ask(bench, ref, 2, 10)
    bench.inject(ExhaustionFault(share_milli=1000))
    grant = ask(bench, ref, 3, 10, writable=10)
    assert grant.telemetry.region is not None
    assert (grant.granted, grant.telemetry.region.credit_pages) == (0, 10)


def test_a_late_request_says_nothing() -> None:
    """Its numbers are of the past: it could take away what is held now."""
    bench = Bench()
    ref = bench.attach()
    ask(bench, ref, 2, 10)
    assert ask(bench, ref, 1, 10).granted == 0
    grant = ask(bench, ref, 2, 10)
    assert grant.telemetry.region is not None
    assert grant.telemetry.region.credit_pages == 10


def test_nothing_is_granted_while_no_more_writes_holds() -> None:
    """Counted as denied."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(ExhaustionFault(share_milli=1000))
    with pytest.raises(NoMoreWrites):
        bench.write(ref, 0, raw_pages(1))
    assert ask(bench, ref, 1, 10).granted == 0
    assert (bench.device.counters.credits_granted, bench.device.counters.credits_denied) == (0, 10)


def test_a_detach_frees_what_was_promised() -> None:
    """The next host may have it."""
    bench = Bench()
    ref, other = bench.attach(pages=300), bench.attach("beta", 300)
    ask(bench, ref, 1, 300)
    bench.device.detach(ref, bench.now_ns)
    assert ask(bench, other, 1, 300).granted == OPEN // 2


@pytest.mark.parametrize(("number", "writable", "told"), [(0, 0, "numbered"), (1, 65, "65 writable pages")])
def test_a_request_that_cannot_be(number: int, writable: int, told: str) -> None:
    """Refused, and nothing is promised."""
    bench = Bench()
    with pytest.raises(InvalidField, match=told):
        ask(bench, bench.attach(), number, 1, writable=writable)
