"""Several small commands at once: the same device as one after the other, or left to the general paths."""

from __future__ import annotations

import dataclasses
from itertools import chain
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from cxldev.config import PAGE_BYTES, StagingConfig
from cxldev.errors import DeviceError, LeaseExpired, OutOfRange, Overlapping
from cxldev.faults import LatencyFault, PoisonFault, ResetFault
from cxldev.several_commands import abandon_reads, begin_reads, begin_writes, commit_writes, end_reads
from emulator_helpers import Bench, at, random_page, same_page, small_config, snapshot, zero_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxldev.outcomes import SessionRef, WriteOutcome

KINDS = (zero_page(), same_page(b"abcdefgh"), random_page(1, 200), random_page(2, 3000), random_page(3))
PAGES = 12
Write = tuple[list[int], int]
"""Pages, and the kind that goes to all of them."""


def write_all(bench: Bench, ref: SessionRef, writes: Sequence[Write]) -> list[WriteOutcome] | None:
    """At once."""
    ticket = begin_writes(bench.device, ref, at(*chain(*[pages for pages, _ in writes])), bench.now_ns)
    if ticket is None:
        return None
    packed = bench.codec.compress_several([KINDS[kind] * len(pages) for pages, kind in writes])
    counts = [len(pages) for pages, _ in writes]
    return commit_writes(bench.device, ticket, counts, packed, bench.now_ns, in_flight_pages=3)


def read_all(bench: Bench, ref: SessionRef, reads: Sequence[list[int]]) -> list[tuple[bytes, int]] | None:
    """At once: bytes and device time of each."""
    counts = [len(pages) for pages in reads]
    begun = begin_reads(bench.device, ref, at(*chain(*reads)), counts, bench.now_ns, in_flight_pages=3)
    if begun is None:
        return None
    data = bytes(bench.codec.expand(begun.ticket.stored).data)
    end_reads(bench.device, begun, bench.now_ns)
    found, start = [], 0
    for count, ns in zip(counts, begun.device_ns, strict=True):
        found.append((data[start * PAGE_BYTES : (start + count) * PAGE_BYTES], ns))
        start += count
    return found


def write_each(bench: Bench, ref: SessionRef, writes: Sequence[Write]) -> list[WriteOutcome]:
    """One after the other."""
    outcomes = []
    for pages, kind in writes:
        ticket = bench.device.begin_write(ref, at(*pages), len(pages) * PAGE_BYTES, bench.now_ns)
        packed = bench.codec.compress(KINDS[kind] * len(pages))
        outcomes.append(bench.device.commit_write(ticket, packed, bench.now_ns, in_flight_pages=3))
    return outcomes


def read_each(bench: Bench, ref: SessionRef, reads: Sequence[list[int]]) -> list[tuple[bytes, int]]:
    """One after the other."""
    found = []
    for pages in reads:
        ticket = bench.device.begin_read(ref, at(*pages), bench.now_ns)
        expanded = bench.codec.expand(ticket.stored)
        outcome = bench.device.end_read(ticket, expanded, bench.now_ns, in_flight_pages=3)
        found.append((bytes(outcome.data), outcome.device_ns))
    return found


def books(bench: Bench) -> tuple[object, ...]:
    """All that can be asked for, but how often the books were checked, and what was between two writes."""
    counters = dataclasses.replace(bench.device.counters, capacity_identity_checks=0, peak_media_used_bytes=0)
    return counters, bench.device.telemetry(None, bench.now_ns), bench.event_kinds()


