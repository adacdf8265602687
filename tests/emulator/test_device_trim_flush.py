"""TRIM empties at once and releases when due; FLUSH is the barrier behind it."""

from __future__ import annotations

import pytest

from cxldev.config import PAGE_BYTES
from cxldev.errors import LeaseExpired, SessionEnded
from emulator_helpers import Bench, addresses, at, random_page, random_pages, same_page, small_config

RAW = PAGE_BYTES + 16


def delayed(ns: int = 100) -> Bench:
    """A device whose TRIMs take this long."""
    return Bench(small_config(trim_delay_ns=ns))


def test_a_trimmed_page_reads_as_zeros_at_once() -> None:
    """Its media stays in use until the delay is over."""
    bench = delayed()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1) + random_page(2))
    assert bench.trim(ref, 0).trimmed_pages == 1
    assert bench.read(ref, 0, 2) == bytes(PAGE_BYTES) + random_page(2)
    assert bench.used() == 2 * RAW
    bench.now_ns += 99
    assert bench.used() == 2 * RAW
    bench.now_ns += 1
    assert bench.used() == RAW
    assert bench.device.counters.released_pages == 1


def test_without_a_delay_media_comes_back_with_the_answer() -> None:
    """The default."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(10))
    bench.trim(ref, 0, 10)
    assert bench.used() == 0


def test_a_page_that_holds_nothing_is_not_counted() -> None:
    """Same-filled ones hold something; empty ones do not, and may be trimmed again and again."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 3, same_page(b"\0") + same_page(b"q"))
    assert bench.trim(ref, 0, 64).trimmed_pages == 2
    assert bench.trim(ref, 0, 64).trimmed_pages == 0
    assert bench.device.counters.trimmed_pages == 2


def test_ranges_of_one_trim() -> None:
    """In any order; what lies between them stays."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(10))
    lengths = addresses([2 * PAGE_BYTES, 3 * PAGE_BYTES])
    assert bench.device.trim(ref, at(6, 0), lengths, 0).trimmed_pages == 5
    data = random_pages(10)
    assert bench.read(ref, 3, 3) == data[3 * PAGE_BYTES : 6 * PAGE_BYTES]
    assert bench.read(ref, 6, 2) == bytes(2 * PAGE_BYTES)


def test_a_rewritten_page_takes_new_media_meanwhile() -> None:
    """The queue still holds the old."""
    bench = delayed()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.trim(ref, 0)
    bench.write(ref, 0, random_page(2))
    assert bench.used() == 2 * RAW
    bench.now_ns += 100
    assert bench.used() == RAW
    assert bench.read(ref, 0) == random_page(2)


def test_a_flush_waits_for_what_came_before_it_only() -> None:
    """A TRIM behind it does not hold it up."""
    bench = delayed()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1) + random_page(2))
    bench.trim(ref, 0)
    bench.now_ns += 10
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    assert bench.device.flush_due(ticket, bench.now_ns) == bench.now_ns + 90
    bench.trim(ref, 1)
    bench.now_ns += 89
    assert bench.device.flush_done(ticket, bench.now_ns) is None
    bench.now_ns += 1
    outcome = bench.device.flush_done(ticket, bench.now_ns)
    assert outcome is not None
    assert outcome.released_media_bytes == RAW
    assert bench.used() == RAW


def test_a_flush_with_nothing_to_wait_for() -> None:
    """Done at once, nothing released; other regions' TRIMs are not waited for."""
    bench = delayed()
    ref, other = bench.attach("one"), bench.attach("two")
    bench.write(other, 0, random_page(1))
    bench.trim(other, 0)
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    assert bench.device.flush_due(ticket, bench.now_ns) == bench.now_ns
    outcome = bench.device.flush_done(ticket, bench.now_ns)
    assert outcome is not None
    assert outcome.released_media_bytes == 0


def test_a_flush_ends_with_its_session() -> None:
    """It is told how the session ended."""
    bench = delayed(5_000_000)
    ref = bench.attach(lease_ns=1_000_000)
    bench.write(ref, 0, random_page(1))
    bench.trim(ref, 0)
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    with pytest.raises(LeaseExpired):
        bench.device.flush_done(ticket, bench.now_ns + 5_000_000)
    ref = bench.attach()
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    bench.device.detach(ref, bench.now_ns)
    with pytest.raises(SessionEnded):
        bench.device.flush_done(ticket, bench.now_ns)