@given(
    st.lists(
        st.tuples(
            st.permutations(range(PAGES)),
            st.lists(st.integers(0, len(KINDS)), min_size=2, max_size=PAGES),
        ),
        max_size=12,
    )
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_both_ways_lead_to_the_same_device(rounds: list[tuple[list[int], list[int]]]) -> None:
    """Writes of every kind over every kind, of one page and of several, and reads: bytes, times, books."""
    one, other = Bench(), Bench()
    refs = one.attach(pages=PAGES), other.attach(pages=PAGES)
    for order, kinds in rounds:
        width = PAGES // len(kinds)
        parts = [order[begin * width : (begin + 1) * width] for begin in range(len(kinds))]
        if len(KINDS) in kinds:
            assert read_all(one, refs[0], parts) == read_each(other, refs[1], parts)
            continue
        writes = list(zip(parts, kinds, strict=True))
        assert write_all(one, refs[0], writes) == write_each(other, refs[1], writes)
        assert books(one) == books(other)
    assert one.read(refs[0], 0, PAGES) == other.read(refs[1], 0, PAGES)
    one.device.audit()


def nothing_happens(bench: Bench, ref: SessionRef, first: int = 0) -> None:
    """Neither way does anything."""
    before = snapshot(bench.device, bench.now_ns)
    assert write_all(bench, ref, [([first], 2), ([first + 1], 4)]) is None
    assert snapshot(bench.device, bench.now_ns) == before


def test_what_needs_a_decision_is_left_to_the_general_paths() -> None:
    """A fault that is armed, or comes meanwhile; a poisoned page; media that is, or gets, short; staging."""
    bench = Bench()
    ref = bench.attach(pages=512)
    bench.write(ref, 0, KINDS[2] * 4)
    fault = bench.inject(LatencyFault(device_ns=5))
    nothing_happens(bench, ref)
    assert read_all(bench, ref, [[0], [1]]) is None
    bench.device.clear(fault, bench.now_ns)

    ticket = begin_writes(bench.device, ref, at(0, 1), bench.now_ns)
    assert ticket is not None
    packed = bench.codec.compress_several([KINDS[4], KINDS[4]])
    fault = bench.inject(LatencyFault(device_ns=5))
    before = snapshot(bench.device, bench.now_ns)
    assert commit_writes(bench.device, ticket, [1, 1], packed, bench.now_ns, in_flight_pages=0) is None
    assert snapshot(bench.device, bench.now_ns) == before
    bench.device.clear(fault, bench.now_ns)

    bench.inject(PoisonFault(host="alpha", dpas=(0,)))
    before = snapshot(bench.device, bench.now_ns)
    assert read_all(bench, ref, [[1], [0, 2]]) is None
    assert snapshot(bench.device, bench.now_ns) == before

    page = 4
    while write_all(bench, ref, [([page], 4), ([page + 1], 4)]) is not None:
        page += 2
    assert page > 200
    nothing_happens(bench, ref, page)
    bench.trim(ref, page - 2, 2)
    ticket = begin_writes(bench.device, ref, at(page, page + 1), bench.now_ns)
    assert ticket is not None
    bench.write(ref, page - 2, KINDS[4] * 2)
    packed = bench.codec.compress_several([KINDS[4], KINDS[4]])
    assert commit_writes(bench.device, ticket, [1, 1], packed, bench.now_ns, in_flight_pages=0) is None

    staging = Bench(small_config(staging=StagingConfig(bytes=16 * PAGE_BYTES, delay_ns=1_000_000)))
    nothing_happens(staging, staging.attach())


@pytest.mark.parametrize(
    ("pages", "error"), [([[1, 2], [2]], Overlapping), ([[63], [64]], OutOfRange), ([[]], DeviceError)]
)
def test_addresses_that_are_wrong_together_are_refused(
    pages: list[list[int]], error: type[DeviceError]
) -> None:
    """By themselves they may be right: who asked falls back to that. Nothing has changed."""
    bench = Bench()
    ref = bench.attach(pages=64)
    before = snapshot(bench.device, bench.now_ns)
    with pytest.raises(error):
        write_all(bench, ref, [(part, 2) for part in pages])
    with pytest.raises(error):
        read_all(bench, ref, pages)
    assert snapshot(bench.device, bench.now_ns) == before


def test_reads_that_come_to_nothing_leave_nothing() -> None:
    """Each is then carried out by itself: no read is open, and the block cache is as it was."""
    bench = Bench()
    ref = bench.attach(pages=64)
    bench.write(ref, 0, KINDS[3] * 8)
    bench.trim(ref, 0, 8)
    bench.write(ref, 0, KINDS[3] * 8)
    bench.device.power.latency.forget(bench.device.power.regions.find(ref).number, np.arange(4))
    before = snapshot(bench.device, bench.now_ns)
    reads = begin_reads(bench.device, ref, at(*range(8)), [3, 5], bench.now_ns, in_flight_pages=0)
    assert reads is not None
    assert snapshot(bench.device, bench.now_ns) != before
    abandon_reads(bench.device, reads)
    assert snapshot(bench.device, bench.now_ns) == before
    assert not bench.device.power.arena.untidy


def test_reads_that_outlive_their_power_on_touch_nothing_of_the_next() -> None:
    """What its block cache holds is its own."""
    bench = Bench()
    ref = bench.attach(pages=64)
    bench.write(ref, 0, KINDS[3] * 4)
    reads = begin_reads(bench.device, ref, at(0, 1, 2, 3), [2, 2], bench.now_ns, in_flight_pages=0)
    assert reads is not None
    bench.inject(ResetFault())
    before = snapshot(bench.device, bench.now_ns)
    abandon_reads(bench.device, reads)
    assert snapshot(bench.device, bench.now_ns) == before


def test_a_region_that_shrinks_meanwhile() -> None:
    """The pages that are cut off are not stored, nor are the others: each write finds out by itself."""
    bench = Bench()
    ref = bench.attach(pages=64)
    ticket = begin_writes(bench.device, ref, at(3, 63), bench.now_ns)
    assert ticket is not None
    bench.device.resize(ref, 32 * PAGE_BYTES, bench.now_ns)
    packed = bench.codec.compress_several([KINDS[2], KINDS[2]])
    assert commit_writes(bench.device, ticket, [1, 1], packed, bench.now_ns, in_flight_pages=0) is None
    assert bench.read(ref, 3) == zero_page()


def test_the_session_is_looked_at_first() -> None:
    """As by every call; time moves on by it, too."""
    bench = Bench()
    ref = bench.attach(lease_ns=1_000_000)
    bench.now_ns += 1_000_000
    with pytest.raises(LeaseExpired):
        read_all(bench, ref, [[0], [1]])
    with pytest.raises(LeaseExpired):
        write_all(bench, ref, [([0], 2), ([1], 2)])
    assert bench.device.counters.leases_expired == 1
